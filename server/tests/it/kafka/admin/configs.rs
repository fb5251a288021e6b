//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::time::Duration;

use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request,
    describe_configs_request::DescribeConfigsResource, incremental_alter_configs_request,
};
use minikafka_broker::BrokerConfig;
use minikafka_server::Server;

use super::{
    super::client::{Client, start, start_with},
    BROKER, TOPIC, create, describe, find, new_topic, text, value, with_configs,
};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The settings of a topic that Kafka 4.1 documents, and their values in the test below; none of what the storage decides from
/// case to case.
const STANDARD: [(&str, Option<&str>); 33] = [
    ("cleanup.policy", Some("delete")),
    ("compression.gzip.level", Some("-1")),
    ("compression.lz4.level", Some("9")),
    ("compression.type", Some("producer")),
    ("compression.zstd.level", Some("3")),
    ("delete.retention.ms", Some("86400000")),
    ("file.delete.delay.ms", Some("0")),
    ("flush.messages", Some("9223372036854775807")),
    ("flush.ms", Some("9223372036854775807")),
    ("follower.replication.throttled.replicas", Some("")),
    ("index.interval.bytes", None),
    ("leader.replication.throttled.replicas", Some("")),
    ("local.retention.bytes", Some("-2")),
    ("local.retention.ms", Some("-2")),
    ("max.compaction.lag.ms", Some("9223372036854775807")),
    ("max.message.bytes", Some("3145728")),
    ("message.timestamp.after.max.ms", Some("9223372036854775807")),
    ("message.timestamp.before.max.ms", Some("9223372036854775807")),
    ("message.timestamp.type", Some("CreateTime")),
    ("min.cleanable.dirty.ratio", Some("0.5")),
    ("min.compaction.lag.ms", Some("0")),
    ("min.insync.replicas", Some("1")),
    ("preallocate", Some("false")),
    ("remote.log.copy.disable", Some("false")),
    ("remote.log.delete.on.disable", Some("false")),
    ("remote.storage.enable", Some("false")),
    ("retention.bytes", Some("2000000")),
    ("retention.ms", Some("60000")),
    ("segment.bytes", None),
    ("segment.index.bytes", None),
    ("segment.jitter.ms", Some("0")),
    ("segment.ms", None),
    ("unclean.leader.election.enable", Some("false")),
];

type Step<'a> = (&'a str, i8, Option<&'a str>);

fn incremental(kind: i8, name: &str, steps: &[Step<'_>]) -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |(name, operation, value): &Step<'_>| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
    let resource = resource.with_configs(steps.iter().map(config).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

async fn change(client: &mut Client, steps: &[Step<'_>]) -> i16 {
    let response = client.ask(1, &incremental(TOPIC, "t", steps)).await;
    response.responses[0].error_code
}

async fn replace(client: &mut Client, version: i16, configs: &[(&str, &str)]) -> i16 {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |(name, value): &(&str, &str)| {
        AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text("t"));
    let resource = resource.with_configs(configs.iter().map(config).collect());
    let response = client.ask(version, &AlterConfigsRequest::default().with_resources(vec![resource])).await;
    response.responses[0].error_code
}

#[tokio::test]
async fn every_standard_setting_is_listed_with_its_source() {
    let config = BrokerConfig { retention: Some(Duration::from_secs(60)), ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    create(&mut client, with_configs(new_topic("t"), &[("retention.bytes", "2000000")])).await;
    let result = describe(&mut client, TOPIC, "t").await;
    assert_eq!((result.error_code, result.resource_type, result.resource_name.as_str()), (0, TOPIC, "t"));
    let mut names: Vec<_> = result.configs.iter().map(|config| config.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, STANDARD.map(|(name, _)| name));
    for (name, value) in STANDARD {
        // Chosen for the server, for the topic, by default, and never.
        let (source, is_read_only) = match name {
            "retention.ms" => (4, false),
            "retention.bytes" => (1, false),
            "max.message.bytes" => (5, false),
            _ => (5, true),
        };
        let config = find(&result, name);
        assert_eq!(
            (config.value.as_deref(), config.config_source, config.read_only),
            (value, source, is_read_only),
            "{name}"
        );
        assert!(!config.documentation.as_ref().unwrap().is_empty(), "{name}");
        assert!(config.config_type > 0);
    }
    let synonyms = |name| {
        let synonyms = &find(&result, name).synonyms;
        let said = synonyms
            .iter()
            .map(|one| (one.name.to_string(), one.value.as_ref().unwrap().to_string(), one.source));
        said.collect::<Vec<_>>()
    };
    let said = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    assert_eq!(synonyms("retention.ms"), [said("log.retention.ms", "60000", 4)]);
    let expected = [said("retention.bytes", "2000000", 1), said("log.retention.bytes", "-1", 5)];
    assert_eq!(synonyms("retention.bytes"), expected);
}

#[tokio::test]
async fn what_is_asked_for_is_told_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.create("v").await;
    let node = fixture.server.broker().node_id().0.to_string();
    let resource = |kind, name, keys: Option<&[&str]>| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
    };
    for version in 1..=4 {
        let resources = vec![
            resource(TOPIC, "t", Some(&["retention.ms", "no.such.thing"])),
            resource(TOPIC, "v", Some(&[])),
            resource(BROKER, &node, Some(&["message.max.bytes"])),
            resource(BROKER, "", None),
            resource(TOPIC, "u", None),
            resource(TOPIC, "demo topic", None),
            resource(BROKER, "77", None),
            resource(8, &node, None),
        ];
        let request = DescribeConfigsRequest::default().with_resources(resources);
        let response = client.ask(version, &request).await;
        let results: Vec<_> =
            response.results.iter().map(|result| (result.error_code, result.configs.len())).collect();
        let expected = [(0, 1), (0, 33), (0, 1), (0, 0), (3, 0), (17, 0), (42, 0), (42, 0)];
        assert_eq!(results, expected, "version {version}");
        assert!(response.results[0].configs[0].synonyms.is_empty(), "nobody has asked");
        let documentation = &response.results[0].configs[0].documentation;
        assert!(documentation.as_deref().unwrap_or_default().is_empty());
    }
}

#[tokio::test]
async fn the_server_is_described_and_cannot_be_changed() {
    let config = BrokerConfig { partitions: 7, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    let node = fixture.server.broker().node_id().0.to_string();
    let result = describe(&mut client, BROKER, &node).await;
    let told = |name| {
        let config = find(&result, name);
        assert!(config.read_only);
        (config.value.clone().unwrap().to_string(), config.config_source)
    };
    assert_eq!(told("num.partitions"), ("7".to_owned(), 4));
    assert_eq!(told("log.retention.ms"), ("604800000".to_owned(), 5));
    assert_eq!(told("auto.create.topics.enable"), ("true".to_owned(), 5));
    assert_eq!(told("default.replication.factor"), ("1".to_owned(), 5));
    let address = fixture.server.kafka_addr().unwrap();
    assert_eq!(told("advertised.listeners").0, format!("PLAINTEXT://{address}"));
    let steps = [("num.partitions", SET, Some("8"))];
    let response = client.ask(1, &incremental(BROKER, &node, &steps)).await;
    assert_eq!(response.responses[0].error_code, 42);
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_counted_at_once() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for (version, age) in [(0, "60000"), (1, "-1")] {
        let steps = [("retention.ms", SET, Some(age))];
        let request = incremental(TOPIC, "t", &steps);
        let only = incremental(TOPIC, "t", &[("retention.ms", SET, Some("1234"))]).with_validate_only(true);
        for request in [request, only] {
            let response = client.ask(version, &request).await;
            assert_eq!((response.responses[0].error_code, &response.responses[0].error_message), (0, &None));
        }
        assert_eq!(value(&mut client, "t", "retention.ms").await, (age.to_owned(), 1));
    }
    let steps = [("retention.ms", DELETE, None), ("max.message.bytes", SET, Some("4096"))];
    assert_eq!(change(&mut client, &steps).await, 0);
    assert_eq!(value(&mut client, "t", "retention.ms").await, ("604800000".to_owned(), 5));
    assert_eq!(value(&mut client, "t", "max.message.bytes").await, ("4096".to_owned(), 1));
    assert_eq!(fixture.server.broker().describe_topic("t").unwrap().message_bytes_max.value, 4096);
}

#[tokio::test]
async fn what_has_no_effect_is_refused_as_a_whole_unless_it_holds_already() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for (step, code) in [
        (("cleanup.policy", SET, Some("delete")), 0),
        (("cleanup.policy", APPEND, Some("delete")), 0),
        (("cleanup.policy", APPEND, Some("compact")), 40),
        (("cleanup.policy", SUBTRACT, Some("delete")), 40),
        (("segment.ms", SET, Some("1000")), 40),
        (("segment.ms", DELETE, None), 0),
        (("retention.ms", SUBTRACT, Some("1")), 40),
        (("retention.bytes", SET, Some("1")), 40),
        (("unknown", DELETE, None), 40),
        (("retention.ms", 9, Some("1")), 42),
    ] {
        let steps = [("max.message.bytes", SET, Some("2048")), step];
        assert_eq!(change(&mut client, &steps).await, code, "{step:?}");
        let expected = if code == 0 { "2048" } else { "3145728" };
        assert_eq!(value(&mut client, "t", "max.message.bytes").await.0, expected, "{step:?}");
        assert_eq!(change(&mut client, &[("max.message.bytes", DELETE, None)]).await, 0);
    }
    let twice = [("retention.ms", SET, Some("1000")), ("retention.ms", DELETE, None)];
    assert_eq!(change(&mut client, &twice).await, 42);
}

#[tokio::test]
async fn replacing_leaves_the_rest_to_the_server() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    create(&mut client, with_configs(new_topic("t"), &[("retention.bytes", "2000000")])).await;
    for version in 0..=2 {
        assert_eq!(replace(&mut client, version, &[("retention.ms", "5000")]).await, 0);
        assert_eq!(value(&mut client, "t", "retention.ms").await, ("5000".to_owned(), 1));
        assert_eq!(value(&mut client, "t", "retention.bytes").await, ("-1".to_owned(), 5));
        assert_eq!(replace(&mut client, version, &[("retention.bytes", "3000000")]).await, 0);
        assert_eq!(value(&mut client, "t", "retention.ms").await.1, 5);
        assert_eq!(replace(&mut client, version, &[("cleanup.policy", "compact")]).await, 40);
        assert_eq!(value(&mut client, "t", "retention.bytes").await, ("3000000".to_owned(), 1));
    }
}

#[tokio::test]
async fn each_resource_has_one_result_and_an_error_of_its_own() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let mut request = IncrementalAlterConfigsRequest::default();
    for (kind, name) in
        [(TOPIC, "t"), (TOPIC, "u"), (TOPIC, "demo topic"), (99, "t"), (TOPIC, "w"), (TOPIC, "w")]
    {
        let one = incremental(kind, name, &[("retention.ms", SET, Some("7000"))]);
        request.resources.extend(one.resources);
    }
    let response = client.ask(1, &request).await;
    let mut results: Vec<_> = response
        .responses
        .iter()
        .map(|result| (result.resource_name.as_str(), result.resource_type, result.error_code))
        .collect();
    results.sort_unstable();
    let expected =
        [("demo topic", TOPIC, 17), ("t", TOPIC, 0), ("t", 99, 42), ("u", TOPIC, 3), ("w", TOPIC, 42)];
    assert_eq!(results, expected);
}

#[tokio::test]
async fn what_is_named_twice_is_described_once() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let resource = |kind, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let resources = vec![resource(TOPIC, "t"), resource(BROKER, "t"), resource(TOPIC, "t")];
    let response = client.ask(4, &DescribeConfigsRequest::default().with_resources(resources)).await;
    let said: Vec<_> =
        response.results.iter().map(|result| (result.error_code, result.configs.len())).collect();
    assert_eq!(said, [(0, STANDARD.len()), (42, 0), (42, 0)]);
    assert!(response.results[2].error_message.as_deref().unwrap().contains("twice"));
}
