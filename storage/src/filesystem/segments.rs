//! [`Segments`], the segments of a log in order.

use std::ops::{Deref, DerefMut};

use super::segment::Segment;

/// The segments of a log in order, and how many bytes they take up: asked for with every look at the bounds, and a
/// log may have thousands. Only the last one grows or shrinks.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: Vec<Segment>,
    /// Bytes of all but the last.
    sealed_bytes: u64,
}

impl Segments {
    pub(super) fn bytes(&self) -> u64 {
        self.sealed_bytes + self.list.last().map_or(0, |last| last.end().position)
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.change(|list| list.push(segment));
    }

    /// Takes the first ones, so many.
    pub(super) fn split_front(&mut self, count: usize) -> Vec<Segment> {
        self.change(|list| list.drain(..count.min(list.len())).collect())
    }

    /// Takes all but the first ones, so many.
    pub(super) fn split_off(&mut self, count: usize) -> Vec<Segment> {
        self.change(|list| list.split_off(count))
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Vec<Segment>) -> T) -> T {
        let changed = change(&mut self.list);
        let sealed = self.list.len().saturating_sub(1);
        self.sealed_bytes = self.list[..sealed].iter().map(|segment| segment.end().position).sum();
        changed
    }
}

impl From<Vec<Segment>> for Segments {
    fn from(list: Vec<Segment>) -> Segments {
        let mut segments = Segments::default();
        segments.change(|all| *all = list);
        segments
    }
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        &self.list
    }
}

impl DerefMut for Segments {
    fn deref_mut(&mut self) -> &mut [Segment] {
        &mut self.list
    }
}
