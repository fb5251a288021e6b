//! `minikafka bench groups`: members of a group share a topic that is written at a rate.
//!
//! ```text
//!   all join: settled? --> load ------- one leaves, one joins: settled? -------> all is read --> all leave
//!                            |                                                     |
//!        sending: a stream for each partition              page: what came of a partition, checked
//! ```
//!
//! Beside the figures it is checked that nothing is skipped, that nothing moves within its partition, and that only what
//! was not committed comes again, and only to another owner.

mod group;
mod member;
mod owners;
mod page;

use std::{process::ExitCode, time::Duration};

use anyhow::ensure;
use minikafka_flags::parse_duration;
use tokio::time::{self, Instant};

use self::{group::Group, member::Done, page::Outcome};
use super::{
    Common,
    clock::End,
    reading::{self, LOOK, PATIENCE, Read},
    report::{Commits, GroupFigures, Rebalance, Report},
    sending::{self, Load, Sending, Sent, Spread},
    target::Target,
};
use crate::{interrupt::INTERRUPTED, positive::positive, target::Target as Server};

const PARTITIONS: u32 = 64;

/// The command line of `minikafka bench groups`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Members of the group
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    members: u32,
    /// How often each member commits what it has read, counted from when that is due; 0s: after each poll
    #[arg(long, default_value = "100ms", value_parser = parse_duration, value_name = "TIME")]
    commit_interval: Duration,
    /// After how much silence the server takes a member for dead
    #[arg(long, default_value = "45s", value_parser = positive, value_name = "TIME")]
    session_timeout: Duration,
    /// No member leaves and none joins in the middle
    #[arg(long)]
    steady: bool,
}

/// What was seen while the group lived.
struct Seen {
    sent: Sent,
    /// From the first member that begins to join.
    settled: Duration,
    ready: Duration,
    rebalance: Option<Rebalance>,
    /// From the first message that was due to the last one that was read.
    elapsed: Duration,
    outcome: Outcome,
}

/// Does what it is told.
pub(super) async fn run(mut args: Args, server: &Server) -> anyhow::Result<ExitCode> {
    args.common.pace();
    let run = super::random();
    let load = Load { spread: Spread::PartitionsShared, ..args.common.load(run) };
    let partitions = args.common.partitions.unwrap_or(PARTITIONS);
    if let Err(error) = args.common.check(&load, partitions) {
        return Ok(super::wrong_usage(&error));
    }
    let mut interrupt = super::listen()?;
    // Before the topic: what is made is to be deleted whatever fails.
    let groups = server.connect_to_groups().await?;
    let target = Target::open(server, args.common.topic.as_deref(), partitions, run).await?;
    let mut group = Group::new(&args, &target, groups, run);
    let name = group.name.clone();
    let seen = tokio::select! {
        seen = measure(&args, &target, &mut group, &load) => Some(seen),
        () = interrupt.received() => None,
    };
    let Some(seen) = seen else {
        target.announce_interrupted();
        load.stop.all().await;
        let left = group.close().await;
        target.close().await.and(left)?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if seen.is_err() {
        load.stop.all().await;
    }
    let done = group.close().await;
    let (seen, done) = match seen.and_then(|seen| Ok((seen, done?))) {
        Ok(measured) => measured,
        Err(error) => {
            target.give_up().await;
            return Err(error);
        }
    };
    let outcome = seen.outcome;
    report(&args, name, &target, &seen, &done).print(server.output)?;
    target.close().await?;
    reading::check(&outcome.verdict)?;
    let former = outcome.by_former_owners;
    ensure!(former == 0, "{former} messages came to members that had lost their partition");
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args, target: &Target, group: &mut Group, load: &Load) -> anyhow::Result<Seen> {
    let producers = sending::connect(target, load).await?;
    let shared = group.shared.clone();
    let joining = Instant::now();
    (0..args.members).for_each(|_| group.join());
    let members = group.members();
    let settled = shared.owners.until(|table| table.is_settled(&members)).await? - joining;
    let is_ready = shared.owners.until(|table| table.is_settled(&members) && table.is_ready());
    let ready = is_ready.await? - joining;
    let start = Instant::now();
    shared.begin(start);
    let sending = Sending::start(&producers, target, load, start);
    let rebalance = if args.steady { None } else { Some(rebalance(group, start + half_of(load)).await?) };
    let sent = sending.end().await?;
    let ends = target.ends_now().await?;
    let expected = || sent.counts.iter().zip(&ends);
    while shared.last().elapsed() < PATIENCE
        && shared.pages().zip(expected()).any(|(page, (count, end))| !page.has_all(*count, *end))
    {
        time::sleep(LOOK).await;
    }
    let mut outcome = Outcome::default();
    shared.pages().zip(&sent.counts).for_each(|(page, count)| outcome.add(page.end(*count)));
    Ok(Seen { sent, settled, ready, rebalance, elapsed: shared.last() - start, outcome })
}

/// Longer than anybody waits for half of a load.
const HALF_MAX: f64 = 1e9;

/// How long half of a load takes.
fn half_of(load: &Load) -> Duration {
    match (load.end, load.per_second) {
        (End::After(time), _) => time / 2,
        (End::Messages(count), Some(rate)) => {
            Duration::from_secs_f64((count as f64 / rate / 2.0).min(HALF_MAX))
        }
        (End::Messages(_), None) => Duration::ZERO,
    }
}

/// One member leaves and another one joins, at the same time.
async fn rebalance(group: &mut Group, at: Instant) -> anyhow::Result<Rebalance> {
    time::sleep_until(at).await;
    let shared = group.shared.clone();
    shared.owners.take_moves();
    let began = Instant::now();
    group.leave();
    group.join();
    let members = group.members();
    let settled = shared.owners.until(|table| table.is_settled(&members)).await?;
    let moves = shared.owners.take_moves();
    Ok(Rebalance {
        settled_ms: (settled - began).as_secs_f64() * 1e3,
        partitions_moved: moves.count,
        without_owner_ms: moves.without_owner.percentiles(),
    })
}

fn report(args: &Args, name: String, target: &Target, seen: &Seen, done: &Done) -> Report {
    let read =
        Read { verdict: seen.outcome.verdict, latencies: done.delivered.clone(), elapsed: seen.elapsed };
    let seconds = seen.elapsed.as_secs_f64().max(1e-9);
    let commits = Commits {
        interval_ms: args.commit_interval.as_secs_f64() * 1e3,
        commits: done.commits,
        seconds,
        commits_per_second: done.commits as f64 / seconds,
    };
    let group = GroupFigures {
        name,
        members: args.members,
        settled_ms: seen.settled.as_secs_f64() * 1e3,
        ready_ms: seen.ready.as_secs_f64() * 1e3,
        rebalance: seen.rebalance,
        commits,
        committed_ms: done.committed.percentiles(),
        redelivered: seen.outcome.redelivered,
        by_former_owners: seen.outcome.by_former_owners,
        memberships_lost: done.lost,
    };
    Report { group: Some(group), ..args.common.report("groups", target, &seen.sent, &read) }
}
