//! `minikafka storage dump`.

use std::{
    io::{self, BufWriter, Write, stdout},
    num::NonZeroU64,
    path::Path,
    process::ExitCode,
};

use anyhow::bail;
use bytes::Bytes;
use minikafka_client_consume::Message;
use minikafka_record::{Offset, Record};
use minikafka_storage::{
    Entry, EntryKind, LogId,
    filesystem::inspect::{Inspection, Located, Location},
};
use serde::Serialize;

use super::{Target, print::relative};
use crate::{consume::Format, count::Count, output::Output};

/// The command line of `minikafka storage dump`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Only this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Number of the message to begin with, in each log
    #[arg(long, value_name = "NUMBER", default_value = "1", hide_default_value = true)]
    from: NonZeroU64,
    /// At most so many entries of each log
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Print each message, too
    #[arg(long)]
    records: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let inspection = Inspection::open(&args.target.dir)?;
    let mut logs = inspection.logs()?;
    logs.retain(|log| args.topic.as_ref().is_none_or(|topic| log.topic == *topic));
    logs.retain(|log| args.partition.is_none_or(|partition| log.partition == partition));
    if logs.is_empty() && (args.topic.is_some() || args.partition.is_some()) {
        bail!("{} has no such topic and partition", args.target.dir.display());
    }
    let from = Offset::from_number(args.from.get()).unwrap_or(Offset::ZERO);
    let count = args.count.map_or(usize::MAX, |count| usize::try_from(count.get()).unwrap_or(usize::MAX));
    let mut out = BufWriter::new(stdout().lock());
    let mut is_whole = true;
    for log in &logs {
        let mut shown = 0;
        for located in inspection.entries(log, from)? {
            match located {
                Ok(located) => {
                    print(&mut out, log, &located, args)?;
                    shown += 1;
                }
                Err(error) => {
                    say!("minikafka: {error}");
                    is_whole = false;
                }
            }
            if shown == count {
                break;
            }
        }
    }
    out.flush()?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut impl Write, log: &LogId, located: &Located, args: &Args) -> io::Result<()> {
    match args.target.output {
        Output::Text => text(out, log, located, &args.target.dir)?,
        Output::Json => {
            serde_json::to_writer(&mut *out, &JsonEntry::new(log, located, &args.target.dir))?;
            out.write_all(b"\n")?;
        }
    }
    if !args.records {
        return Ok(());
    }
    for record in located.entry.batches().flat_map(|batch| batch.records()) {
        let record = record.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match args.target.output {
            Output::Text => writeln!(
                out,
                "  {} at {} key {} value {}",
                record.offset.number(),
                record.timestamp,
                escaped(record.key.as_ref()),
                escaped(record.value.as_ref())
            )?,
            Output::Json => Format::Json.write(out, &message(log, record))?,
        }
    }
    Ok(())
}

fn text(out: &mut impl Write, log: &LogId, located: &Located, root: &Path) -> io::Result<()> {
    let Located { entry, location, bytes } = located;
    let what = match entry.record_count {
        0 => format!("no messages, before {}", entry.base_offset.number()),
        1 => format!("message {}", entry.base_offset.number()),
        _ => format!("messages {} to {}", entry.base_offset.number(), entry.end_offset().get()),
    };
    write!(
        out,
        "{log} index {} epoch {}: {what}, {}, appended at {}, {}, ",
        entry.index,
        entry.epoch,
        kind(entry),
        entry.append_time,
        Count(*bytes, "byte")
    )?;
    match location {
        Location::Segment { path, position, durable } => {
            writeln!(out, "{} at byte {position}, durable to {durable}", relative(path, root))
        }
        Location::Journal { path, position, sequence } => {
            writeln!(out, "journaled: {} at byte {position}, record {sequence}", relative(path, root))
        }
    }
}

/// An entry in JSON.
#[derive(Serialize)]
struct JsonEntry<'a> {
    topic: &'a str,
    partition: u32,
    index: u64,
    leader_epoch: u64,
    /// Of the next message, if it holds none.
    first_number: u64,
    messages: u32,
    append_time_ms: i64,
    kind: &'static str,
    bytes: u64,
    journaled: bool,
    file: String,
    position: u64,
    /// Of the journal's record.
    sequence: Option<u64>,
    /// The last message known to be durable when the frame was written; 0: none.
    durable_number: Option<u64>,
}

impl<'a> JsonEntry<'a> {
    fn new(log: &'a LogId, located: &Located, root: &Path) -> JsonEntry<'a> {
        let Located { entry, location, bytes } = located;
        let (path, position, sequence, durable_number) = match location {
            Location::Segment { path, position, durable } => (path, *position, None, Some(durable.get())),
            Location::Journal { path, position, sequence } => (path, *position, Some(*sequence), None),
        };
        JsonEntry {
            topic: &log.topic,
            partition: log.partition,
            index: entry.index,
            leader_epoch: entry.epoch,
            first_number: entry.base_offset.number(),
            messages: entry.record_count,
            append_time_ms: entry.append_time,
            kind: kind(entry),
            bytes: *bytes,
            journaled: sequence.is_some(),
            file: relative(path, root),
            position,
            sequence,
            durable_number,
        }
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::Data => "data",
        EntryKind::Internal => "internal",
    }
}

/// As `consume -format json` gets it.
fn message(log: &LogId, record: Record) -> Message {
    Message {
        topic: log.topic.as_str().into(),
        partition: log.partition,
        number: record.offset.number(),
        timestamp_ms: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

/// Text in quotes, other bytes as Rust writes them.
fn escaped(bytes: Option<&Bytes>) -> String {
    match bytes.map(|bytes| str::from_utf8(bytes).map_err(|_| bytes)) {
        None => "null".to_owned(),
        Some(Ok(text)) => format!("{text:?}"),
        Some(Err(bytes)) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}
