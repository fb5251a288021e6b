//! [`Interrupt`], the wish to end.

use std::{future, io::stderr, process, time::Duration};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time,
};

/// As shells report a program that was ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Ctrl-C, or a SIGTERM.
#[derive(Debug)]
pub(crate) struct Interrupt {
    received: oneshot::Receiver<()>,
}

/// How long a program has for a polite end after the first signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// So long; then it ends at once.
    For(Duration),
    /// As long as it takes: it has a limit of its own.
    Unlimited,
}

/// What cuts a polite end short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    SecondSignal,
    PatienceIsOver,
}

/// How a program ends when its end is cut short.
#[derive(Clone, Debug)]
pub(crate) struct AbruptEnd {
    /// On stderr, if anybody reads it.
    pub(crate) says: Option<String>,
    pub(crate) exit_code: u8,
}

/// How long somebody has who reads stderr and is behind: a second signal ends the program also when nobody does.
const READING: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

impl Interrupt {
    /// Listens from now on. A second signal ends the program at once, and so does the end of `patience` after the
    /// first one; both with `exit_code`.
    pub(crate) fn listen(patience: Patience, exit_code: u8) -> anyhow::Result<Interrupt> {
        Interrupt::listen_with(patience, move |_| AbruptEnd { says: None, exit_code })
    }

    /// As [`listen`](Interrupt::listen), for a program that has a word to say when its end is cut short.
    pub(crate) fn listen_with(
        patience: Patience,
        abruptly: impl FnOnce(Cut) -> AbruptEnd + Send + 'static,
    ) -> anyhow::Result<Interrupt> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (sender, received) = oneshot::channel();
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            // Nobody listens when the program is ending anyway.
            let _ = sender.send(());
            let cut = tokio::select! {
                () = either(&mut interrupt, &mut terminate) => Cut::SecondSignal,
                () = patience.end() => Cut::PatienceIsOver,
            };
            abruptly(cut).happen();
        });
        Ok(Interrupt { received })
    }

    /// Waits for the first signal. Not to be waited for again after it came.
    pub(crate) async fn received(&mut self) {
        // The task that holds the sender ends by sending, or with the process.
        let _ = (&mut self.received).await;
    }
}

impl AbruptEnd {
    fn happen(self) -> ! {
        if let Some(says) = self.says {
            say_to_who_reads(&format!("{says}\n"));
        }
        process::exit(i32::from(self.exit_code));
    }
}

/// Writes to stderr unless nobody reads that: a full pipe would hold up the end. Not by way of the standard library,
/// whose lock somebody may hold who is held up.
fn say_to_who_reads(line: &str) {
    let stderr = stderr();
    // What can be written to takes a line at once.
    if poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&READING)).is_ok_and(|ready| ready > 0) {
        // Who reads it no more does not miss it.
        let _ = rustix::io::write(&stderr, line.as_bytes());
    }
}

impl Patience {
    async fn end(self) {
        match self {
            Patience::For(duration) => time::sleep(duration).await,
            Patience::Unlimited => future::pending().await,
        }
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
