//! Looking for records by their own timestamps.

use minikafka_record::Offset;
use minikafka_storage::{Log, Place, Seek, StorageError};

use crate::{Error, Partition};

/// Where a record is that was looked for by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Its offset.
    pub offset: Offset,
    /// Its own timestamp, in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl From<Place> for RecordPlace {
    fn from(place: Place) -> RecordPlace {
        RecordPlace { offset: place.offset, timestamp: place.time }
    }
}

impl Partition {
    /// The first readable record with this timestamp (milliseconds since the Unix epoch) or a later one;
    /// `None` when there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn offset_at(&self, timestamp: i64) -> Result<Option<Offset>, Error> {
        Ok(self.record_at(timestamp).await?.map(|place| place.offset))
    }

    /// As [`offset_at`](Partition::offset_at), with the record's timestamp.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn record_at(&self, timestamp: i64) -> Result<Option<RecordPlace>, Error> {
        let high_watermark = self.core.high_watermark();
        self.core.read_cold(move |log| seek(log, timestamp, high_watermark)).await
    }

    /// The first readable record among those with the largest timestamp; `None` when there is none at all.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn newest_record(&self) -> Result<Option<RecordPlace>, Error> {
        let high_watermark = self.core.high_watermark();
        self.core.read_cold(move |log| newest(log, high_watermark)).await
    }
}

fn seek(log: &dyn Log, timestamp: i64, end: Offset) -> Result<Option<RecordPlace>, StorageError> {
    let place = log.seek(Seek::RecordTimestamp(timestamp))?;
    Ok(place.map(RecordPlace::from).filter(|place| place.offset < end))
}

/// A log finds the first record from a time on, so its largest timestamp is the last time from which on it finds
/// one. Steps that double, and then halves, find that in some sixty looks at most, whatever the timestamps are.
fn newest(log: &dyn Log, end: Offset) -> Result<Option<RecordPlace>, StorageError> {
    let Some(mut newest) = seek(log, i64::MIN, end)? else { return Ok(None) };
    let mut step = 1i64;
    // Nothing is from there on.
    let mut above = loop {
        let Some(time) = newest.timestamp.checked_add(step) else { break i64::MAX };
        match seek(log, time, end)? {
            Some(later) => newest = later,
            None => break time,
        }
        step = step.saturating_mul(2);
    };
    if above == i64::MAX
        && let Some(last) = seek(log, i64::MAX, end)?
    {
        return Ok(Some(last));
    }
    while newest.timestamp.abs_diff(above) > 1 {
        let half = newest.timestamp.abs_diff(above) / 2;
        // Half of the way between two numbers of 64 bits has 63.
        let time = newest.timestamp.wrapping_add(half as i64);
        match seek(log, time, end)? {
            Some(later) => newest = later,
            None => above = time,
        }
    }
    Ok(Some(newest))
}
