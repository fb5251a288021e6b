//! [`Address`], where a door listens.

use std::{fmt, io, str::FromStr};

use tokio::net::TcpListener;

/// Where a door listens: `host:port`, or `:port` for all interfaces, as Go writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, an IPv6 one without its brackets; empty for all interfaces.
    host: String,
    port: u16,
}

/// Not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is host:port, or :port for all interfaces")]
pub struct AddressError;

impl Default for Address {
    /// Loopback: the door asks nobody who he is.
    fn default() -> Address {
        Address::loopback(9999)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(AddressError),
            None if host.contains([':', '[', ']', '/']) || host.contains(char::is_whitespace) => {
                return Err(AddressError);
            }
            None => host,
        };
        // `u16::from_str` takes a plus sign, an address does not.
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(AddressError);
        }
        Ok(Address { host: host.to_owned(), port: port.parse().map_err(|_| AddressError)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// A port that only this machine reaches.
    pub(crate) fn loopback(port: u16) -> Address {
        Address { host: "127.0.0.1".to_owned(), port }
    }

    /// Host and port.
    pub(crate) fn into_parts(self) -> (String, u16) {
        (self.host, self.port)
    }

    /// Listens there. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the name cannot be resolved, or the port is taken or not allowed.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        if !self.host.is_empty() {
            return TcpListener::bind((self.host.as_str(), self.port)).await;
        }
        // The IPv6 wildcard takes IPv4 as well, unless the machine has no IPv6 at all.
        match TcpListener::bind(("::", self.port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(("0.0.0.0", self.port)).await
            }
            bound => bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for text in ["127.0.0.1:9999", ":9999", "localhost:0", "[::1]:9999", "my-host.example:65535"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "localhost",
            "9999",
            "host:",
            "host:http",
            "host:65536",
            "host:-1",
            "host:+1",
            "::1:9999",
            "[x]:1",
            "http://host:1",
            "a b:1",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }
}
