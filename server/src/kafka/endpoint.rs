//! The address under which clients find this server again.

use std::net::SocketAddr;

use minikafka_broker::Endpoint;

use crate::config::Advertised;

/// The address that was chosen to be advertised; otherwise where the door listens, and when that is all interfaces, the
/// name of the machine.
pub(crate) fn endpoint(advertised: Option<&Advertised>, listening: SocketAddr) -> Endpoint {
    let host = match advertised {
        Some(advertised) => advertised.host.clone(),
        None if listening.ip().is_unspecified() => machine(),
        None => listening.ip().to_string(),
    };
    let port = advertised.and_then(|advertised| advertised.port).unwrap_or(listening.port());
    Endpoint { host, port }
}

/// The name of the machine, by which others on its network usually find it.
fn machine() -> String {
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_where_the_door_listens_unless_that_is_everywhere() {
        let here = "127.0.0.1:9092".parse().unwrap();
        assert_eq!(endpoint(None, here).to_string(), "127.0.0.1:9092");
        assert_eq!(endpoint(None, "[::1]:9092".parse().unwrap()).to_string(), "[::1]:9092");
        let everywhere = endpoint(None, "[::]:9092".parse().unwrap());
        assert_eq!(everywhere, Endpoint { host: machine(), port: 9092 });
        let chosen = "kafka.example".parse().unwrap();
        assert_eq!(endpoint(Some(&chosen), here).to_string(), "kafka.example:9092");
        let chosen = "kafka.example:19092".parse().unwrap();
        assert_eq!(endpoint(Some(&chosen), here).to_string(), "kafka.example:19092");
    }
}
