//! What a server costs while nothing happens: 1000 partitions, each with a group of its own, each with a member of our
//! library that is connected, shows that it lives, and waits for messages.

use std::time::Duration;

use anyhow::Context as _;
use minikafka_client_consume::{GroupConsumer, Position};
use minikafka_proto::v1::CreateTopicRequest;
use tokio::task::JoinSet;

use super::Settings;
use crate::{
    client::Requests,
    report::{Bar, Figure, Unit, section},
    serve::{Kind, ServerProcess},
};

const GROUPS: usize = 1000;
/// Members that join at a time: a thousand connections at once is not what is measured.
const AT_A_TIME: usize = 20;
/// Time for a server to come to rest before it is looked at.
const REST: Duration = Duration::from_secs(2);
/// How long its idleness is watched: two heartbeats of each member.
const IDLE: Duration = Duration::from_secs(30);
const MESSAGE_LEN: usize = 100;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "idle: a server process, durable; partitions with a message each, groups with a member each (one round)",
    );
    let server = ServerProcess::start(Kind::MiniKafka, &settings.dir)?;
    create_topics(&server).await?;
    tokio::time::sleep(REST).await;
    let before = server.child.memory()?;
    let name = format!("{GROUPS} partitions");
    Figure::new(format!("{name}: memory of the server"), Unit::Bytes, &[before]).print();
    let cores = cores_when_idle(&server).await?;
    Figure::new(format!("{name}: processor when idle"), Unit::Cores, &[cores]).bar(Bar::AtMost(0.01)).print();

    let mut members = JoinSet::new();
    for first in (0..GROUPS).step_by(AT_A_TIME) {
        for member in join(&server.address, first..first + AT_A_TIME).await? {
            members.spawn(wait(member));
        }
    }
    tokio::time::sleep(REST).await;
    let name = format!("{GROUPS} partitions, {GROUPS} groups with a member");
    let after = server.child.memory()?;
    Figure::new(format!("{name}: memory of the server"), Unit::Bytes, &[after]).print();
    let each = (after - before) / GROUPS as f64;
    Figure::new(format!("{name}: memory of a group"), Unit::Bytes, &[each]).print();
    let cores = cores_when_idle(&server).await?;
    // Those that wait have no reason to end.
    if let Some(ended) = members.try_join_next() {
        return Err(ended?);
    }
    Figure::new(format!("{name}: processor when idle"), Unit::Cores, &[cores]).bar(Bar::AtMost(0.01)).print();
    Ok(())
}

async fn create_topics(server: &ServerProcess) -> anyhow::Result<()> {
    let mut client = server.connect().await?;
    for number in 0..GROUPS {
        let topic = topic(number);
        let create = CreateTopicRequest { topic: topic.clone(), partitions: 1, settings: None };
        client.create_topic(create).await?;
        client.produce(Requests::list(&topic, 1, MESSAGE_LEN).request(0)).await?;
    }
    Ok(())
}

fn topic(number: usize) -> String {
    format!("idle-{number}")
}

/// Members that have read what is there.
async fn join(host: &str, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<GroupConsumer>> {
    let mut joining = JoinSet::new();
    for number in numbers {
        let builder = GroupConsumer::builder(host, &format!("group-{number}"))
            .subscribe(&topic(number))
            .start(Position::Earliest);
        joining.spawn(async move {
            let mut member = builder.join_consumer_group().await?;
            let messages = member.poll(Duration::from_secs(60)).await?;
            messages.first().context("its message does not come")?;
            member.commit().await?;
            anyhow::Ok(member)
        });
    }
    let mut members = Vec::new();
    while let Some(joined) = joining.join_next().await {
        members.push(joined??);
    }
    Ok(members)
}

/// Polls without end. Returns only what goes wrong.
async fn wait(mut member: GroupConsumer) -> anyhow::Error {
    loop {
        match member.poll(Duration::from_secs(3600)).await {
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
}

/// How much of one core the server takes.
async fn cores_when_idle(server: &ServerProcess) -> anyhow::Result<f64> {
    let used = server.child.processor_time()?;
    tokio::time::sleep(IDLE).await;
    let used = server.child.processor_time()? - used;
    Ok(used.as_secs_f64() / IDLE.as_secs_f64())
}
