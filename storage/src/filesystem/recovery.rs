//! Opening a log: from what is on disk to a [`State`].

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use minikafka_record::Offset;

use super::{
    durable::{self, NEW_SUFFIX, with_suffix},
    frame::Salt,
    handles::Handles,
    index::SegmentIndex,
    manifest::{MANIFEST, Manifest, Sequence},
    scan::{FrameScan, ScanError},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, scan_error},
    state::State,
    write::cut,
};
use crate::{
    Index, LogId, Millis, StorageError,
    run::{Next, Run},
};

const SCAN_CHUNK_LEN: usize = 1024 * 1024;
/// Suffix of the file that keeps what was cut off behind the last whole frame.
const TORN_SUFFIX: &str = ".torn";

/// Opens the log in `dir`, or creates it.
pub(super) fn open(id: &LogId, dir: &Path, handles: &Handles) -> Result<(State, Sequence), StorageError> {
    let path = dir.join(MANIFEST);
    if !path.try_exists().map_err(|error| StorageError::io("reading", &path, error))? {
        create(id, dir)?;
    }
    let (manifest, sequence) = Manifest::load(dir)?;
    let segments = open_segments(dir, &manifest, handles)?;
    check_chain(dir, &segments, &manifest)?;
    if let Some(last) = segments.last() {
        // What is read from now on counts as committed, and may so far be in the system's cache only.
        durable::sync_data(&*last.file(handles)?, &last.path)?;
    }
    let next = next(&segments, &manifest);
    if next.offset < manifest.durable {
        let what = format!("it ends at offset {}, but was durable up to {}", next.offset, manifest.durable);
        return Err(StorageError::Damaged { path: dir.to_owned(), position: 0, what });
    }
    let state = State {
        id: manifest.id,
        generation: manifest.generation,
        tail: Run::default(),
        pending: Vec::new(),
        pending_bytes: 0,
        unsynced: VecDeque::new(),
        segments,
        doomed: Vec::new(),
        owes_manifest: false,
        removed: manifest.removed,
        start: manifest.start,
        durable: next,
        written: next,
        end: next,
        queued: false,
        closed: None,
        ended: false,
    };
    Ok((state, sequence))
}

/// What the next entry must carry.
fn next(segments: &[Segment], manifest: &Manifest) -> Next {
    let newest = segments.iter().map(|segment| segment.end().append_time).max().unwrap_or(Millis::MIN);
    let append_time_min = newest.max(manifest.last_append_time.unwrap_or(Millis::MIN));
    match segments.last().map(Segment::end) {
        Some(end) => {
            Next { index: end.index, offset: end.offset, epoch_min: end.epoch_before, append_time_min }
        }
        None => Next {
            index: manifest.removed.next_index,
            offset: manifest.start,
            epoch_min: manifest.removed.epoch,
            append_time_min,
        },
    }
}

/// Creates a log aside and gives it its name when it is whole. Leaves nothing behind when it fails.
fn create(id: &LogId, dir: &Path) -> Result<(), StorageError> {
    let aside = with_suffix(dir, NEW_SUFFIX);
    create_aside(id, &aside).and_then(|()| durable::publish_dir(&aside, dir)).inspect_err(|_| {
        // If this fails, too, the next start sweeps it away.
        let _ = fs::remove_dir_all(&aside);
    })
}

fn create_aside(id: &LogId, aside: &Path) -> Result<(), StorageError> {
    durable::create_dir(aside)?;
    Manifest::new(id.clone()).create(aside)?;
    // With its first segment, so that the first append need not wait for one. Opened anew under the final
    // name.
    let salt = Salt::random()?;
    let header =
        SegmentHeader { generation: 0, base_index: 0, base_offset: Offset::ZERO, epoch_before: 0, salt };
    Segment::create(aside, header, &Handles::new(1)).map(|_| ())
}

/// A segment file that was found, and its header as far as it can be read.
struct Found {
    path: PathBuf,
    base_index: Index,
    len: u64,
    header: Result<SegmentHeader, String>,
}

impl Found {
    fn read(path: PathBuf, base_index: Index) -> Result<Found, StorageError> {
        let error = |error| StorageError::io("reading", &path, error);
        // Closed again: a log may have more segments than a process may have open files.
        let file = File::open(&path).map_err(error)?;
        let len = file.metadata().map_err(error)?.len();
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        let header = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => SegmentHeader::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("its header is cut off".to_owned())
            }
            Err(cause) => return Err(error(cause)),
        };
        Ok(Found { path, base_index, len, header })
    }

    fn remove(&self) -> Result<(), StorageError> {
        durable::remove_file(&self.path.with_extension("index"))?;
        durable::remove_file(&self.path)
    }

    /// Left over from before a reset.
    fn is_void(&self, manifest: &Manifest) -> bool {
        self.header.as_ref().is_ok_and(|header| header.generation < manifest.generation)
    }

    /// Newer than the manifest, which is then not the last one that was written.
    fn is_ahead(&self, manifest: &Manifest) -> bool {
        self.header.as_ref().is_ok_and(|header| header.generation > manifest.generation)
    }
}

/// The segments that hold something that is kept, in order, each with its index. What is left over from a
/// reset or a trim is removed, unread.
fn open_segments(dir: &Path, manifest: &Manifest, handles: &Handles) -> Result<Vec<Segment>, StorageError> {
    let mut found = find_segments(dir)?;
    if let Some(ahead) = found.iter().find(|found| found.is_ahead(manifest)) {
        let what = "the manifest is older than this segment".to_owned();
        return Err(StorageError::Damaged { path: ahead.path.clone(), position: 0, what });
    }
    let (void, kept) = found.drain(..).partition::<Vec<_>, _>(|found| found.is_void(manifest));
    void.iter().try_for_each(Found::remove)?;
    let first = manifest.removed.next_index;
    let trimmed = kept.windows(2).take_while(|pair| pair[1].base_index <= first).count();
    kept[..trimmed].iter().try_for_each(Found::remove)?;
    let mut segments = Vec::new();
    for (at, found) in kept.iter().enumerate().skip(trimmed) {
        let place = if at + 1 == kept.len() { Place::Last } else { Place::Sealed };
        let segment = open_segment(found, manifest, place, handles)?;
        // All trimmed, or lost beyond what was ever synced and trimmed: numbers are not given again.
        let is_kept = |segment: &Segment| {
            segment.end().offset >= manifest.start
                && (segment.end().index > first || segment.header.base_index >= first)
        };
        match segment.filter(is_kept) {
            Some(segment) => segments.push(segment),
            None => found.remove()?,
        }
    }
    Ok(segments)
}

fn find_segments(dir: &Path) -> Result<Vec<Found>, StorageError> {
    let read = |error| StorageError::io("reading", dir, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if let Some(base_index) = Segment::base_index_of(&path) {
            found.push(Found::read(path, base_index)?);
        }
    }
    found.sort_by_key(|found| found.base_index);
    Ok(found)
}

/// Whether a segment may end in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Sealed,
    Last,
}

/// Opens one segment; `None` when there is nothing in it.
fn open_segment(
    found: &Found,
    manifest: &Manifest,
    place: Place,
    handles: &Handles,
) -> Result<Option<Segment>, StorageError> {
    let header = match &found.header {
        Ok(header) => *header,
        // The header is durable before the first frame is written: no frames, no header, nothing lost.
        Err(_) if place == Place::Last && found.len <= SEGMENT_HEADER_LEN => return Ok(None),
        Err(what) => {
            return Err(StorageError::Damaged { path: found.path.clone(), position: 0, what: what.clone() });
        }
    };
    let mut segment = Segment::new(found.path.clone(), header, handles);
    match SegmentIndex::load(&segment.index_path(), &header, found.len) {
        Some(index) => segment.index = index,
        None => {
            let file = File::options().read(true).write(true).open(&found.path);
            let file = Arc::new(file.map_err(|error| durable::io_or_full("opening", &found.path, error))?);
            scan_segment(&mut segment, &file, found.len, manifest, place)?;
        }
    }
    Ok(Some(segment))
}

/// Reads all frames, and cuts off a torn tail.
fn scan_segment(
    segment: &mut Segment,
    file: &Arc<File>,
    len: u64,
    manifest: &Manifest,
    place: Place,
) -> Result<(), StorageError> {
    let mut scan = FrameScan::new(file.clone(), segment.header.salt, SEGMENT_HEADER_LEN, len, SCAN_CHUNK_LEN);
    let mut durable = manifest.durable;
    loop {
        match scan.next() {
            Ok(Some(frame)) => {
                if frame.entry.index != segment.end().index || frame.entry.base_offset != segment.end().offset
                {
                    let what = format!(
                        "the frame has index {}, expected {}",
                        frame.entry.index,
                        segment.end().index
                    );
                    return Err(StorageError::Damaged {
                        path: segment.path.clone(),
                        position: frame.position,
                        what,
                    });
                }
                durable = durable.max(frame.durable);
                segment.index.push(&frame.entry);
            }
            Ok(None) => {
                if place == Place::Sealed {
                    // A cache: the next opening would rebuild it again.
                    let _ = segment.index.store(&segment.index_path(), &segment.header);
                }
                return Ok(());
            }
            Err(ScanError::Bad { position, what }) if place == Place::Last => {
                let later = later_mark(file, segment.header.salt, position, len)
                    .map_err(|error| scan_error(&segment.path, error))?;
                if segment.end().offset < durable.max(later) {
                    return Err(scan_error(&segment.path, ScanError::Bad { position, what }));
                }
                return cut_torn_tail(segment, file, position, len, what);
            }
            Err(error) => return Err(scan_error(&segment.path, error)),
        }
    }
}

/// The largest durable offset that any whole frame behind `position` names. Such a frame is hunted for at
/// every byte.
fn later_mark(file: &Arc<File>, salt: Salt, position: u64, len: u64) -> Result<Offset, ScanError> {
    let mut mark = Offset::ZERO;
    let mut from = position + 1;
    let mut window = vec![0; SCAN_CHUNK_LEN];
    while from + 4 <= len {
        let size = window.len().min((len - from) as usize);
        let window = &mut window[..size];
        file.read_exact_at(window, from)?;
        let candidates = salt.candidates(window);
        for at in candidates {
            let mut scan = FrameScan::new(file.clone(), salt, from + at as u64, len, 64 * 1024);
            if let Ok(Some(frame)) = scan.next() {
                mark = mark.max(frame.durable);
            }
        }
        // Windows overlap, so that no magic is missed at their seam.
        from += (size as u64 - 3).max(1);
    }
    Ok(mark)
}

/// Cuts the file behind its last whole frame, and keeps the rest aside.
fn cut_torn_tail(
    segment: &Segment,
    file: &File,
    position: u64,
    len: u64,
    what: &str,
) -> Result<(), StorageError> {
    let path = &segment.path;
    let mut torn = vec![0; (len - position) as usize];
    file.read_exact_at(&mut torn, position).map_err(|error| StorageError::io("reading", path, error))?;
    let aside = with_suffix(path, &format!(".{position}{TORN_SUFFIX}"));
    match durable::replace(&aside, &torn) {
        // A full disk must not keep the log from opening: eviction is what makes room.
        Err(StorageError::Full(what)) => tracing::warn!(?path, what, "the torn tail is not kept aside"),
        kept => kept?,
    }
    durable::remove_file(&segment.index_path())?;
    cut(file, path, position)?;
    tracing::warn!(
        ?path,
        position,
        bytes = torn.len(),
        offset = %segment.end().offset,
        what,
        "cut off a torn tail: bytes behind the last whole frame, never acknowledged"
    );
    Ok(())
}

/// The first segment holds the first entry that is kept, and each goes on where the one before ends.
fn check_chain(dir: &Path, segments: &[Segment], manifest: &Manifest) -> Result<(), StorageError> {
    let damaged = |path: &Path, what| Err(StorageError::Damaged { path: path.to_owned(), position: 0, what });
    let first = manifest.removed.next_index;
    match segments.first() {
        Some(segment) if segment.header.base_index > first => {
            let what = format!("entries from index {first} on are missing before it");
            return damaged(&segment.path, what);
        }
        // A log is made with a segment; only a trim or a reset takes the last one away.
        None if first == 0 && manifest.generation == 0 && manifest.start == Offset::ZERO => {
            return damaged(dir, "its segments are missing".to_owned());
        }
        _ => {}
    }
    for pair in segments.windows(2) {
        let (end, base) = (pair[0].end(), pair[1].base());
        if (end.index, end.offset) != (base.index, base.offset) {
            let what =
                format!("it begins with index {}, the segment before ends at {}", base.index, end.index);
            return damaged(&pair[1].path, what);
        }
    }
    Ok(())
}
