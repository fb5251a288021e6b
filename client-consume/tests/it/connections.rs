//! A member has one connection, for its membership, its commits and what it reads.

use std::time::Duration;

use minikafka_client_consume::GroupConsumer;
use tonic::{Code, Status};

use crate::{
    fake::refusal,
    fake_group::{FakeGroup, joins, owns},
    reading::LONG,
};

async fn read(member: &mut GroupConsumer, count: usize) {
    let mut seen = 0;
    while seen < count {
        seen += member.poll(LONG).await.unwrap().len();
    }
}

#[tokio::test]
async fn all_of_it_is_on_one_connection() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    member.commit().await.unwrap();
    assert_eq!(fake.connections(), 1);
    // Also when a stream ends with a word of the server: the connection works.
    fake.end_stream(refusal(Code::Internal, "STORAGE_FAILED", &[]));
    fake.until(&mut member, |events| joins(events).len() == 2).await;
    assert_eq!(fake.connections(), 1);
    member.leave_consumer_group().await.unwrap();
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced_by_one() {
    let fake = FakeGroup::start().await;
    let mut member = fake.member().join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    fake.end_stream(Status::unavailable("broken on command"));
    fake.until(&mut member, |events| joins(events).len() == 2).await;
    // Its commits go there, too.
    member.commit().await.unwrap();
    fake.assign(2, &[(0, Some(11)), (1, None)]);
    read(&mut member, 10).await;
    fake.until(&mut member, owns(2, &[0, 1])).await;
    assert_eq!(fake.connections(), 2);
}

/// What was sent and is not read fills the window of its stream, and not that of the connection.
#[tokio::test]
async fn messages_that_nobody_takes_do_not_hold_up_heartbeats() {
    let fake = FakeGroup::start().await;
    fake.flood(16);
    let session_timeout = Duration::from_millis(600);
    let mut member = fake.member().session_timeout(session_timeout).join_consumer_group().await.unwrap();
    fake.assign(1, &[(0, None)]);
    read(&mut member, 10).await;
    // The caller takes its time.
    tokio::time::sleep(3 * session_timeout).await;
    assert_eq!(joins(&fake.events()).len(), 1, "the server was heard all the while");
    fake.assign(2, &[(0, Some(11)), (1, None)]);
    read(&mut member, 10).await;
    assert_eq!((joins(&fake.events()).len(), fake.connections()), (1, 1));
}
