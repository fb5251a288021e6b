//! [`Host`], the flag that names the server.

use minikafka_client_consume::{Address, AddressError};

/// Which server to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Host {
    /// Address of the server: host:port, or :port on this machine
    #[arg(
        long,
        global = true,
        env = "MINIKAFKA_HOST",
        default_value = "127.0.0.1:9999",
        value_name = "HOST:PORT",
        value_parser = checked
    )]
    pub(crate) host: String,
}

/// An address that can be read, as it was written.
fn checked(host: &str) -> Result<String, AddressError> {
    host.parse::<Address>().map(|_| host.to_owned())
}
