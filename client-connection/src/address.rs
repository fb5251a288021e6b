//! [`Address`], where a server listens.

use std::{fmt, str::FromStr};

use tonic::transport::Uri;

/// Where a server listens. Written `host:port`, `:port` for this machine, or `http://host:port`.
///
/// ```
/// use minikafka_client_connection::Address;
///
/// let address: Address = ":9999".parse()?;
/// assert_eq!(address.to_string(), "127.0.0.1:9999");
/// # Ok::<(), minikafka_client_connection::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: String,
}

/// An address that cannot be read; the text names the address and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("address {address:?} {rule}")]
pub struct AddressError {
    address: String,
    rule: &'static str,
}

impl Address {
    /// The address as a URI of the scheme `http`.
    pub fn uri(&self) -> Uri {
        Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query("/")
            .build()
            .expect("the authority was checked when it was parsed")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let fail = |rule| AddressError { address: text.to_owned(), rule };
        if text.starts_with("https://") {
            return Err(fail("asks for TLS, which is not supported yet"));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority = if rest.starts_with(':') { format!("127.0.0.1{rest}") } else { rest.to_owned() };
        let uri: Uri = authority.parse().map_err(|_| fail("is not of the form host:port"))?;
        match (uri.host(), uri.port_u16()) {
            (Some(host), Some(1..)) if !host.is_empty() && uri.path_and_query().is_none() => {}
            (Some(_), None) if !rest.contains(':') => return Err(fail("has no port: write host:port")),
            _ => return Err(fail("is not of the form host:port")),
        }
        Ok(Address { authority })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_address() {
        for (text, authority) in [
            ("localhost:9999", "localhost:9999"),
            (":9999", "127.0.0.1:9999"),
            ("http://10.0.0.1:1234", "10.0.0.1:1234"),
            ("http://10.0.0.1:1234/", "10.0.0.1:1234"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), authority, "{text}");
            assert_eq!(address.uri().scheme_str(), Some("http"), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule() {
        for (text, rule) in [
            ("", "form host:port"),
            ("localhost", "no port"),
            ("localhost:", "form host:port"),
            ("localhost:0", "form host:port"),
            ("localhost:99999", "form host:port"),
            ("a b:9", "form host:port"),
            ("host:1/path", "form host:port"),
            ("https://host:1", "TLS"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(rule) && error.contains(text), "{text}: {error}");
        }
    }
}
