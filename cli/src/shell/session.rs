//! [`Session`], what lasts from one command to the next, and how a command is run.

use std::{pin::pin, process::ExitCode, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};

use super::{
    grammar::{Addition, Command, Consuming, Parsed, Printing, Removal, Sending, parse},
    membership::Membership,
    polling,
    senders::Senders,
    stop::Stop,
};
use crate::{
    consume::{Goal, Output, Reading, Subscription},
    group, output, producer,
    target::Target,
    topic,
};

/// How long a person waits without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the end may take.
const LEAVING: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    host: String,
    senders: Senders,
    membership: Membership,
}

/// What came of a line.
#[derive(Debug)]
pub(super) enum Ended {
    Done,
    Failed(String),
    /// By Ctrl-C.
    Interrupted,
    /// The shell is to end, with this.
    Stopped(ExitCode),
    /// The shell is to end, because somebody has said so.
    Quit,
}

impl Session {
    pub(super) fn new(host: &str) -> Session {
        let (senders, membership) = (Senders::new(host), Membership::new(host));
        Session { host: host.to_owned(), senders, membership }
    }

    /// Which server, and which group.
    pub(super) fn prompt(&self) -> String {
        match self.membership.group() {
            Some(group) => format!("{} {group}> ", self.host),
            None => format!("{}> ", self.host),
        }
    }

    /// Looks after what lasts while nothing runs. Returns when that has changed.
    pub(super) async fn attend(&mut self) {
        self.membership.attend().await;
    }

    /// Leaves the group.
    pub(super) async fn end(mut self) {
        if self.membership.group().is_none() {
            return;
        }
        match time::timeout(LEAVING, self.membership.leave()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => say!("minikafka: leave: {error:#}"),
            Err(_elapsed) => {
                say!("minikafka: leave: the server does not answer: what was printed last may come again");
            }
        }
    }

    /// Does what a line says, until that is done or a signal comes.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub(super) async fn run(&mut self, line: &str, stop: &mut Stop) -> anyhow::Result<Ended> {
        // Signals from now on: what came while the line was typed was not meant for the command.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (name, done) = match parse(line) {
            Parsed::Nothing => return Ok(Ended::Done),
            Parsed::Command(Command::Quit) => return Ok(Ended::Quit),
            Parsed::Nonsense(what) => return Ok(Ended::Failed(what)),
            Parsed::Help(text) => ("help", output::text(&text).map_err(Into::into)),
            Parsed::Command(command) => {
                let name = name(&command);
                tokio::select! {
                    done = self.execute(command) => (name, done),
                    _ = interrupt.recv() => {
                        say!();
                        if name == "send" {
                            say!("send: the message may be stored or not");
                        }
                        return Ok(Ended::Interrupted);
                    }
                    code = stop.received() => return Ok(Ended::Stopped(code)),
                }
            }
        };
        match done {
            Ok(()) => Ok(Ended::Done),
            // Nobody reads any more: as with the other programs, that is no failure, and there is nothing left to do.
            Err(error) if crate::exit::is_broken_pipe(&error) => Err(error),
            Err(error) => Ok(Ended::Failed(format!("{name}: {error:#}"))),
        }
    }

    async fn execute(&mut self, command: Command) -> anyhow::Result<()> {
        let plain = Target::new(&self.host, output::Output::Text);
        let target = |printing: Printing| Target::new(&self.host, printing.output);
        match command {
            Command::Add { what: Addition::Topic(new) } => {
                topic::act(topic::Action::Create(new), &plain).await
            }
            Command::Remove { what: Removal::Topic { topic } } => self.remove(topic, &plain).await,
            Command::Topic { action: topic::Action::Delete { topic }, .. } => {
                self.remove(topic, &plain).await
            }
            Command::Topic { action, printing } => topic::act(action, &target(printing)).await,
            Command::Group { action, printing } => group::act(action, &target(printing)).await,
            Command::Producer { action, printing } => producer::act(action, &target(printing)).await,
            Command::Send(sending) => self.send(&sending).await,
            Command::Consume(consuming) => self.consume(&consuming).await,
            Command::Subscribe { topics } => self.membership.subscribe(topics).await,
            Command::Unsubscribe { topics } => self.membership.unsubscribe(&topics),
            Command::Join { group, from } => self.membership.join(group, from).await,
            Command::Leave => {
                let group = self.membership.leave().await?;
                say!("left group \"{group}\"");
                Ok(())
            }
            Command::Poll(polling) => {
                let mut output = Output::stdout(polling.format)?;
                polling::poll(self.membership.member()?, &polling, &mut output).await
            }
            Command::Status => {
                Ok(output::text(&format!("server  {}\n{}", self.host, self.membership.status()))?)
            }
            Command::Quit => Ok(()),
        }
    }

    async fn remove(&mut self, topic: String, target: &Target) -> anyhow::Result<()> {
        self.senders.forget(&topic);
        topic::act(topic::Action::Delete { topic }, target).await
    }

    async fn send(&mut self, sending: &Sending) -> anyhow::Result<()> {
        let mut sent = pin!(self.senders.send(sending));
        let sent = tokio::select! {
            sent = &mut sent => sent,
            () = time::sleep(PATIENCE) => {
                say!("send: no answer yet; Ctrl-C ends the waiting");
                sent.await
            }
        };
        match sent? {
            (0, number) => say!("message {number}"),
            (partition, number) => say!("message {number} of partition {partition}"),
        }
        Ok(())
    }

    async fn consume(&mut self, consuming: &Consuming) -> anyhow::Result<()> {
        let Consuming { topic, partition, from, count, until_end, format } = consuming;
        let subscription = Subscription::new(&self.host, topic, *partition, *from);
        let output = Output::stdout(*format)?;
        let mut reading = Reading::new(subscription, Goal::new(*count, *until_end), output);
        let read = tokio::select! {
            read = reading.run() => read,
            // It may go on for hours.
            never = self.membership.attend_always() => match never {},
        };
        // What was printed before a failure is as good as what was printed before success.
        reading.flush()?;
        read
    }
}

/// What to call it in an error.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Add { .. } => "add topic",
        Command::Remove { .. } => "remove topic",
        Command::Send(_) => "send",
        Command::Subscribe { .. } => "subscribe",
        Command::Unsubscribe { .. } => "unsubscribe",
        Command::Join { .. } => "join",
        Command::Leave => "leave",
        Command::Poll(_) => "poll",
        Command::Status => "status",
        Command::Consume(_) => "consume",
        Command::Topic { .. } => "topic",
        Command::Group { .. } => "group",
        Command::Producer { .. } => "producer",
        Command::Quit => "quit",
    }
}
