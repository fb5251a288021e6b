//! FindCoordinator.

use kafka_protocol::messages::FindCoordinatorRequest;

use super::{
    super::client::{Client, start},
    text,
};

#[tokio::test]
async fn this_node_has_every_group_in_every_version() {
    let fixture = start().await;
    let address = fixture.server.kafka_addr().unwrap();
    let mut client = Client::connect(&fixture).await;
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        if version < 4 {
            let found = client.ask(version, &request.with_key(text("g"))).await;
            assert_eq!((found.error_code, found.port), (0, i32::from(address.port())));
            assert_eq!(found.host.as_str(), "127.0.0.1");
        } else {
            let keys = vec![text("g"), text("h")];
            let found = client.ask(version, &request.with_coordinator_keys(keys)).await;
            let keys: Vec<_> = found.coordinators.iter().map(|of| (of.key.as_str(), of.error_code)).collect();
            assert_eq!(keys, [("g", 0), ("h", 0)]);
            assert_eq!(found.coordinators[1].port, i32::from(address.port()));
        }
    }
}

#[tokio::test]
async fn there_are_no_transactions_to_be_coordinated() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let request = FindCoordinatorRequest::default().with_key_type(1);
    let found = client.ask(1, &request.clone().with_key(text("tx"))).await;
    assert_eq!((found.error_code, found.node_id.0), (42, -1));
    let found = client.ask(4, &request.with_coordinator_keys(vec![text("tx")])).await;
    assert_eq!((found.coordinators[0].error_code, found.coordinators[0].node_id.0), (42, -1));
}
