//! Positions that a group has stored, as its members read them back.

use std::time::Duration;

use minikafka_client_consume::{ConsumeError, PositionToCommit, TopicPartition};

use crate::{group_setup::read, setup::Rig};

#[tokio::test]
async fn what_is_committed_is_read_back_with_its_metadata_by_every_member() {
    let rig = Rig::start().await;
    rig.create("t", 4).await;
    for partition in 0..4 {
        rig.produce("t", partition, 1..=10).await;
    }
    let builder = rig.member("g").subscribe("t").commit_by_hand().timeout(Duration::from_secs(2));
    let mut one = builder.clone().join_consumer_group().await.unwrap();
    read(&mut one, 40).await;
    let of = |partition| TopicPartition::new("t", partition);
    let everything: Vec<_> = (0..5).map(of).chain([TopicPartition::new("not there", 0)]).collect();
    assert!(one.committed(&everything).await.unwrap().is_empty());
    let position = |partition, number, metadata: &str| PositionToCommit {
        of: of(partition),
        number,
        metadata: metadata.to_owned(),
    };
    one.commit_positions([position(1, 4, "checksum 17"), position(3, 11, "")]).await.unwrap();
    let mut two = builder.join_consumer_group().await.unwrap();
    for member in [&mut one, &mut two] {
        let committed = member.committed(&everything).await.unwrap();
        let committed: Vec<_> = committed
            .into_iter()
            .map(|(of, at)| (of.partition, at.number, at.metadata, at.commit_time_ms > 0))
            .collect();
        assert_eq!(committed, [(1, 4, "checksum 17".to_owned(), true), (3, 11, String::new(), true)]);
    }
    assert!(one.committed(&[of(0)]).await.unwrap().is_empty());
    assert!(one.committed(&[]).await.unwrap().is_empty(), "nothing is asked for");
    let host = rig.host();
    let Rig { server, .. } = rig;
    server.stop().await.unwrap();
    let mut patient = two;
    let error = patient.committed(&[of(1)]).await.unwrap_err();
    assert!(
        matches!(error, ConsumeError::Unreachable { .. }) && error.to_string().contains(&host),
        "{error}"
    );
}
