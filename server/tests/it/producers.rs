//! Idempotent producers over gRPC.

use bytes::Bytes;
use minikafka_proto::v1::{
    InitProducerRequest, InitProducerResponse, ListProducersRequest, ProduceRequest, ProduceStreamRequest,
    RequestError, produce_request::Payload, produce_stream_response::Result as Outcome,
};
use minikafka_record::{BatchBuilder, Offset, ProducerStamp, Sequence};
use minikafka_server::Server;
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{Fixture, why};

fn batch(identity: &InitProducerResponse, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    values.iter().for_each(|value| builder.push(1, None, Some(value.as_bytes()), &[]));
    builder.stamp(ProducerStamp {
        id: identity.producer_id,
        epoch: identity.producer_epoch as i16,
        sequence: Sequence::new(sequence).unwrap(),
    });
    builder.finish(Offset::ZERO, 0)
}

fn request(identity: &InitProducerResponse, sequence: i32, values: &[&str]) -> ProduceRequest {
    let payload = Some(Payload::RecordBatch(batch(identity, sequence, values)));
    ProduceRequest { topic: "t".to_owned(), payload, ..ProduceRequest::default() }
}

async fn init(fixture: &Fixture, previous: Option<&InitProducerResponse>) -> InitProducerResponse {
    let request = InitProducerRequest {
        producer_id: previous.map(|identity| identity.producer_id),
        producer_epoch: previous.map(|identity| identity.producer_epoch),
    };
    fixture.v1.clone().init_producer(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_batch_that_is_sent_again_says_where_it_is() {
    let fixture = Fixture::memory().await;
    let identity = init(&fixture, None).await;
    assert_eq!((identity.producer_epoch, identity.expiry_ms), (0, 24 * 3600 * 1000));
    let mut client = fixture.v1.clone();
    for duplicate in [false, true] {
        let produced = client.produce(request(&identity, 0, &["a", "b"])).await.unwrap().into_inner();
        assert_eq!((produced.first_number, produced.count, produced.duplicate), (1, 2, duplicate));
        assert!(produced.append_time_ms > 0);
    }
    let listed = ListProducersRequest { topic: "t".to_owned(), ..ListProducersRequest::default() };
    let listed = client.list_producers(listed).await.unwrap().into_inner().producers;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].producer_id, listed[0].producer_epoch), (identity.producer_id, 0));
    assert_eq!((listed[0].partition, listed[0].last_sequence, listed[0].last_number), (0, 1, 2));
    fixture.stop().await;
}

/// The places of a page end at its size, within a partition or at its end, and the next page goes on behind them.
#[tokio::test]
async fn producers_are_listed_page_by_page() {
    let fixture = Fixture::with(|config| config.partitions = 3).await;
    let mut client = fixture.v1.clone();
    let mut wanted = Vec::new();
    for partition in [2, 0, 1] {
        for _ in 0..3 {
            let identity = init(&fixture, None).await;
            let produce = ProduceRequest { partition: Some(partition), ..request(&identity, 0, &["a"]) };
            client.produce(produce).await.unwrap();
            wanted.push((partition, identity.producer_id));
        }
    }
    wanted.sort_unstable();
    let all = ListProducersRequest { topic: "t".to_owned(), ..ListProducersRequest::default() };
    for (page_size, sizes) in [(0, vec![9]), (3, vec![3, 3, 3]), (4, vec![4, 4, 1]), (9, vec![9])] {
        let pages = pages(&fixture, ListProducersRequest { page_size, ..all.clone() }).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert_eq!(pages.concat(), wanted, "pages of {page_size}");
    }
    let of_one = ListProducersRequest { partition: Some(1), page_size: 2, ..all.clone() };
    let pages = pages(&fixture, of_one).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(pages.concat(), wanted[3..6]);
    for page_token in ["1", "1/", "one/2", "/"] {
        let request = ListProducersRequest { page_token: page_token.to_owned(), ..all.clone() };
        let status = client.list_producers(request).await.unwrap_err();
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()), "{page_token:?}");
    }
    fixture.stop().await;
}

/// All pages of a list: partitions and ids.
async fn pages(fixture: &Fixture, mut request: ListProducersRequest) -> Vec<Vec<(u32, i64)>> {
    let mut pages = Vec::new();
    loop {
        let page = fixture.v1.clone().list_producers(request.clone()).await.unwrap().into_inner();
        pages.push(page.producers.iter().map(|each| (each.partition, each.producer_id)).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn each_rule_that_is_broken_has_its_reason() {
    let fixture = Fixture::memory().await;
    let identity = init(&fixture, None).await;
    let mut client = fixture.v1.clone();
    client.produce(request(&identity, 0, &["a"])).await.unwrap();
    let next = init(&fixture, Some(&identity)).await;
    assert_eq!((next.producer_id, next.producer_epoch), (identity.producer_id, 1));
    let stranger = InitProducerResponse { producer_id: identity.producer_id + 100, ..identity };
    for (identity, sequence, reason) in
        [(&identity, 7, "OUT_OF_SEQUENCE"), (&next, 1, "OUT_OF_SEQUENCE"), (&stranger, 1, "UNKNOWN_PRODUCER")]
    {
        let status = client.produce(request(identity, sequence, &["x"])).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, reason);
    }
    client.produce(request(&next, 0, &["b"])).await.unwrap();
    let status = client.produce(request(&identity, 1, &["x"])).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "PRODUCER_FENCED");
    for (producer_id, producer_epoch) in
        [(Some(1), None), (None, Some(1)), (Some(1), Some(1 << 15)), (Some(-1), Some(0))]
    {
        let request = InitProducerRequest { producer_id, producer_epoch };
        let status = client.init_producer(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn on_a_stream_the_window_may_be_full_of_them() {
    let fixture = Fixture::memory().await;
    let identity = init(&fixture, None).await;
    let sequences = [0, 1, 2, 3, 4, 0, 1, 9, 5];
    let requests: Vec<_> = (0..)
        .zip(sequences)
        .map(|(request_id, sequence)| ProduceStreamRequest {
            request_id,
            produce: Some(request(&identity, sequence, &["x"])),
        })
        .collect();
    let mut client = fixture.v1.clone();
    let mut replies = client.produce_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut outcomes = Vec::new();
    while let Some(reply) = replies.message().await.unwrap() {
        outcomes.push(match reply.result.unwrap() {
            Outcome::Produced(produced) => format!("{} {}", produced.first_number, produced.duplicate),
            Outcome::Error(RequestError { reason, .. }) => reason,
        });
    }
    let expected = [
        "1 false",
        "2 false",
        "3 false",
        "4 false",
        "5 false",
        "1 true",
        "2 true",
        "OUT_OF_SEQUENCE",
        "6 false",
    ];
    assert_eq!(outcomes, expected);
    fixture.stop().await;
}

#[tokio::test]
async fn identities_and_what_is_remembered_survive_a_restart() {
    let root = TempDir::new().unwrap();
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    let identity = init(&fixture, None).await;
    fixture.v1.clone().produce(request(&identity, 0, &["a"])).await.unwrap();
    fixture.stop().await;
    let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
    let produced = fixture.v1.clone().produce(request(&identity, 0, &["a"])).await.unwrap().into_inner();
    assert_eq!((produced.first_number, produced.duplicate), (1, true));
    let other = init(&fixture, None).await;
    assert_ne!(other.producer_id, identity.producer_id);
    fixture.stop().await;
}
