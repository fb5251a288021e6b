//! A member that is to give up a partition and never says that it has.

use std::time::{Duration, Instant};

use minikafka_proto::v1::{
    CommitPositionsRequest, Heartbeat, JoinGroup, JoinRequest, PartitionPosition, join_request::Message,
    join_response::Message as Reply,
};
use tonic::{Code, Status};

use crate::{
    group_member::{Member, client, create, hello, join, owned, try_join},
    support::{Fixture, soon, why},
};

/// How long the member has to give something up: the least that the server takes.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Says again and again that it lives, and nothing else, until the stream ends: the status at the end.
async fn only_lives(member: &mut Member, has: usize) -> Status {
    let mut is_asked = false;
    member.say(Message::Heartbeat(Heartbeat {}));
    loop {
        match member.next().await {
            // As often as the server answers, so that it is heard all the time.
            Ok(Some(Reply::Heartbeat(_))) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                // The stream may have ended meanwhile, which the next reply tells.
                let _ = member.says.send(JoinRequest { message: Some(Message::Heartbeat(Heartbeat {})) });
            }
            Ok(Some(Reply::Assignment(less))) if less.partitions.len() < has => {
                is_asked = true;
            }
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ends without an error"),
            Err(status) => {
                assert!(is_asked, "it was asked to give something up");
                return status;
            }
        }
    }
}

#[tokio::test]
async fn who_lives_and_never_gives_up_a_partition_is_removed_in_time_and_others_get_it() {
    let fixture = Fixture::memory().await;
    let mut groups = client(&fixture);
    create(&fixture, &["a", "b"]).await;
    let stubborn =
        JoinGroup { rebalance_timeout_ms: REBALANCE_TIMEOUT.as_millis() as u32, ..hello(&["a", "b"]) };
    let mut stubborn = try_join(&fixture, stubborn).await.unwrap();
    let all = stubborn.settle(2).await;
    // Before the server begins to count.
    let begin = Instant::now();
    let mut other = join(&fixture, &["a", "b"]).await;
    let none = other.assignment().await;
    assert!(none.partitions.is_empty(), "somebody reads them: {none:?}");
    let status = soon(only_lives(&mut stubborn, 2)).await;
    assert!(begin.elapsed() >= REBALANCE_TIMEOUT, "it had its time: {:?}", begin.elapsed());
    assert_eq!(why(&status), (Code::NotFound, "UNKNOWN_MEMBER".to_owned()));
    assert!(status.message().contains("did not give up a partition in time"), "{}", status.message());
    assert!(status.message().contains(&stubborn.joined.member_id), "{}", status.message());
    // The group is not stuck: the other one has everything that the stubborn one held on to.
    let taken = other.settle(2).await;
    assert_eq!(owned(&taken), owned(&all));
    // And what the stubborn one says later is refused.
    let late = CommitPositionsRequest {
        group: "g".into(),
        member_id: stubborn.joined.member_id.clone(),
        member_epoch: all.member_epoch,
        positions: vec![PartitionPosition { topic: "a".into(), number: 1, ..PartitionPosition::default() }],
    };
    let status = groups.commit_positions(late).await.expect_err("it is no member");
    assert_eq!(why(&status), (Code::NotFound, "UNKNOWN_MEMBER".to_owned()));
    // It comes again as another member, and gets its share.
    let mut again = join(&fixture, &["a", "b"]).await;
    other.settle(1).await;
    again.settle(1).await;
}
