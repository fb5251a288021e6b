//! `minikafka shell`: commands typed one after the other, to one server.
//!
//! ```text
//!   terminal (a thread: editing, history, completion) --.
//!                                                        +--> line -> words -> grammar -> session -> server
//!   a pipe or a file: a script -------------------------'                                   |
//!                                  while nobody has typed a line: the membership is attended to
//! ```
//!
//! Every command makes a connection of its own, so a server that was restarted is found again by the next one; what
//! lasts longer, producers and the membership in a group, comes back by itself. A command that fails says why and ends
//! nothing but itself.

mod completer;
mod grammar;
mod history;
mod membership;
mod polling;
mod senders;
mod session;
mod source;
mod stop;
mod terminal;
mod words;

use std::{
    io::{IsTerminal as _, stdin},
    process::ExitCode,
};

use tokio::signal::unix::{SignalKind, signal};

use self::{
    history::History,
    session::{Ended, Session},
    source::Source,
    stop::Stop,
};
use crate::{host::Host, interrupt::INTERRUPTED, output::Output, target::Target};

const EXAMPLES: &str = "\
Examples:
  minikafka shell
  minikafka shell -host 10.0.0.7:9999
  minikafka shell -history off
  minikafka shell -stop-on-error < setup.txt
  echo 'topic list' | minikafka shell

At a terminal, help lists the commands, Tab completes them and the names of
topics and groups, Ctrl-C gives up a line or ends what runs, Ctrl-D leaves.

  add topic orders -partitions 3
  send orders a book, two pens
  subscribe orders
  join billing -from earliest
  poll

When the standard input is no terminal it is a script, a command a line, without
a prompt; # begins a comment. Errors name the line.

Exit codes: 0 done, and for a person always; 1 a command of the script failed;
2 wrong usage; 130 the script was ended by Ctrl-C; 143 ended by a SIGTERM.";

/// The command line of `minikafka shell`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    host: Host,
    /// File that keeps the lines typed, or off [default: minikafka/history in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, env = "MINIKAFKA_SHELL_HISTORY", value_name = "FILE")]
    history: Option<History>,
    /// Ends a script at the first command that fails
    #[arg(long)]
    stop_on_error: bool,
}

/// Runs commands until the input ends.
///
/// # Errors
/// When there is no input to read.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // On the heap: the futures of all commands are in it.
    Box::pin(take_commands(args)).await
}

async fn take_commands(args: Args) -> anyhow::Result<ExitCode> {
    // From here on Ctrl-C ends what runs, never the shell of a person.
    let _kept = signal(SignalKind::interrupt())?;
    let mut stop = Stop::listen()?;
    let target = Target::new(&args.host.host, Output::Text);
    let mut session = Session::new(&args.host.host);
    let code = if stdin().is_terminal() {
        greet(&target).await;
        let history = args.history.unwrap_or_default();
        let source = Source::terminal(target, &history)?;
        converse(&mut session, source, &mut stop).await
    } else {
        follow(&mut session, Source::script(), args.stop_on_error, &mut stop).await
    };
    session.end().await;
    code
}

async fn greet(target: &Target) {
    let version = env!("CARGO_PKG_VERSION");
    match target.connect().await {
        Ok(_) => say!("MiniKafka shell {version}, connected to {}", target.host()),
        Err(error) => say!("MiniKafka shell {version}: {error}; each command tries again"),
    }
    say!("help lists the commands, Ctrl-D leaves");
}

/// A person at a terminal: what fails is said, and that is all.
async fn converse(session: &mut Session, mut source: Source, stop: &mut Stop) -> anyhow::Result<ExitCode> {
    loop {
        let prompt = session.prompt();
        let line = tokio::select! {
            line = source.next(&prompt) => line?,
            code = stop.received() => {
                source.restore();
                return Ok(code);
            }
            () = session.attend() => continue,
        };
        let Some(line) = line else { return Ok(ExitCode::SUCCESS) };
        match session.run(&line, stop).await? {
            Ended::Failed(why) => say!("{why}"),
            Ended::Stopped(code) => return Ok(code),
            Ended::Quit => return Ok(ExitCode::SUCCESS),
            Ended::Interrupted => source.give_up_rest(),
            Ended::Done => {}
        }
    }
}

/// A script: the exit code says whether a command failed.
async fn follow(
    session: &mut Session,
    mut source: Source,
    stops_on_error: bool,
    stop: &mut Stop,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut number = 0u64;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let line = tokio::select! {
            line = source.next("") => line?,
            code = stop.received() => return Ok(code),
            _ = interrupt.recv() => return Ok(ExitCode::from(INTERRUPTED)),
            () = session.attend() => continue,
        };
        let Some(line) = line else { return Ok(code) };
        number += 1;
        match session.run(&line, stop).await? {
            Ended::Failed(why) => {
                say!("minikafka: line {number}: {why}");
                code = ExitCode::FAILURE;
                if stops_on_error {
                    return Ok(code);
                }
            }
            Ended::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
            Ended::Stopped(code) => return Ok(code),
            Ended::Quit => return Ok(code),
            Ended::Done => {}
        }
    }
}
