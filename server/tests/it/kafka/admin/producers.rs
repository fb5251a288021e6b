//! DescribeProducers.

use kafka_protocol::messages::{
    DescribeProducersRequest, InitProducerIdRequest, describe_producers_request::TopicRequest,
};

use super::super::client::{Client, batch, name, stamped, start};

#[tokio::test]
async fn the_producers_that_a_partition_remembers_are_told() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    let id = client.ask(4, &init).await.producer_id;
    let three = stamped(&batch(&["a", "b", "c"]), id.0, 0, 0);
    assert_eq!(client.produce("t", three).await.error_code, 0);
    let wanted = |topic| TopicRequest::default().with_name(name(topic)).with_partition_indexes(vec![0, 1]);
    let request =
        DescribeProducersRequest::default().with_topics(vec![wanted("t"), wanted("u"), wanted("t")]);
    let response = client.ask(0, &request).await;
    let partitions: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let codes: Vec<_> = partitions.iter().map(|partition| partition.error_code).collect();
    // Twice would be any reply for a small request.
    assert_eq!(codes, [0, 3, 3, 3, 42, 42]);
    let [producer] = &partitions[0].active_producers[..] else { panic!("{response:?}") };
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (id, 0, 2));
    assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
}
