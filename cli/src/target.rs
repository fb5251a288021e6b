//! [`Target`], which server to ask and how to print its answer, and what a refusal says.

use anyhow::anyhow;
use minikafka_client_connection::{Address, Client, GroupClient, connect, connect_to_groups};
use tonic::Status;

use crate::{host::Host, output::Output};

/// Of which server, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    host: Host,
    /// How to print: text or json
    #[arg(long, value_enum, default_value_t = Output::Text, hide_possible_values = true, global = true)]
    pub(crate) output: Output,
}

impl Target {
    pub(crate) fn new(host: &str, output: Output) -> Target {
        Target { host: Host { host: host.to_owned() }, output }
    }

    /// A connection, with one attempt.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let address = self.address()?;
        connect(address.clone()).await.map_err(|cause| anyhow!("cannot reach {address}: {cause}"))
    }

    /// A connection to its groups, with one attempt.
    pub(crate) async fn connect_to_groups(&self) -> anyhow::Result<GroupClient> {
        let address = self.address()?;
        connect_to_groups(address.clone()).await.map_err(|cause| anyhow!("cannot reach {address}: {cause}"))
    }

    /// As it was written.
    pub(crate) fn host(&self) -> &str {
        &self.host.host
    }

    fn address(&self) -> anyhow::Result<Address> {
        Ok(self.host.host.parse()?)
    }
}

/// The server's sentence; a status without one says what kind it is.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn refused(status: Status) -> anyhow::Error {
    match status.message() {
        "" => anyhow!("{}", status.code()),
        message => anyhow!("{message}"),
    }
}
