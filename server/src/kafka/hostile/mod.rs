//! Requests that nobody should send: nothing panics, nothing is reserved by what a frame claims, and what passes the
//! check is what `kafka-protocol` reads. Every version of every request in the table begins the hunt; `PROPTEST_CASES`
//! says how long that is, and `tests/kafka_memory.rs` watches the memory of a server meanwhile.

mod framing;
mod samples;

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        AlterConfigsRequest, ApiKey, ApiVersionsRequest, ConsumerGroupDescribeRequest,
        ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
        DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeGroupsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
        DescribeTopicPartitionsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
        IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
        ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, RequestHeader, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    api::{APIS, Api},
    request::{Offence, Read, Request},
    shape::ELEMENTS_MAX,
};

/// Frames that were found to be interesting, with what becomes of each: see the file.
const CORPUS: &str = include_str!("corpus.txt");

/// Requests that none of those clients sends here: there is one leader epoch, and nobody is asked to authenticate.
const NEVER_CAPTURED: [&str; 2] = ["OffsetForLeaderEpoch", "SaslAuthenticate"];
/// What real clients have sent, line by line: the client, its request, and the bytes.
const CAPTURED: &str = include_str!("captured.txt");

/// Behind them begins what differs.
const KEY_AND_VERSION_LEN: usize = 4;

/// A sound request.
fn sample(api: &Api, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api.key as i16)
        .with_request_api_version(version)
        .with_correlation_id(9)
        .with_client_id(Some(StrBytes::from_static_str("client")));
    header.encode(&mut out, api.key.request_header_version(version)).expect("a header");
    out.extend_from_slice(&samples::body(api.key, version));
    out.freeze()
}

fn samples() -> Vec<Bytes> {
    let versions = APIS.iter().flat_map(|api| api.versions.clone().map(move |version| (api, version)));
    versions.map(|(api, version)| sample(api, version)).collect()
}

/// The bytes that hexadecimal digits say.
fn bytes(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hexadecimal digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

/// Client, API, version and frame of what was captured.
fn captured() -> impl Iterator<Item = (&'static str, &'static str, i16, Bytes)> {
    CAPTURED.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let parts: Vec<_> = line.split(' ').collect();
        let [client, api, version, hex] = parts[..] else { panic!("{line}") };
        (client, api, version.parse().expect("a version"), bytes(hex))
    })
}

/// Reads a frame to its end, as the door does. Returns what it was read as.
fn read(frame: &Bytes) -> Result<String, Offence> {
    let request = match Request::read(frame)? {
        Read::Request(request) => request,
        Read::UnknownApiVersions(_) => return Ok("unknown versions".to_owned()),
    };
    match request.head.key {
        ApiKey::Produce => decode::<ProduceRequest>(request),
        ApiKey::Fetch => decode::<FetchRequest>(request),
        ApiKey::ListOffsets => decode::<ListOffsetsRequest>(request),
        ApiKey::Metadata => decode::<MetadataRequest>(request),
        ApiKey::ApiVersions => decode::<ApiVersionsRequest>(request),
        ApiKey::SaslHandshake => decode::<SaslHandshakeRequest>(request),
        ApiKey::SaslAuthenticate => decode::<SaslAuthenticateRequest>(request),
        ApiKey::CreateTopics => decode::<CreateTopicsRequest>(request),
        ApiKey::DeleteTopics => decode::<DeleteTopicsRequest>(request),
        ApiKey::DeleteRecords => decode::<DeleteRecordsRequest>(request),
        ApiKey::InitProducerId => decode::<InitProducerIdRequest>(request),
        ApiKey::FindCoordinator => decode::<FindCoordinatorRequest>(request),
        ApiKey::JoinGroup => decode::<JoinGroupRequest>(request),
        ApiKey::SyncGroup => decode::<SyncGroupRequest>(request),
        ApiKey::Heartbeat => decode::<HeartbeatRequest>(request),
        ApiKey::LeaveGroup => decode::<LeaveGroupRequest>(request),
        ApiKey::OffsetCommit => decode::<OffsetCommitRequest>(request),
        ApiKey::OffsetFetch => decode::<OffsetFetchRequest>(request),
        ApiKey::OffsetDelete => decode::<OffsetDeleteRequest>(request),
        ApiKey::ListGroups => decode::<ListGroupsRequest>(request),
        ApiKey::DescribeGroups => decode::<DescribeGroupsRequest>(request),
        ApiKey::DeleteGroups => decode::<DeleteGroupsRequest>(request),
        ApiKey::ConsumerGroupHeartbeat => decode::<ConsumerGroupHeartbeatRequest>(request),
        ApiKey::ConsumerGroupDescribe => decode::<ConsumerGroupDescribeRequest>(request),
        ApiKey::ListConfigResources => decode::<ListConfigResourcesRequest>(request),
        ApiKey::OffsetForLeaderEpoch => decode::<OffsetForLeaderEpochRequest>(request),
        ApiKey::DescribeConfigs => decode::<DescribeConfigsRequest>(request),
        ApiKey::AlterConfigs => decode::<AlterConfigsRequest>(request),
        ApiKey::DescribeLogDirs => decode::<DescribeLogDirsRequest>(request),
        ApiKey::CreatePartitions => decode::<CreatePartitionsRequest>(request),
        ApiKey::IncrementalAlterConfigs => decode::<IncrementalAlterConfigsRequest>(request),
        ApiKey::DescribeCluster => decode::<DescribeClusterRequest>(request),
        ApiKey::DescribeProducers => decode::<DescribeProducersRequest>(request),
        ApiKey::DescribeTopicPartitions => decode::<DescribeTopicPartitionsRequest>(request),
        other => panic!("{other:?} is not read here"),
    }
}

/// Also sees that nothing of what was checked is left.
fn decode<T: Decodable + std::fmt::Debug>(request: Request) -> Result<String, Offence> {
    let (mut body, version) = (request.body.clone(), request.head.version);
    let decoded = request.decode::<T>()?;
    T::decode(&mut body, version).expect("it was decoded");
    assert!(body.is_empty(), "{} bytes were checked and are not read: {decoded:?}", body.len());
    Ok(format!("{decoded:?}"))
}

#[test]
fn every_version_of_every_request_is_read() {
    for frame in samples() {
        let read = read(&frame).unwrap_or_else(|offence| panic!("{offence}: {frame:?}"));
        let longer = Bytes::from([&frame[..], b"\0"].concat());
        assert_eq!(self::read(&longer).as_ref(), Ok(&read), "a byte more: {longer:?}");
        for len in 0..frame.len() {
            assert!(self::read(&frame.slice(..len)).is_err(), "cut at {len}: {frame:?}");
        }
    }
}

#[test]
fn claims_are_not_believed() {
    // An array of as many topics as there can be, with none behind it: classic and compact.
    for (version, count) in [(1, &b"\x7f\xff\xff\xff"[..]), (9, b"\xff\xff\xff\xff\x0f")] {
        let mut frame = BytesMut::new();
        frame.put_slice(&[0, 3, 0, version, 0, 0, 0, 1, 0xff, 0xff]);
        if version == 9 {
            frame.put_u8(0);
        }
        frame.put_slice(count);
        assert!(matches!(read(&frame.freeze()), Err(Offence::Malformed { .. })));
    }
}

/// Whatever stands at a place: if a count or a length does, it claims as much as it can.
const CLAIMS: [&[u8]; 4] = [
    &[0x7f, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
];

#[test]
fn no_claim_is_believed_at_any_place_of_any_version() {
    for frame in samples() {
        for (at, claim) in (KEY_AND_VERSION_LEN..frame.len()).flat_map(|at| CLAIMS.map(|claim| (at, claim))) {
            let mut longer = frame[..at].to_vec();
            longer.extend_from_slice(claim);
            // In the place of what was there, and in front of it.
            for rest in [(at + claim.len()).min(frame.len()), at] {
                let _ = read(&Bytes::from([&longer, &frame[rest..]].concat()));
            }
        }
    }
}

#[test]
fn a_request_has_so_many_elements_and_no_more() {
    for (count, is_taken) in [(ELEMENTS_MAX, true), (ELEMENTS_MAX + 1, false)] {
        let mut frame = BytesMut::from(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..]);
        frame.put_u32(count as u32);
        (0..count).for_each(|_| frame.put_slice(b"\0\x01a"));
        assert_eq!(read(&frame.freeze()).is_ok(), is_taken, "{count}");
    }
}

#[test]
fn a_text_has_so_many_bytes_and_no_more() {
    for (len, is_taken) in [(0x7fff, true), (0x8000, false)] {
        // Metadata 9, of one topic.
        let mut frame = BytesMut::from(&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 2][..]);
        let claimed = len as u32 + 1;
        frame.put_slice(&[
            (claimed & 0x7f) as u8 | 0x80,
            (claimed >> 7 & 0x7f) as u8 | 0x80,
            (claimed >> 14) as u8,
        ]);
        frame.put_bytes(b'a', len);
        frame.put_slice(&[0, 0, 0, 0, 0]);
        assert_eq!(read(&frame.freeze()).is_ok(), is_taken, "{len}");
    }
}

#[test]
fn the_corpus_is_read_as_it_says() {
    for line in CORPUS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (hex, rest) = line.split_once(' ').expect("bytes, and what they are");
        let read = match read(&bytes(hex)) {
            Ok(_) => "taken".to_owned(),
            Err(Offence::Malformed { why, .. }) => why.to_string(),
            Err(Offence::Unknown { .. }) => "unknown".to_owned(),
            Err(other) => other.to_string(),
        };
        let mut expected = String::new();
        write!(expected, "{}", rest.trim()).expect("a string takes everything");
        assert_eq!(read, expected, "{hex}");
    }
}

#[test]
fn what_real_clients_have_sent_is_read_to_its_last_byte() {
    for (client, name, version, frame) in captured() {
        let index = match Request::read(&frame) {
            Ok(Read::Request(request)) => request.api,
            other => panic!("{client}: {name} {version}: {other:?}"),
        };
        assert_eq!((APIS[index].name, version), (name, i16::from_be_bytes([frame[2], frame[3]])), "{client}");
        let said = read(&frame).unwrap_or_else(|offence| panic!("{client}: {offence}"));
        let cut = frame.slice(..frame.len() - 1);
        assert!(read(&cut).is_err(), "{client}: {name} {version} without its last byte: {said}");
    }
}

#[test]
fn something_was_captured_of_every_request_that_a_client_of_ours_sends() {
    let missing: Vec<_> =
        APIS.iter().map(|api| api.name).filter(|name| captured().all(|of| of.1 != *name)).collect();
    assert_eq!(missing, NEVER_CAPTURED);
}

/// One change to a frame.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Truncate(Index),
    Remove(Index),
    Insert(Index, u8),
    Claim(Index, Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        any::<Index>().prop_map(Mutation::Truncate),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, claim)| Mutation::Claim(at, claim)),
    ];
    vec(one, 1..4)
}

fn mutate(frame: &[u8], mutations: &[Mutation]) -> Bytes {
    let mut bytes = frame.to_vec();
    for mutation in mutations {
        let len = bytes.len();
        match mutation {
            // Nothing is left to change.
            _ if bytes.is_empty() => break,
            Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
            Mutation::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Mutation::Truncate(at) => bytes.truncate(at.index(len)),
            Mutation::Remove(at) => _ = bytes.remove(at.index(len)),
            Mutation::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Mutation::Claim(at, claim) => {
                let (at, claim) = (at.index(len), CLAIMS[claim.index(CLAIMS.len())]);
                let end = bytes.len().min(at + claim.len());
                bytes.splice(at..end, claim.iter().copied());
            }
        }
    }
    bytes.into()
}

proptest! {
    #[test]
    fn anything_can_be_read(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read(&Bytes::from(bytes));
    }

    #[test]
    fn any_body_can_be_read(api in 0..APIS.len(), version in 0..20i16, body in vec(any::<u8>(), 0..200)) {
        let mut frame = BytesMut::new();
        frame.put_i16(APIS[api].key as i16);
        frame.put_i16(version);
        frame.put_slice(&[0, 0, 0, 1, 0xff, 0xff]);
        frame.put_slice(&body);
        let _ = read(&frame.freeze());
    }

    #[test]
    fn what_was_sound_and_is_changed_can_be_read(sample in any::<Index>(), mutations in mutations()) {
        let mut samples = samples();
        samples.extend(captured().map(|(_, _, _, frame)| frame));
        let _ = read(&mutate(&samples[sample.index(samples.len())], &mutations));
    }
}
