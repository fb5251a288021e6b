//! What is left after a restart: positions, and no members.

use minikafka_broker::{GroupState, SeekMode, SeekTo};
use minikafka_server::Server;

use super::{
    super::client::{Client, start_with},
    Member, alone, fetched, join_request,
};
use crate::support::soon;

#[tokio::test]
async fn members_join_anew_and_positions_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut member = alone(&fixture).await;
    assert_eq!(member.commit(2).await, 0);
    let (id, generation) = (member.id.clone(), member.generation);
    drop(member);
    soon(fixture.stop()).await;

    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let client = Client::connect(&fixture).await;
    let mut before = Member { client, id: id.clone(), generation };
    assert_eq!(before.commit(1).await, 25, "a commit of a member of before");
    assert_eq!(before.heartbeat().await, 25);
    assert_eq!(before.client.ask(9, &join_request(&id)).await.error_code, 25);
    assert_eq!(fetched(&mut before.client, 7).await.committed_offset, 2);
    // The members of before are nobody's any more, without anybody's doing.
    let broker = fixture.server.broker();
    soon(async {
        while broker.seek_group("g", &[], &[], SeekTo::Latest, SeekMode::Preview).await.is_err() {
            // A refusal waits for nothing, so that nobody else would get a turn.
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(broker.group("g").unwrap().state, GroupState::Empty);
    let mut after = Member::new(&fixture).await;
    assert!(after.join().await.generation_id > 0);
    assert_ne!(after.id, id);
    after.sync(&[]).await;
    assert_eq!(after.commit(3).await, 0);
}
