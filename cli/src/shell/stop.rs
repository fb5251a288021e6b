//! [`Stop`], the wish that the shell ends: a SIGTERM, or a terminal that is closed.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// See the module. It can be waited for again and again: a signal counts until it was received.
#[derive(Debug)]
pub(super) struct Stop {
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    /// Listens from now on.
    pub(super) fn listen() -> anyhow::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, hang_up: signal(SignalKind::hangup())? })
    }

    /// Waits for a signal. Returns what the shell then ends with, as shells report it: 128 and the signal's number.
    pub(super) async fn received(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.terminate.recv() => ExitCode::from(143),
            _ = self.hang_up.recv() => ExitCode::from(129),
        }
    }
}
