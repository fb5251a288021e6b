//! [`Page`]: families and their samples, as the encoder wants them.

use std::fmt;

use minikafka_storage::HistogramSnapshot;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// A page in the making. The names of counters come without `_total`, which the encoder adds.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

/// Durations are counted in microseconds and told in seconds.
const SECONDS_PER_MICROSECOND: f64 = 1e-6;

impl Page<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// A counter of seconds, if it is known.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        value.map_or(Ok(()), |value| family.encode_counter::<NoLabelSet, _, u64>(&value, None))
    }

    /// Histograms of microseconds, told in seconds.
    pub(super) fn durations<'s, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, &'s HistogramSnapshot)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        samples.into_iter().try_for_each(|(labels, snapshot)| {
            histogram(&mut family.encode_family(&labels)?, snapshot, SECONDS_PER_MICROSECOND)
        })
    }

    /// A histogram of bytes or of things.
    pub(super) fn sizes(&mut self, name: &str, help: &str, snapshot: &HistogramSnapshot) -> fmt::Result {
        histogram(&mut self.family(name, help, MetricType::Histogram)?, snapshot, 1.0)
    }

    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn histogram(metric: &mut MetricEncoder<'_>, snapshot: &HistogramSnapshot, unit: f64) -> fmt::Result {
    let bounds = snapshot.bounds.iter().map(|bound| round(*bound as f64 * unit)).chain([f64::INFINITY]);
    let mut buckets: Vec<(f64, u64)> = bounds.zip(snapshot.counts.iter().copied()).collect();
    // What counts nothing has a histogram of nothing.
    if buckets.is_empty() {
        buckets.push((f64::INFINITY, 0));
    }
    metric.encode_histogram::<NoLabelSet>(snapshot.sum as f64 * unit, snapshot.count(), &buckets, None)
}

/// To the microsecond: bounds are names, and are not to end in the noise of a multiplication.
fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
