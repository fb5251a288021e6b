//! What a member of a group makes of partitions that the server's disk has lost.

use minikafka_client_connection::connect;
use minikafka_client_consume::{ConsumeError, GroupConsumer};
use minikafka_proto::v1::DescribeTopicRequest;

/// Says that a partition is lost, and goes on. A member keeps its share, also one of nothing but lost partitions: if it
/// left, they would only go to others.
///
/// # Errors
/// The same error, when all of the topic is lost, so that nobody in the group has anything to wait for.
pub(super) async fn overcome(
    error: ConsumeError,
    consumer: &GroupConsumer,
    host: &str,
    topic: &str,
) -> Result<(), ConsumeError> {
    let has_others = consumer.lost_partitions().count() < consumer.partitions().count();
    if !has_others && is_all_lost(host, topic).await {
        return Err(error);
    }
    say!("consume: {error}; going on with the others");
    Ok(())
}

async fn is_all_lost(host: &str, topic: &str) -> bool {
    let Ok(address) = host.parse() else { return false };
    // Without an answer, the next one of the server says more.
    let Ok(mut client) = connect(address).await else { return false };
    let request = DescribeTopicRequest { topic: topic.to_owned(), ..DescribeTopicRequest::default() };
    let described = client.describe_topic(request).await;
    described.is_ok_and(|reply| reply.into_inner().partitions.iter().all(|partition| partition.is_lost))
}
