//! [`Points`], the places that a stored index names, beside the frames that are really there.

use std::{collections::VecDeque, path::PathBuf};

use super::walk::Place;
use crate::{
    Entry,
    filesystem::{
        index::{IndexPoint, SegmentIndex},
        segment::SegmentHeader,
    },
};

/// Compares an index with the frames as they go by.
pub(super) struct Points {
    path: PathBuf,
    points: VecDeque<IndexPoint>,
    end: IndexPoint,
    /// What the next frame begins with.
    here: IndexPoint,
    /// Before here something is no frame: the index may have known more than can be read now.
    has_holes: bool,
    /// What does not agree, once.
    pub(super) wrong: Option<Place>,
}

impl Points {
    pub(super) fn new(path: PathBuf, index: &SegmentIndex, header: &SegmentHeader) -> Points {
        Points {
            path,
            points: index.points().iter().copied().collect(),
            end: *index.end(),
            here: IndexPoint::base(header),
            has_holes: false,
            wrong: None,
        }
    }

    /// The next whole frame begins at a position.
    pub(super) fn frame(&mut self, position: u64, entry: &Entry) {
        // Records were lost before, and the log went on behind them.
        if (entry.index, entry.base_offset) != (self.here.index, self.here.offset) {
            (self.here.index, self.here.offset) = (entry.index, entry.base_offset);
        }
        self.here.position = position;
        self.check_end();
        let here = IndexPoint { append_time: entry.append_time, ..self.here };
        while let Some(point) = self.points.pop_front_if(|point| point.position <= position) {
            self.compare(&point, &here);
        }
        self.here = here.after(entry);
        if self.end.position > position && self.end.position < self.here.position {
            self.wrong(self.end.position);
        }
    }

    /// From here on bytes are no frames, up to the next one.
    pub(super) fn hole(&mut self, from: u64, to: u64) {
        self.has_holes = true;
        self.here.position = from;
        self.check_end();
        while self.points.pop_front_if(|point| point.position < to).is_some() {}
        self.here.position = to;
    }

    /// There are no more frames.
    pub(super) fn finish(&mut self) {
        self.check_end();
        if let Some(point) = self.points.front() {
            self.wrong(point.position);
        }
    }

    /// The end of the index lies at a frame, or at the end of the file.
    fn check_end(&mut self) {
        let (end, here) = (self.end, self.here);
        // It may know of more than there is: what is missing is found elsewhere.
        if end.position == here.position && end.index <= here.index {
            self.compare(&end, &here);
        }
    }

    fn compare(&mut self, point: &IndexPoint, here: &IndexPoint) {
        let is_same = (point.position, point.index, point.offset) == (here.position, here.index, here.offset)
            && point.append_time == here.append_time;
        let is_exact = point.epoch_before == here.epoch_before
            && point.max_timestamp_before == here.max_timestamp_before;
        if !is_same || !(is_exact || self.has_holes) {
            self.wrong(point.position);
        }
    }

    fn wrong(&mut self, position: u64) {
        let what = format!("the index names byte {position} of the segment for what is not there");
        self.wrong.get_or_insert(Place::whole(&self.path, what));
    }
}
