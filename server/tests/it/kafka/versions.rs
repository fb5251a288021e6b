//! ApiVersions: asked in every version, and in one that is not there.

use bytes::Buf as _;
use kafka_protocol::{
    messages::{ApiVersionsRequest, ApiVersionsResponse, InitProducerIdRequest, TransactionalId},
    protocol::{Decodable, StrBytes},
};

use super::client::{Client, start};

#[tokio::test]
async fn what_is_answered_is_said_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let mut all = Vec::new();
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let request = match version >= 3 {
            true => request
                .with_client_software_name(StrBytes::from_static_str("test"))
                .with_client_software_version(StrBytes::from_static_str("1.0")),
            false => request,
        };
        let response = client.ask(version, &request).await;
        assert_eq!(response.error_code, 0);
        let keys = response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version));
        all.push(keys.collect::<Vec<_>>());
    }
    all.dedup();
    let [first] = &all[..] else { panic!("{all:?}") };
    let of_messages = [(0, 0, 11), (1, 4, 16), (2, 1, 10), (3, 0, 13)];
    let of_groups = [
        (8, 2, 9),
        (9, 1, 9),
        (10, 0, 6),
        (11, 0, 9),
        (12, 0, 4),
        (13, 0, 5),
        (14, 0, 5),
        (15, 0, 6),
        (16, 0, 5),
    ];
    let of_topics = [(17, 0, 1), (18, 0, 4), (19, 2, 7), (20, 1, 6), (21, 0, 2), (22, 0, 4), (23, 2, 4)];
    let of_settings = [(32, 1, 4), (33, 0, 2), (35, 1, 4), (36, 0, 2), (37, 0, 3), (42, 0, 2), (44, 0, 1)];
    let of_others = [(47, 0, 0), (60, 0, 2), (61, 0, 0), (68, 0, 1), (69, 0, 1), (74, 0, 1), (75, 0, 0)];
    let all = [&of_messages[..], &of_groups, &of_topics, &of_settings, &of_others].concat();
    assert_eq!(*first, all);
}

#[tokio::test]
async fn behind_the_correlation_id_comes_the_error_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for version in 3..=4u8 {
        // Header 2 and its tags, the names of the client's software, and tags.
        client.send_frame(&[0, 18, 0, version, 0, 0, 0, 77, 0xff, 0xff, 0, 2, b'a', 2, b'b', 0]).await;
        let mut frame = client.frame().await.unwrap();
        assert_eq!((frame.get_i32(), frame.get_i16()), (77, 0), "no tags between them");
        // One more than there are, and the first one's key and versions.
        assert_eq!(frame.get_u8(), 35);
        assert_eq!([(); 3].map(|()| frame.get_i16()), [0, 0, 11]);
    }
}

#[tokio::test]
async fn a_version_to_come_is_answered_as_version_0_and_the_connection_goes_on() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    // Whatever its header will be like.
    client.send_frame(&[0, 18, 0, 99, 0, 0, 0, 77, 1, 2, 3]).await;
    let mut frame = client.frame().await.unwrap();
    assert_eq!(frame.get_i32(), 77);
    let response = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert!(frame.is_empty());
    assert_eq!(response.error_code, 35);
    let keys: Vec<_> =
        response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    assert_eq!(keys, [(18, 0, 4)]);
    assert_eq!(client.ask(0, &ApiVersionsRequest::default()).await.error_code, 0);
}

#[tokio::test]
async fn each_producer_gets_an_id_of_its_own() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let mut ids = Vec::new();
    for version in 0..=4 {
        let response =
            client.ask(version, &InitProducerIdRequest::default().with_transactional_id(None)).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);

    let transaction = Some(TransactionalId(StrBytes::from_static_str("t")));
    let request = InitProducerIdRequest::default().with_transactional_id(transaction);
    let response = client.ask(4, &request).await;
    assert_eq!((response.error_code, response.producer_id.0), (42, -1), "there are no transactions");
}
