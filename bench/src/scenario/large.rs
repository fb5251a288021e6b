//! Large appends to one log, against plain loops that write, with and without syncs.

use std::time::Duration;

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::Settings;
use crate::{
    bare::{self, Sync},
    load,
    logs::{Logs, Payload},
    memory::fresh_dir,
    report::{Bar, Figure, Unit, section},
};

/// Bytes of an append, and how its size is called.
const SIZES: [(usize, &str); 3] = [(16 << 10, "16 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];
/// Bytes of appends that are under way at any time.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Bytes after which the plain loops sync; the best one is the limit.
const SYNC_BYTES: [usize; 3] = [1 << 20, 4 << 20, 16 << 20];
/// Time without syncs: after a GiB or two the system itself begins to write, and slows everybody down.
const CACHED_TIME_MAX: Duration = Duration::from_millis(400);
/// Without syncs nothing is to be synced: a segment that is full would be.
const CACHED_SEGMENT_BYTES: u64 = 64 << 30;
/// Bytes of the records in a batch.
const RECORD_LEN: usize = 1024;

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    section(
        "large: appends to one log, 32 MiB in flight, against the best of plain loops with a sync each 1, 4, 16 MiB",
    );
    for (bytes, size) in SIZES {
        let payload = Payload::batch(bytes, RECORD_LEN);
        let (mut durable, mut plain) = (Vec::new(), Vec::new());
        let (mut cached, mut buffered, mut handed_over) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let cached_time = settings.time.min(CACHED_TIME_MAX);
            plain.push(best_plain(settings)?);
            durable.push(measure(settings, settings.time, &payload, SyncPolicy::Always)?);
            buffered.push(bare::write(&settings.dir, Sync::Never, cached_time)?);
            cached.push(measure(settings, cached_time, &payload, SyncPolicy::Never)?);
            let waiting = IN_FLIGHT_BYTES / bytes;
            handed_over.push(bare::write_handed_over(&settings.dir, &payload.bytes, waiting, cached_time)?);
        }
        Figure::new(format!("append {size}, fsync"), Unit::Bandwidth, &durable)
            .limit("write + fdatasync", &plain)
            .bar(Bar::Ratio(0.8))
            .print();
        Figure::new(format!("append {size}, no fsync"), Unit::Bandwidth, &cached)
            .limit("buffered write", &buffered)
            .bar(Bar::Ratio(0.7))
            .print();
        Figure::new(format!("append {size}, no fsync"), Unit::Bandwidth, &cached)
            .limit("buffered write of what another thread made", &handed_over)
            .print();
    }
    Ok(())
}

fn best_plain(settings: &Settings) -> anyhow::Result<f64> {
    let mut best: f64 = 0.0;
    for bytes in SYNC_BYTES {
        best = best.max(bare::write(&settings.dir, Sync::EachBytes(bytes), settings.time / 2)?);
    }
    Ok(best)
}

/// Bytes per second.
fn measure(settings: &Settings, time: Duration, payload: &Payload, sync: SyncPolicy) -> anyhow::Result<f64> {
    let dir = fresh_dir(&settings.dir)?;
    let segment_bytes = match sync {
        SyncPolicy::Never => CACHED_SEGMENT_BYTES,
        _ => Options::default().segment_bytes,
    };
    let logs = Logs::open(dir.path(), Options { sync, segment_bytes, ..Options::default() }, 1)?;
    let in_flight = IN_FLIGHT_BYTES.div_ceil(payload.bytes.len());
    let round = load::crowd(in_flight, time, |at, done| logs.append(at, payload, done))?;
    logs.close()?;
    Ok(round.per_second * payload.bytes.len() as f64)
}
