//! [`Interrupt`], the wish to end.

use std::{process, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time,
};

/// How long a polite end may take: a reader of stdout that does not read holds it up without end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ctrl-C, or a SIGTERM.
#[derive(Debug)]
pub(super) struct Interrupt {
    received: oneshot::Receiver<()>,
}

impl Interrupt {
    /// Listens from now on. After the first signal the program has a second to end; a second signal ends it at once.
    pub(super) fn listen() -> anyhow::Result<Interrupt> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (sender, received) = oneshot::channel();
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            // Nobody listens when the program is ending anyway.
            let _ = sender.send(());
            tokio::select! {
                () = either(&mut interrupt, &mut terminate) => {}
                () = time::sleep(PATIENCE) => {}
            }
            process::exit(130);
        });
        Ok(Interrupt { received })
    }

    /// Waits for the first signal.
    pub(super) async fn received(&mut self) {
        // The task that holds the sender ends by sending, or with the process.
        let _ = (&mut self.received).await;
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
