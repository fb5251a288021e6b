//! Settings from both sources, good and bad.

use std::path::PathBuf;

use minikafka_storage::filesystem::SyncPolicy;

use super::*;

fn load(variables: &[(&str, &str)], args: &[&str]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Config::load(variables, ["server"].iter().chain(args).map(OsString::from))
}

fn refused(variables: &[(&str, &str)], args: &[&str]) -> String {
    let error = load(variables, args).expect_err("it breaks a rule");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[test]
fn no_setting_is_needed() {
    let config = load(&[("PATH", "/bin")], &[]).unwrap();
    assert_eq!(config.host.to_string(), "127.0.0.1:9999");
    assert_eq!(config.broker.retention, Some(Duration::from_secs(168 * 3600)));
    assert_eq!(config.broker.retention_bytes, None);
    let root = PathBuf::from("./minikafka-data");
    assert_eq!(config.storage, StorageConfig::Filesystem { root, sync: SyncPolicy::Always });
    assert_eq!((config.broker.partitions, config.broker.partitions_max), (1, 10_000));
    assert_eq!(config.broker.message_bytes_max, 3 << 20);
    assert_eq!(config.broker.auto_create, AutoCreate::Enabled);
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(config.kafka, KafkaConfig::listening(Listen::Default));
    assert_eq!(KafkaConfig::default_address().to_string(), "127.0.0.1:9092");
    assert!(config.warnings.is_empty());
}

#[test]
fn variables_set_everything() {
    let config = load(
        &[
            ("MINIKAFKA_HOST", ":1234"),
            ("MINIKAFKA_RETENTIONTIME", "1h30m"),
            ("MINIKAFKA_RETENTION_BYTES", "10GiB"),
            ("MINIKAFKA_POSITION_RETENTION", "24h"),
            ("MINIKAFKA_ROOT_DIR", "/data"),
            ("MINIKAFKA_STORAGE", "filesystem"),
            ("MINIKAFKA_SYNC", "every:100ms"),
            ("MINIKAFKA_PARTITIONS", "3"),
            ("MINIKAFKA_PARTITIONS_MAX", "7"),
            ("MINIKAFKA_MESSAGE_MAX", "32MiB"),
            ("MINIKAFKA_AUTO_CREATE", "false"),
            ("MINIKAFKA_PRODUCER_EXPIRY", "36h"),
            ("MINIKAFKA_LOG", "debug,json"),
            ("MINIKAFKA_KAFKA_HOST", "off"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(config.host.to_string(), ":1234");
    assert_eq!(config.broker.retention, Some(Duration::from_secs(5400)));
    assert_eq!(config.broker.retention_bytes, Some(10 << 30));
    assert_eq!(config.broker.position_retention, Duration::from_secs(86_400));
    let sync = SyncPolicy::Every(Duration::from_millis(100));
    assert_eq!(config.storage, StorageConfig::Filesystem { root: "/data".into(), sync });
    assert_eq!((config.broker.partitions, config.broker.partitions_max), (3, 7));
    assert_eq!(config.broker.message_bytes_max, 32 << 20);
    assert!(config.broker.waiting_bytes_max >= 4 * config.broker.message_bytes_max);
    assert_eq!(config.broker.auto_create, AutoCreate::Disabled);
    assert_eq!(config.broker.producer_expiry, Duration::from_secs(36 * 3600));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.kafka, KafkaConfig::off());
}

#[test]
fn flags_win_with_one_dash_or_two() {
    let config = load(
        &[("MINIKAFKA_HOST", "nonsense"), ("MINIKAFKA_ROOT_DIR", "/variable")],
        &["-host", "localhost:1", "--retention-time=3s", "-root_dir", "/flag", "-sync=never"],
    )
    .unwrap();
    assert_eq!(config.host.to_string(), "localhost:1");
    assert_eq!(config.broker.retention, Some(Duration::from_secs(3)));
    assert_eq!(config.storage, StorageConfig::Filesystem { root: "/flag".into(), sync: SyncPolicy::Never });
}

#[test]
fn kafka_clients_are_told_an_address_with_or_without_a_port() {
    for (text, host, port) in [
        ("kafka.example", "kafka.example", None),
        ("kafka.example:19092", "kafka.example", Some(19092)),
        ("10.0.0.1", "10.0.0.1", None),
        ("[::1]", "::1", None),
        ("[::1]:19092", "::1", Some(19092)),
    ] {
        let kafka = load(&[("MINIKAFKA_ADVERTISED_HOST", text)], &["-kafka-host", ":9093"]).unwrap().kafka;
        assert_eq!(kafka.listen, Listen::At(":9093".parse().unwrap()));
        assert_eq!(kafka.advertised, Some(Advertised { host: host.to_owned(), port }), "{text}");
    }
}

#[test]
fn an_empty_directory_means_memory() {
    let memory = |limit_bytes| StorageConfig::Memory { limit_bytes };
    let limit = ("MINIKAFKA_MEMORY_LIMIT", "1GiB");
    for (variables, args) in [
        (&[("MINIKAFKA_ROOT_DIR", ""), limit][..], &[][..]),
        (&[("MINIKAFKA_STORAGE", "memory"), limit], &[]),
        (&[limit, ("MINIKAFKA_ROOT_DIR", "/unused")], &["-storage", "memory"]),
        (&[limit, ("MINIKAFKA_ROOT_DIR", "/overridden")], &["-root-dir", ""]),
    ] {
        assert_eq!(load(variables, args).unwrap().storage, memory(1 << 30), "{variables:?} {args:?}");
    }
    let StorageConfig::Memory { limit_bytes } = load(&[], &["-storage=memory"]).unwrap().storage else {
        panic!()
    };
    assert_eq!(limit_bytes, default_memory_limit_bytes());
}

#[test]
fn errors_name_the_setting_the_value_and_the_rule() {
    for (name, value, rule) in [
        ("HOST", "localhost", "host:port"),
        ("HOST", "", "host:port"),
        ("RETENTIONTIME", "3", "missing unit"),
        ("RETENTIONTIME", "soon", "invalid duration"),
        ("RETENTIONTIME", "", "invalid duration"),
        ("RETENTIONTIME", "0", "more than zero"),
        ("RETENTIONTIME", "0s", "more than zero"),
        ("RETENTIONTIME", "-5s", "negative"),
        ("RETENTION_BYTES", "0", "1MiB"),
        ("RETENTION_BYTES", "-1", "MiB"),
        ("RETENTION_BYTES", "1GB", "MiB"),
        ("POSITION_RETENTION", "0s", "more than zero"),
        ("POSITION_RETENTION", "a week", "invalid duration"),
        ("STORAGE", "tape", "filesystem or memory"),
        ("SYNC", "sometimes", "every:100ms"),
        ("SYNC", "every:0s", "more than zero"),
        ("SYNC", "every:1", "missing unit"),
        ("MEMORY_LIMIT", "much", "MiB"),
        ("MEMORY_LIMIT", "1KiB", "1MiB"),
        ("PARTITIONS", "0", "1 to 1000000"),
        ("PARTITIONS", "10001", "more than all topics may have, 10000"),
        ("PARTITIONS_MAX", "0", "1 to 1000000"),
        ("PARTITIONS_MAX", "-1", "whole number"),
        ("MESSAGE_MAX", "1", "1KiB to 512MiB"),
        ("MESSAGE_MAX", "3MB", "MiB"),
        ("AUTO_CREATE", "maybe", "true or false"),
        ("PRODUCER_EXPIRY", "0", "at least 5m"),
        ("PRODUCER_EXPIRY", "1ms", "at least 5m"),
        ("PRODUCER_EXPIRY", "4m59s", "at least 5m"),
        ("LOG", "loud", "debug,json"),
        ("KAFKA_HOST", "localhost", "host:port, :port for all interfaces, or off"),
        ("LINE_HOST", ":7000", "not supported in this version"),
        ("CLUSTER_HOST", "", "not supported in this version"),
        ("ADVERTISED_HOST", ":9092", "host:port or host"),
        ("ADVERTISED_HOST", "a b", "host:port or host"),
        ("ADVERTISED_HOST", "a:0", "host:port or host"),
        ("ADVERTISED_HOST", "", "host:port or host"),
        ("NODE_ID", "1", "not supported in this version"),
        ("JOIN", "a:1", "not supported in this version"),
    ] {
        let message = refused(&[(&format!("MINIKAFKA_{name}"), value)], &[]);
        assert!(message.starts_with(&format!("MINIKAFKA_{name}={value:?}: ")), "{message}");
        assert!(message.contains(rule), "{message}");
        let flag = format!("-{}", name.to_lowercase().replace('_', "-"));
        let message = refused(&[], &[&format!("{flag}={value}")]);
        assert!(message.starts_with(&format!("{flag}={value:?}: ")), "{message}");
    }
    let message = refused(&[("MINIKAFKA_STORAGE", "filesystem"), ("MINIKAFKA_ROOT_DIR", "")], &[]);
    assert!(message.starts_with("MINIKAFKA_ROOT_DIR=\"\": "), "{message}");
    let message = refused(&[], &["-retentiontime", "-5s"]);
    assert!(message.contains("negative"), "{message}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"\xff".to_vec());
    let error = Config::load([("MINIKAFKA_HOST".into(), odd)], ["server".into()]).expect_err("not UTF-8");
    assert!(error.to_string().starts_with("MINIKAFKA_HOST="), "{error}");
}

#[test]
fn unknown_variables_are_a_warning() {
    let config =
        load(&[("MINIKAFKA_RETENTION", "3s"), ("MINIKAFKA_HELP", "1"), ("MINIKAFKAHOST", "x")], &[]).unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[1].contains("MINIKAFKA_RETENTION"), "{:?}", config.warnings);
    // Known to the commands, which share an environment with the server.
    assert!(load(&[("MINIKAFKA_SHELL_HISTORY", "off")], &[]).unwrap().warnings.is_empty());
}

#[test]
fn settings_without_effect_are_a_warning() {
    let warnings = |variables: &[_], args: &[_]| load(variables, args).unwrap().warnings;
    let memory = warnings(&[("MINIKAFKA_SYNC", "never")], &["-storage", "memory", "-root-dir", "/data"]);
    assert_eq!(
        memory,
        [
            "-root-dir=/data has no effect: the storage is memory",
            "MINIKAFKA_SYNC=never has no effect: the storage is memory"
        ]
    );
    let filesystem = warnings(&[], &["-memory-limit", "1GiB"]);
    assert_eq!(filesystem, ["-memory-limit=1GiB has no effect: the storage is filesystem"]);
    assert!(warnings(&[], &["-root-dir", "", "-memory-limit", "1GiB"]).is_empty());
    let off =
        warnings(&[("MINIKAFKA_ADVERTISED_HOST", "x")], &["-kafka-host", "off", "-message-max", "200MiB"]);
    assert_eq!(off, ["MINIKAFKA_ADVERTISED_HOST=x has no effect: no Kafka clients are served"]);
    let large = warnings(&[], &["-message-max", "101MiB"]);
    assert_eq!(
        large,
        ["-message-max=101MiB counts for Kafka clients up to 100MiB only: a request of theirs has no more"]
    );
    assert!(warnings(&[], &["-message-max", "100MiB", "-advertised-host", "x"]).is_empty());
}

#[test]
fn reserved_flags_are_not_offered() {
    for typo in ["-nope", "-node", "-line-hos", "-joi"] {
        let message = load(&[], &[typo]).expect_err("no such flag").to_string();
        assert!(message.contains(typo), "{message}");
        for reserved in ["node", "line", "join"] {
            assert!(!message.contains(&format!("'--{reserved}")) || typo.contains(reserved), "{message}");
        }
        assert!(!message.contains("tip:"), "{message}");
    }
    let message = load(&[], &["-hots", "x"]).expect_err("no such flag").to_string();
    assert!(message.contains("tip:") && message.contains("--host"), "{message}");
}

#[test]
fn usage_errors_and_answers_have_their_exit_codes() {
    for args in [&["-hosts", "x"][..], &["-host"], &["stray"]] {
        assert_eq!(load(&[], args).expect_err("bad usage").exit_code(), 2);
    }
    for args in [["-help"], ["--help"], ["-h"], ["-version"], ["--version"], ["-V"]] {
        assert_eq!(load(&[], &args).expect_err("an answer").exit_code(), 0);
    }
    let help = load(&[], &["--help"]).expect_err("help").to_string();
    for known in Settings::command_line().get_arguments().filter(|arg| !arg.is_hide_set()) {
        assert!(help.contains(&format!("--{}", known.get_long().unwrap())), "{known}");
        let variable = format!("[{VARIABLE_PREFIX}{}]", known.get_id().as_str().to_uppercase());
        assert!(help.replace(char::is_whitespace, "").contains(&variable), "{variable}");
    }
}
