//! [`FileState`], the bytes of a file: what everybody sees, and what is on the platter.
//!
//! ```text
//!     durable  --- change 1 --- change 2 --- change 3 --->  live
//!              \_ not synced: any sector may be as after any of them when the power goes _/
//! ```
//!
//! The system writes pages back when it likes, so the sector on the platter is a snapshot of the one in memory
//! at some moment since the last sync, independent of all other sectors, also of those of the same write. The
//! length is such a snapshot, too.

use std::collections::BTreeSet;

use super::rng::Rng;

/// What a disk writes in one piece.
pub(super) const SECTOR_LEN: usize = 512;
/// What a file system allocates in one piece.
pub(super) const PAGE_LEN: u64 = 4096;

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// In the order in which they were made.
    unsynced: Vec<Change>,
    /// A sync failed: memory has bytes that the platter lacks, and nobody is going to write them again.
    forgetful: bool,
    /// The pages that take up room.
    pages: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Change {
    sequence: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl What {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            What::Write { at, bytes } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            What::SetLen(len) => content.resize(*len, 0),
        }
    }

    fn len_after(&self, before: usize) -> usize {
        match self {
            What::Write { at, bytes } => before.max(at + bytes.len()),
            What::SetLen(len) => *len,
        }
    }
}

impl FileState {
    /// A file that has been there for long.
    pub(super) fn with_content(content: &[u8]) -> FileState {
        let pages = (0..(content.len() as u64).div_ceil(PAGE_LEN)).collect();
        FileState { live: content.to_owned(), durable: content.to_owned(), pages, ..FileState::default() }
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn read(&self, bytes: &mut [u8], position: u64) -> usize {
        let rest = self.live.get(position as usize..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        len
    }

    pub(super) fn write(&mut self, sequence: u64, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        What::Write { at, bytes: bytes.to_owned() }.apply(&mut self.live);
        self.pages.extend(at as u64 / PAGE_LEN..(end as u64).div_ceil(PAGE_LEN));
        // The system writes whole pages, and with them what an earlier sync has failed to write.
        let (from, to) = match self.forgetful {
            true => (at / SECTOR_LEN * SECTOR_LEN, end.next_multiple_of(SECTOR_LEN).min(self.live.len())),
            false => (at, end),
        };
        let what = What::Write { at: from, bytes: self.live[from..to].to_owned() };
        self.unsynced.push(Change { sequence, what });
    }

    pub(super) fn set_len(&mut self, sequence: u64, len: usize) {
        self.live.resize(len, 0);
        self.pages = self.pages.range(..(len as u64).div_ceil(PAGE_LEN)).copied().collect();
        self.unsynced.push(Change { sequence, what: What::SetLen(len) });
    }

    pub(super) fn empty(&mut self, sequence: u64) {
        self.set_len(sequence, 0);
        self.forgetful = false;
    }

    /// Everything up to `sequence` is on the platter.
    pub(super) fn sync(&mut self, sequence: u64) {
        let count = self.unsynced.partition_point(|change| change.sequence <= sequence);
        for change in self.unsynced.drain(..count) {
            change.what.apply(&mut self.durable);
        }
    }

    /// A sync failed, as Linux has it: what was not synced stays visible, is taken for written, and never
    /// reaches the platter. Some sectors of it may have. The length is metadata and not lost.
    pub(super) fn forget(&mut self, rng: &mut Rng) {
        if rng.percent(50) {
            self.durable = self.survive(rng, SECTOR_LEN, &mut |_, _| ());
        }
        self.unsynced.clear();
        self.forgetful = true;
        if self.durable.len() != self.live.len() {
            self.unsynced.push(Change { sequence: 0, what: What::SetLen(self.live.len()) });
        }
    }

    /// What is not on the platter leaves the memory: everybody sees what is there, and nothing is to be written.
    pub(super) fn revert(&mut self) {
        let len = self.live.len();
        self.live.clone_from(&self.durable);
        self.live.resize(len, 0);
        self.forgetful = false;
    }

    /// Changes not yet synced: when, and how many bytes.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = (u64, u64)> {
        self.unsynced.iter().map(|change| (change.sequence, change.bytes()))
    }

    /// What is left when the power goes and the changes up to `sequence` have reached the platter, and of the
    /// next one so many bytes.
    pub(super) fn cut(&self, sequence: u64, torn_bytes: u64) -> Vec<u8> {
        let mut content = self.durable.clone();
        let whole = self.unsynced.partition_point(|change| change.sequence <= sequence);
        self.unsynced[..whole].iter().for_each(|change| change.what.apply(&mut content));
        if let Some(Change { what: What::Write { at, bytes }, sequence: next }) = self.unsynced.get(whole)
            && *next == sequence + 1
            && torn_bytes > 0
        {
            What::Write { at: *at, bytes: bytes[..torn_bytes as usize].to_owned() }.apply(&mut content);
        }
        content
    }

    /// What is left when the power goes now: some snapshot of each sector, and some length.
    pub(super) fn survive(
        &self,
        rng: &mut Rng,
        sector_len: usize,
        fill_unwritten: &mut dyn FnMut(&mut Rng, &mut [u8]),
    ) -> Vec<u8> {
        let count = self.unsynced.len() as u64;
        if count == 0 {
            return self.durable.clone();
        }
        let len = self.some_len(rng);
        let mut content = self.durable.clone();
        content.resize(len.max(self.durable.len()), 0);
        let sectors = content.len().div_ceil(sector_len);
        let newest_percent = [5, 50, 95][rng.below(3) as usize];
        let versions: Vec<u64> = (0..sectors)
            .map(|_| if rng.percent(newest_percent) { count } else { rng.below(count + 1) })
            .collect();
        let fresh_from = self.durable.len().div_ceil(sector_len);
        let mut written = vec![false; sectors];
        for (number, change) in self.unsynced.iter().enumerate() {
            change.apply_sectors(&mut content, sector_len, |sector| {
                let chosen = versions[sector] > number as u64;
                written[sector] |= chosen;
                chosen
            });
        }
        // A new sector that was never written holds nothing, or what its last owner left there.
        for sector in (fresh_from..sectors).filter(|sector| !written[*sector]) {
            let range = sector * sector_len..((sector + 1) * sector_len).min(content.len());
            fill_unwritten(rng, &mut content[range]);
        }
        content.truncate(len);
        content
    }

    /// The length after some of the changes.
    fn some_len(&self, rng: &mut Rng) -> usize {
        let upto = rng.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced[..upto].iter().fold(self.durable.len(), |len, change| change.what.len_after(len))
    }

    /// Bytes of room it takes up.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_LEN
    }

    /// How many of `len` bytes from `at` on can be written when so many bytes are left on the disk.
    pub(super) fn fitting(&self, at: usize, len: usize, free_bytes: u64) -> usize {
        let (first, end) = (at as u64 / PAGE_LEN, ((at + len) as u64).div_ceil(PAGE_LEN));
        let missing = (first..end).filter(|page| !self.pages.contains(page));
        match missing.into_iter().nth((free_bytes / PAGE_LEN) as usize) {
            None => len,
            Some(page) => ((page * PAGE_LEN) as usize).saturating_sub(at),
        }
    }
}

impl Change {
    /// Every change counts, also one of no bytes.
    fn bytes(&self) -> u64 {
        match &self.what {
            What::Write { bytes, .. } => bytes.len() as u64,
            What::SetLen(_) => 1,
        }
    }

    /// Applies it to those sectors of `content` that are chosen; does not change the length.
    fn apply_sectors(&self, content: &mut [u8], sector_len: usize, mut chosen: impl FnMut(usize) -> bool) {
        let (from, to) = match &self.what {
            What::Write { at, bytes } => (*at, (at + bytes.len()).min(content.len())),
            What::SetLen(len) => (*len, content.len()),
        };
        let mut position = from;
        while position < to {
            let sector = position / sector_len;
            let end = ((sector + 1) * sector_len).min(to);
            if chosen(sector) {
                match &self.what {
                    What::Write { at, bytes } => {
                        content[position..end].copy_from_slice(&bytes[position - at..end - at]);
                    }
                    What::SetLen(_) => content[position..end].fill(0),
                }
            }
            position = end;
        }
    }
}
