//! [`KafkaConfig`], the door for Kafka clients.

use std::{str::FromStr, time::Duration};

use super::Address;

/// The port that Kafka clients expect.
const PORT: u16 = 9092;

/// How long a client may be silent by default: as in Kafka.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The door for Kafka clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// Where it listens.
    pub listen: Listen,
    /// What clients are told instead, who connect to that next.
    pub advertised: Option<Advertised>,
    /// How long a client may be silent when it waits for nothing: Kafka's `connections.max.idle.ms`.
    pub idle_timeout: Duration,
}

/// Whether a door listens, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At its default address, if nobody else does.
    Default,
    /// Here, or the server does not start.
    At(Address),
}

/// An address under which clients find the server: `host:port`, or `host` where the port is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an IP address.
    pub host: String,
    /// The port, if it is another one.
    pub port: Option<u16>,
}

impl KafkaConfig {
    /// No door.
    pub fn off() -> KafkaConfig {
        KafkaConfig::listening(Listen::Off)
    }

    /// A door at this address.
    pub fn at(address: Address) -> KafkaConfig {
        KafkaConfig::listening(Listen::At(address))
    }

    /// A door with everything else as it is by default.
    pub(crate) fn listening(listen: Listen) -> KafkaConfig {
        KafkaConfig { listen, advertised: None, idle_timeout: IDLE_TIMEOUT }
    }

    /// 127.0.0.1:9092: the door asks nobody who he is.
    pub(crate) fn default_address() -> Address {
        Address::loopback(PORT)
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Listen, &'static str> {
        match text {
            "off" => Ok(Listen::Off),
            _ => {
                text.parse().map(Listen::At).map_err(|_| "it is host:port, :port for all interfaces, or off")
            }
        }
    }
}

impl FromStr for Advertised {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Advertised, &'static str> {
        const RULE: &str = "it is host:port or host, as clients are to find it";
        let (host, port) = match text.parse::<Address>() {
            Ok(address) => address.into_parts(),
            // A host alone obeys the rules of one with a port.
            Err(_) => (format!("{text}:0").parse::<Address>().map_err(|_| RULE)?.into_parts().0, 0),
        };
        // Port 0 is no address that somebody could connect to.
        match (host.is_empty(), text.ends_with(":0")) {
            (false, false) => Ok(Advertised { host, port: (port != 0).then_some(port) }),
            _ => Err(RULE),
        }
    }
}
