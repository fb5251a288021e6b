//! What hostile Kafka clients claim is not reserved, and what they do not read is not kept. A program of its own with one
//! test, because it watches all memory that is allocated.

// In a test, what must not fail and does is the result.
#![allow(clippy::unwrap_used)]

#[path = "../src/kafka/hostile/samples/mod.rs"]
mod samples;

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, DescribeGroupsRequest, GroupId, JoinGroupRequest, JoinGroupResponse,
        SyncGroupRequest, SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use minikafka_server::{Server, config::KafkaConfig};
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Far more than a connection takes up, far less than any of the claims.
const ALLOWED_BYTES: usize = 4 << 20;
/// What a member says of itself, and what it is given.
const LARGE_BYTES: usize = 3 << 20;
/// So many clients ask for both of them, or for one, and do not read it.
const ASKING_FOR_BOTH: usize = 25;
const ASKING_FOR_ONE: usize = 50;
/// Two thirds of what they asked for: the room for such replies, and a few that are made at the time.
const REPLIES_ALLOWED_BYTES: usize = 100 << 20;
/// Of all this, on a busy machine.
const REPLIES_TIME: Duration = Duration::from_secs(120);
/// Requests that a client sends behind one that waits: fewer than are read ahead, whatever they are.
const REQUESTS_BEHIND: usize = 60;
/// A request with batches, and another one's: the answers of that take ten times what the request does.
const PRODUCE_BYTES: usize = 4 << 20;
const BATCHES: u32 = 99_000;
/// Those of one such request and the next one, while it is read.
const ANSWERS_ALLOWED_BYTES: usize = 64 << 20;
/// In which a client sends what is taken at once.
const A_MOMENT: Duration = Duration::from_secs(1);
/// A count or a length that claims as much as it can: classic, and compact.
const CLASSIC: &[u8] = &[0x7f, 0xff, 0xff, 0xff];
const COMPACT: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];

#[tokio::test]
async fn hostile_clients_take_up_little_memory() {
    let door = KafkaConfig::at("127.0.0.1:0".parse().unwrap());
    let server = Server::builder().memory().kafka(door).start("127.0.0.1:0").await.unwrap();
    let address = server.kafka_addr().unwrap();
    let held = frames_that_are_begun(address).await;
    let grown = growth_by_who_has_sent_a_large_one(address).await;
    assert!(grown < 2 * PRODUCE_BYTES, "{grown} bytes for as large a frame as can be");
    for (key, version) in first_and_last_versions(address).await {
        let body = samples::body(key, version);
        for at in 0..body.len() {
            let grown = growth_by(address, &claiming(key, version, &body, at)).await;
            assert!(grown < ALLOWED_BYTES, "{grown} bytes for {key:?} {version} with a claim at {at}");
        }
    }
    // A long name for each of many partitions, in what only members understand.
    let grown = growth_by(address, &sync_with_a_long_name()).await;
    assert!(grown < ALLOWED_BYTES, "{grown} bytes for an assignment");
    let (grown, is_taken) = growth_behind_a_join(address, b'w', &describe_long_names(), A_MOMENT).await;
    assert!(grown < ALLOWED_BYTES && !is_taken, "{grown} bytes behind a join that waits");
    // Nobody keeps a frame for its topic's name.
    let (grown, is_taken) =
        growth_behind_a_join(address, b'x', &produce_nothing(0, PRODUCE_BYTES), REPLIES_TIME).await;
    assert!(grown < 5 * PRODUCE_BYTES && is_taken, "{grown} bytes of batches behind a join that waits");
    let (grown, is_taken) = growth_behind_a_join(address, b'y', &produce_nothing(BATCHES, 0), A_MOMENT).await;
    assert!(grown < ANSWERS_ALLOWED_BYTES && !is_taken, "{grown} bytes of answers behind a join that waits");
    drop(held);
    let unread = growth_by_replies_that_are_not_read(address, server.local_addr());
    let grown = timeout(REPLIES_TIME, unread).await.unwrap();
    assert!(grown < REPLIES_ALLOWED_BYTES, "{grown} bytes of replies that nobody reads");
    server.stop().await.unwrap();
}

/// Frames that are allowed to be so large, and of which nothing more comes.
async fn frames_that_are_begun(address: SocketAddr) -> Vec<TcpStream> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let mut held = Vec::new();
    for bytes in [&[0x06, 0x40, 0, 0, 0, 0, 0, 9][..], &[0, 0x40, 0, 0, 0, 1, 0, 12]] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        held.push(client);
    }
    let grown = MEMORY.peak_usage().saturating_sub(before);
    assert!(grown < ALLOWED_BYTES, "{grown} bytes");
    held
}

/// One that has sent a large frame, and claims a far larger one.
async fn growth_by_who_has_sent_a_large_one(address: SocketAddr) -> usize {
    let mut client = TcpStream::connect(address).await.unwrap();
    let produce = produce_nothing(0, PRODUCE_BYTES);
    client.write_u32(produce.len() as u32).await.unwrap();
    client.write_all(&produce).await.unwrap();
    let len = client.read_u32().await.unwrap() as usize;
    client.read_exact(&mut vec![0; len]).await.unwrap();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    client.write_all(&[0x06, 0x40, 0, 0, 0, 0, 0, 9]).await.unwrap();
    // Nothing more comes, and so the connection ends.
    client.shutdown().await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    MEMORY.peak_usage().saturating_sub(before)
}

/// What the server says that it answers.
async fn first_and_last_versions(address: SocketAddr) -> Vec<(ApiKey, i16)> {
    let mut answer = ask(address, &[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).await;
    answer.advance(8);
    let answered = ApiVersionsResponse::decode(&mut answer, 0).unwrap().api_keys.into_iter();
    let versions = answered.flat_map(|api| {
        let key = ApiKey::try_from(api.api_key).unwrap();
        // Earlier ones of Produce are named, and refused.
        let first = if key == ApiKey::Produce { 3 } else { api.min_version };
        [(key, first), (key, api.max_version)]
    });
    versions.collect()
}

/// A sound request, with a claim in the place of what stands at `at`.
fn claiming(key: ApiKey, version: i16, body: &[u8], at: usize) -> Vec<u8> {
    let is_flexible = key.request_header_version(version) >= 2;
    let claim = if is_flexible { COMPACT } else { CLASSIC };
    let mut frame = vec![0, key as u8, 0, version as u8, 0, 0, 0, 1, 0xff, 0xff];
    frame.extend(is_flexible.then_some(0));
    frame.extend_from_slice(&body[..at]);
    frame.extend_from_slice(claim);
    frame.extend_from_slice(&body[(at + claim.len()).min(body.len())..]);
    frame
}

/// A SyncGroup 0 whose assignment names 20,000 partitions of a topic with 32,767 bytes of name.
fn sync_with_a_long_name() -> Vec<u8> {
    const PARTITIONS: u32 = 20_000;
    let name = [b'a'; i16::MAX as usize];
    let mut assignment = b"\0\0\0\0\0\x01".to_vec();
    assignment.extend((name.len() as u16).to_be_bytes());
    assignment.extend(name);
    assignment.extend(PARTITIONS.to_be_bytes());
    assignment.resize(assignment.len() + 4 * PARTITIONS as usize, 0);
    let mut frame = vec![0, ApiKey::SyncGroup as u8, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    frame.extend(b"\0\x01g\0\0\0\x01\0\x01m\0\0\0\x01\0\x01m");
    frame.extend((assignment.len() as u32).to_be_bytes());
    frame.extend(assignment);
    frame
}

/// Bytes that the server's memory grows by when a client sends requests behind a JoinGroup that waits, and whether it takes
/// as many as it is sent.
async fn growth_behind_a_join(
    address: SocketAddr,
    group: u8,
    request: &[u8],
    patience: Duration,
) -> (usize, bool) {
    // JoinGroup 0.
    let mut join =
        b"\0\x0b\0\0\0\0\0\x01\xff\xff\0\x01w\0\0\xff\xff\0\0\0\x01c\0\0\0\x01\0\x01p\0\0\0\0".to_vec();
    join[12] = group;
    let framed = |frame: &[u8]| [&(frame.len() as u32).to_be_bytes(), frame].concat();
    let (join, request) = (framed(&join), framed(request));
    let [mut member, mut newcomer] =
        [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    member.write_all(&join).await.unwrap();
    member.read_u32().await.unwrap();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    // The one that is there does not join again.
    newcomer.write_all(&join).await.unwrap();
    let sending = async {
        for _ in 0..REQUESTS_BEHIND {
            newcomer.write_all(&request).await.unwrap();
        }
    };
    let is_taken = timeout(patience, sending).await.is_ok();
    (MEMORY.peak_usage().saturating_sub(before), is_taken)
}

/// A DescribeGroups 0 of names as long as they can be.
fn describe_long_names() -> Vec<u8> {
    let mut describe = b"\0\x0f\0\0\0\0\0\x02\xff\xff\0\0\0\x64".to_vec();
    for _ in 0..100 {
        describe.extend([0x7f, 0xff]);
        describe.resize(describe.len() + 0x7fff, b'g');
    }
    describe
}

/// A Produce 3 of so many empty batches for a topic that is not there, and what nobody reads behind them.
fn produce_nothing(batches: u32, len: usize) -> Vec<u8> {
    let mut produce = b"\0\0\0\x03\0\0\0\x02\xff\xff\xff\xff\xff\xff\0\0\x75\x30\0\0\0\x01\0\x01t".to_vec();
    produce.extend(batches.to_be_bytes());
    for index in 0..batches {
        produce.extend(index.to_be_bytes());
        produce.extend(0u32.to_be_bytes());
    }
    produce.resize(len.max(produce.len()), 0);
    produce
}

/// Bytes that the server's memory grows by when many clients ask for a large description and take their time to read it.
/// All of them get it in the end.
async fn growth_by_replies_that_are_not_read(address: SocketAddr, http: SocketAddr) -> usize {
    let large = Bytes::from(vec![1; LARGE_BYTES]);
    let group = GroupId(StrBytes::from_static_str("large"));
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("p"))
        .with_metadata(large.clone());
    let join = JoinGroupRequest::default()
        .with_group_id(group.clone())
        .with_session_timeout_ms(300_000)
        .with_protocol_type(StrBytes::from_static_str("c"))
        .with_protocols(vec![protocol]);
    let mut member = TcpStream::connect(address).await.unwrap();
    send(&mut member, ApiKey::JoinGroup, &join).await;
    let joined: JoinGroupResponse = receive(&mut member).await;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(large.clone());
    let sync = SyncGroupRequest::default()
        .with_group_id(group.clone())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    send(&mut member, ApiKey::SyncGroup, &sync).await;
    assert_eq!(receive::<SyncGroupResponse>(&mut member).await.error_code, 0);
    let sync = sync.with_assignments(Vec::new());
    drop((joined, join, large));

    let describe = DescribeGroupsRequest::default().with_groups(vec![group]);
    let of = (ApiKey::DescribeGroups, "DescribeGroups");
    let described = growth_when_unread(address, http, of, &describe, ASKING_FOR_BOTH).await;
    // A member that is a part of the group already is told at once what it was given.
    let of = (ApiKey::SyncGroup, "SyncGroup");
    described.max(growth_when_unread(address, http, of, &sync, ASKING_FOR_ONE).await)
}

/// The same for clients that all send this.
async fn growth_when_unread(
    address: SocketAddr,
    http: SocketAddr,
    (key, name): (ApiKey, &str),
    request: &impl Encodable,
    count: usize,
) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let requests_before = requests(http, name).await;
    let mut asking = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        // The system keeps as little as it can.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        send(&mut client, key, request).await;
        asking.push(client);
    }
    while requests(http, name).await < requests_before + count {
        sleep(Duration::from_millis(10)).await;
    }
    // Those that have no room yet get it when others are read.
    let reading: Vec<_> = asking.into_iter().map(|client| tokio::spawn(read_through(client))).collect();
    for read in reading {
        let len = read.await.unwrap();
        assert!(len > LARGE_BYTES, "{len} bytes of {name}");
    }
    MEMORY.peak_usage().saturating_sub(before)
}

/// The length of a reply, which is read bit by bit.
async fn read_through(mut client: TcpStream) -> usize {
    let len = client.read_u32().await.unwrap() as usize;
    let (mut scratch, mut left) = (vec![0; 64 << 10], len);
    while left > 0 {
        let most = left.min(scratch.len());
        let read = client.read(&mut scratch[..most]).await.unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= read;
    }
    len
}

/// Requests of a kind that were counted so far.
async fn requests(http: SocketAddr, api: &str) -> usize {
    let mut client = TcpStream::connect(http).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find(|line| !line.starts_with('#') && line.contains(&format!("\"{api}\"")));
    // There is a line once there was such a request.
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Sends a request of version 0.
async fn send(client: &mut TcpStream, key: ApiKey, request: &impl Encodable) {
    let mut frame = BytesMut::from(&[0, key as u8, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..]);
    request.encode(&mut frame, 0).unwrap();
    client.write_u32(frame.len() as u32).await.unwrap();
    client.write_all(&frame).await.unwrap();
}

/// The next reply, to a request of version 0.
async fn receive<R: Decodable>(client: &mut TcpStream) -> R {
    let mut frame = vec![0; client.read_u32().await.unwrap() as usize];
    client.read_exact(&mut frame).await.unwrap();
    let mut frame = Bytes::from(frame);
    frame.advance(4);
    R::decode(&mut frame, 0).unwrap()
}

/// Bytes that the server's memory grows by while it reads a frame and answers it, or ends the connection.
async fn growth_by(address: SocketAddr, frame: &[u8]) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    ask(address, frame).await;
    MEMORY.peak_usage().saturating_sub(before)
}

/// Everything that comes back for a frame. Nobody waits for messages once the client has no more to say.
async fn ask(address: SocketAddr, frame: &[u8]) -> Bytes {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&(frame.len() as u32).to_be_bytes()).await.unwrap();
    client.write_all(frame).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is ended for what it sent may be reset.
    let _ = client.shutdown().await;
    let _ = client.read_to_end(&mut answer).await;
    answer.into()
}
