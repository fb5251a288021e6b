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
    handles::{Handles, SegmentKey},
    index::SegmentIndex,
    manifest::{MANIFEST, Manifest},
    scan::{FrameScan, ScanError},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, scan_error},
    state::State,
    write::cut,
};
use crate::{
    LogId, Millis, StorageError,
    run::{Next, Run},
};

const SCAN_CHUNK_LEN: usize = 1024 * 1024;
/// Suffix of the file that keeps what was cut off behind the last whole frame.
const TORN_SUFFIX: &str = ".torn";

/// Opens the log in `dir`, or creates it.
pub(super) fn open(id: &LogId, dir: &Path, handles: &Handles) -> Result<State, StorageError> {
    if !dir.join(MANIFEST).exists() {
        create(id, dir)?;
    }
    let manifest = Manifest::load(dir)?;
    let mut segments = open_segments(dir, &manifest)?;
    check_chain(&segments)?;
    remove_trimmed(&mut segments, &manifest, handles)?;
    if let Some(last) = segments.last() {
        make_durable(last, &manifest, handles)?;
    }
    let next = next(&segments, &manifest);
    if next.offset < manifest.durable {
        let what = format!("it ends at offset {}, but was durable up to {}", next.offset, manifest.durable);
        return Err(StorageError::Damaged { path: dir.to_owned(), position: 0, what });
    }
    Ok(State {
        id: manifest.id,
        generation: manifest.generation,
        tail: Run::default(),
        pending: Vec::new(),
        unsynced: VecDeque::new(),
        segments,
        removed: manifest.removed,
        start: manifest.start,
        durable: next,
        written: next,
        end: next,
        queued: false,
        closed: None,
    })
}

/// What the next entry must carry.
fn next(segments: &[Segment], manifest: &Manifest) -> Next {
    let newest = manifest.last_append_time.unwrap_or(Millis::MIN);
    match segments.last().map(Segment::end) {
        Some(end) => Next {
            index: end.index,
            offset: end.offset,
            epoch_min: end.epoch_before,
            append_time_min: end.append_time.max(newest),
        },
        None => Next {
            index: manifest.removed.next_index,
            offset: manifest.start,
            epoch_min: manifest.removed.epoch,
            append_time_min: newest,
        },
    }
}

/// Creates a log aside and gives it its name when it is whole.
fn create(id: &LogId, dir: &Path) -> Result<(), StorageError> {
    let aside = with_suffix(dir, NEW_SUFFIX);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StorageError::io("removing", aside, error));
        }
        _ => {}
    }
    durable::create_dir(&aside)?;
    let manifest = Manifest::new(id.clone());
    manifest.store(&aside)?;
    // With its first segment, so that the first append need not wait for one. Opened anew under the final name.
    let header = SegmentHeader { generation: 0, base_index: 0, base_offset: Offset::ZERO, epoch_before: 0 };
    let nobody = Handles::new(1);
    Segment::create(&aside, header, &nobody)?;
    durable::publish_dir(&aside, dir)
}

/// The segments in `dir`, in order, each with its index.
fn open_segments(dir: &Path, manifest: &Manifest) -> Result<Vec<Segment>, StorageError> {
    let read = |error| StorageError::io("reading", dir, error);
    let names = fs::read_dir(dir).map_err(read)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = names.collect::<io::Result<_>>().map_err(read)?;
    paths.retain(|path| Segment::base_index_of(path).is_some());
    paths.sort();
    let mut segments = Vec::new();
    let count = paths.len();
    for (at, path) in paths.into_iter().enumerate() {
        let place = if at + 1 == count { Place::Last } else { Place::Sealed };
        match open_segment(&path, manifest, place)? {
            Some(segment) => segments.push(segment),
            None => durable::remove_file(&path)?,
        }
    }
    Ok(segments)
}

/// Whether a segment may end in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Sealed,
    Last,
}

/// Opens one segment; `None` when it is void.
fn open_segment(path: &Path, manifest: &Manifest, place: Place) -> Result<Option<Segment>, StorageError> {
    let error = |error| StorageError::io("reading", path, error);
    let file = Arc::new(File::options().read(true).write(true).open(path).map_err(error)?);
    let len = file.metadata().map_err(error)?.len();
    let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
    let header = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => SegmentHeader::parse(&bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err("its header is cut off".to_owned()),
        Err(cause) => return Err(error(cause)),
    };
    let header = match header {
        Ok(header) if header.generation != manifest.generation => return Ok(None),
        Ok(header) => header,
        // The header is durable before the first frame is written: no frames, no header, nothing lost.
        Err(_) if place == Place::Last && len <= SEGMENT_HEADER_LEN => return Ok(None),
        Err(what) => return Err(StorageError::Damaged { path: path.to_owned(), position: 0, what }),
    };
    let mut segment =
        Segment { key: SegmentKey::new(), path: path.to_owned(), header, index: SegmentIndex::new(&header) };
    if place == Place::Sealed
        && let Some(index) = SegmentIndex::load(&segment.index_path(), &header, len)
    {
        segment.index = index;
        return Ok(Some(segment));
    }
    scan_segment(&mut segment, &file, len, manifest, place)?;
    if place == Place::Sealed {
        // A cache: the next opening would rebuild it again.
        let _ = segment.index.store(&segment.index_path(), &header);
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
    let mut scan = FrameScan::new(file.clone(), SEGMENT_HEADER_LEN, len, SCAN_CHUNK_LEN);
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
            Ok(None) => return Ok(()),
            Err(ScanError::Bad { position, what }) if place == Place::Last => {
                let later =
                    later_mark(file, position, len).map_err(|error| scan_error(&segment.path, error))?;
                if segment.end().offset < durable.max(later) {
                    return Err(scan_error(&segment.path, ScanError::Bad { position, what }));
                }
                return cut_torn_tail(segment, file, position, len, what);
            }
            Err(error) => return Err(scan_error(&segment.path, error)),
        }
    }
}

/// The largest durable offset that any whole frame behind `position` names. Such a frame is hunted for at every byte.
fn later_mark(file: &Arc<File>, position: u64, len: u64) -> Result<Offset, ScanError> {
    let mut mark = Offset::ZERO;
    let mut from = position + 1;
    let mut window = vec![0; SCAN_CHUNK_LEN];
    while from + 4 <= len {
        let size = window.len().min((len - from) as usize);
        let window = &mut window[..size];
        file.read_exact_at(window, from)?;
        let candidates = super::frame::candidates(window);
        for at in candidates {
            let mut scan = FrameScan::new(file.clone(), from + at as u64, len, 64 * 1024);
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
    durable::replace(&aside, &torn)?;
    cut(file, path, position)?;
    tracing::warn!(
        ?path,
        position,
        bytes = torn.len(),
        offset = %segment.end().offset,
        what,
        "cut off a torn tail: bytes behind the last whole frame, never acknowledged, kept aside"
    );
    Ok(())
}

/// Each segment goes on where the one before ends.
fn check_chain(segments: &[Segment]) -> Result<(), StorageError> {
    for pair in segments.windows(2) {
        let (end, base) = (pair[0].end(), pair[1].base());
        if (end.index, end.offset) != (base.index, base.offset) {
            let what =
                format!("it begins with index {}, the segment before ends at {}", base.index, end.index);
            return Err(StorageError::Damaged { path: pair[1].path.clone(), position: 0, what });
        }
    }
    Ok(())
}

/// Removes segments that were trimmed before the last server ended. If the trimmed entries were never synced and are lost, the log goes on where
/// the manifest says: numbers are not given again.
fn remove_trimmed(
    segments: &mut Vec<Segment>,
    manifest: &Manifest,
    handles: &Handles,
) -> Result<(), StorageError> {
    let first = manifest.removed.next_index;
    let is_trimmed = |segment: &Segment| segment.end().index <= first && segment.header.base_index < first;
    let count = segments.iter().take_while(|segment| is_trimmed(segment)).count();
    segments.drain(..count).try_for_each(|segment| segment.remove(handles))
}

/// Syncs the last segment, unless a clean stop says that it is synced: what is read from now on counts as committed,
/// and may so far be in the system's cache only.
fn make_durable(last: &Segment, manifest: &Manifest, handles: &Handles) -> Result<(), StorageError> {
    if manifest.durable == last.end().offset {
        return Ok(());
    }
    let file = last.file(handles)?;
    durable::sync_data(&file, &last.path)
}
