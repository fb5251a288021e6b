//! A disk in memory that knows what is synced and what is not.
//!
//! ```text
//!     backend --Disk--> FakeDisk   live image      what everybody sees; what a killed process leaves
//!                                  unsynced        changes of bytes, lengths and names, in order
//!                                  durable image   what is left when the power goes, with any part
//!                                                  of the unsynced changes
//! ```
//!
//! - Bytes: the sector is what is written in one piece; which snapshot of it survives is decided for each
//!   sector alone, so that writes are lost, torn and reordered (module `file`).
//! - Names: per directory, in order or any of them (module `names`).
//! - A sync that fails forgets what was unsynced, as Linux does: visible, and never durable (module `file`). If wanted,
//!   it is not even visible any more.
//! - Everything that changes something is counted, and can fail or be the last (module `faults`).
//!
//! What it is not: it has no permissions, no links and no renames from one directory to another.

mod faults;
mod file;
mod handle;
mod loss;
mod names;
mod rng;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use minikafka_storage::filesystem::disk::{Disk, DiskFile, LockGuard, OpenMode, Space};

pub(crate) use self::{
    faults::{Class, Errno, Fault, Lies},
    loss::{Image, NameOrder, PowerLoss, Survivors, Unwritten},
    rng::Rng,
    state::ChangeLike,
};
use self::{
    handle::FakeFile,
    names::NodeId,
    state::{Held, State, Verdict},
};

/// Bytes of a disk without a bound.
const PLENTY_BYTES: u64 = 1 << 40;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct FakeDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Syncs were held, released, or began to wait.
    gate: Condvar,
}

impl FakeDisk {
    /// An empty disk.
    pub(crate) fn new() -> FakeDisk {
        FakeDisk::with(&Image::default())
    }

    /// A disk with this on it.
    pub(crate) fn with(image: &Image) -> FakeDisk {
        FakeDisk(Arc::new(Shared { state: Mutex::new(State::new(image)), gate: Condvar::new() }))
    }

    /// Makes so many changes more, then nothing works any more: a crash.
    pub(crate) fn stop_after(&self, changes: u64) {
        let mut state = self.state();
        state.plan.stop_after = Some(state.changes + changes);
    }

    /// Looks at something without being stopped in the middle; `None` when the disk has stopped before.
    pub(crate) fn unstopped<T>(&self, look: impl FnOnce() -> T) -> Option<T> {
        let planned = {
            let mut state = self.state();
            (!state.stopped).then(|| state.plan.stop_after.take())?
        };
        let seen = look();
        let mut state = self.state();
        // What others did meanwhile is done.
        state.plan.stop_after = planned.map(|changes| changes.max(state.changes));
        Some(seen)
    }

    /// Nothing works any more.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.0.gate.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Lets operations fail, counted from now on.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        let before = match fault.class {
            Class::Change => state.changes,
            Class::Look => state.looks,
        };
        state.plan.fault = Some(Fault { after: before + fault.after, ..fault });
    }

    /// The next fault is not for a thread of this name, which has work of its own.
    pub(crate) fn spare(&self, thread: &'static str) {
        self.state().plan.spared = Some(thread);
    }

    /// From now on a write takes no more bytes than this.
    pub(crate) fn write_short(&self, bytes_max: usize) {
        self.state().plan.write_bytes_max = Some(bytes_max);
    }

    /// From now on these bytes of a file cannot be read.
    pub(crate) fn spoil(&self, path: &Path, bytes: Range<u64>) {
        self.state().plan.spoilt.push((path.to_owned(), bytes));
    }

    /// Everything can be read again.
    pub(crate) fn mend(&self) {
        self.state().plan.spoilt.clear();
    }

    /// All changes that a thread of this name asks for fail.
    pub(crate) fn fail_in(&self, thread: &'static str) {
        self.state().plan.fail_in = Some((thread, None));
    }

    /// All syncs of files that a thread of this name asks for fail.
    pub(crate) fn fail_syncs_in(&self, thread: &'static str) {
        self.state().plan.fail_in = Some((thread, Some("sync")));
    }

    /// No file can be made that a thread of this name asks for.
    pub(crate) fn fail_creations_in(&self, thread: &'static str) {
        self.state().plan.fail_in = Some((thread, Some("create")));
    }

    /// From now on nothing can be opened: the process has as many files open as it may. Those that are open work.
    pub(crate) fn run_out_of_files(&self) {
        self.state().plan.is_short_of_files = true;
    }

    /// From now on a sync that fails shows readers what was there before: some file systems do so at once, and all of
    /// them once they need the memory.
    pub(crate) fn revert_failed_syncs(&self) {
        self.state().plan.reverts = true;
    }

    /// The next change that a thread of this name asks for panics.
    pub(crate) fn panic_in(&self, thread: &'static str) {
        self.state().plan.panic_in = Some(thread);
    }

    /// No fault is planned any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        (state.plan.fault, state.plan.fail_in, state.plan.spared) = (None, None, None);
        state.plan.is_short_of_files = false;
    }

    pub(crate) fn lie(&self, lies: Lies) {
        self.state().lies = lies;
    }

    /// Bounds the bytes that files may take up.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity_bytes = Some(bytes);
    }

    /// Bytes of room left.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.state().free_bytes()
    }

    /// Changes made so far.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Operations so far that only looked.
    pub(crate) fn looks(&self) -> u64 {
        self.state().looks
    }

    /// From now on, syncs wait until they are released.
    pub(crate) fn hold_syncs(&self) {
        self.state().held = Held::Everybody;
    }

    /// From now on, syncs that threads of these names ask for wait.
    #[must_use]
    pub(crate) fn hold_syncs_in(&self, threads: &'static [&'static str]) -> Hold {
        self.hold(Held::Threads(threads));
        Hold(self.clone())
    }

    /// From now on, syncs of files whose names end like this wait, whoever asks for them.
    #[must_use]
    pub(crate) fn hold_syncs_of(&self, extension: &'static str) -> Hold {
        self.hold(Held::Files(extension));
        Hold(self.clone())
    }

    pub(crate) fn release_syncs(&self) {
        self.hold(Held::Nobody);
    }

    fn hold(&self, held: Held) {
        self.state().held = held;
        self.0.gate.notify_all();
    }

    /// The disk as another process finds it when this one is killed: what is not synced is still not.
    pub(crate) fn after_kill(&self) -> FakeDisk {
        let mut state = self.state().clone();
        state.forget_process();
        FakeDisk(Arc::new(Shared { state: Mutex::new(state), gate: Condvar::new() }))
    }

    /// Waits until a sync waits.
    pub(crate) fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            state = self.0.gate.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a change was made that is like this: its name, the path, the bytes.
    pub(crate) fn wait_for_change(&self, is_it: impl Fn(&str, &Path, &Range<u64>) -> bool) {
        self.wait_for_changes(&[&is_it]);
    }

    /// Waits until changes were made that are like these, one after the other; there may be others between them.
    pub(crate) fn wait_for_changes(&self, like: &[ChangeLike<'_>]) {
        let misses = |state: &mut State| !state.has_changes(like);
        drop(self.0.gate.wait_while(self.state(), misses).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether changes were made that are like these, one after the other.
    pub(crate) fn has_changes(&self, like: &[ChangeLike<'_>]) -> bool {
        self.state().has_changes(like)
    }

    /// The next read waits until it is released.
    pub(crate) fn hold_next_read(&self) {
        self.state().hold_read = true;
    }

    /// Waits until that read waits.
    pub(crate) fn wait_for_held_read(&self) {
        let waits = |state: &mut State| !state.read_waits;
        drop(self.0.gate.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn release_read(&self) {
        self.state().read_waits = false;
        self.0.gate.notify_all();
    }

    /// Bytes that were read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.state().read_bytes
    }

    /// Files that were synced again after a sync of them had failed.
    pub(crate) fn retried_syncs(&self) -> Vec<PathBuf> {
        self.state().retried_syncs.clone()
    }

    /// Files below a directory are read and written anew: they may be synced again.
    pub(crate) fn forgive_failed_syncs(&self, dir: &str) {
        self.state().forgive(Path::new(dir));
    }

    /// What a killed process leaves.
    pub(crate) fn live_image(&self) -> Image {
        self.state().live_image()
    }

    /// What is left when the power goes.
    pub(crate) fn image_after(&self, loss: &PowerLoss) -> Image {
        self.state().image_after(loss)
    }

    /// What is left when the power goes and the unsynced writes have reached the platter in order, up to any
    /// byte of them: one image for each byte.
    pub(crate) fn torn_images(&self) -> Vec<Image> {
        let state = self.state();
        let mut images = Vec::new();
        for (sequence, bytes) in state.unsynced() {
            images.extend((0..bytes).map(|torn| state.cut_image(sequence - 1, torn)));
        }
        images.push(state.cut_image(state.sequence, 0));
        images
    }

    /// Syncs so far of files whose names end like this.
    pub(crate) fn file_syncs(&self, extension: &str) -> usize {
        let state = self.state();
        let of = |operation: &&state::Operation| {
            operation.name == "sync" && operation.path.extension().is_some_and(|found| found == extension)
        };
        state.trace.iter().filter(of).count()
    }

    /// What the last change was, or was to be.
    pub(crate) fn last_change(&self) -> &'static str {
        self.state().trace.last().map_or("", |operation| operation.name)
    }

    /// The last changes that were asked for, for the eyes.
    pub(crate) fn trace(&self, count: usize) -> String {
        let state = self.state();
        let skipped = state.trace.len().saturating_sub(count);
        let line = |(number, operation): (usize, &state::Operation)| {
            let state::Operation { name, path, bytes } = operation;
            format!("  {number:4} {name} {} {bytes:?}\n", path.display())
        };
        state.trace.iter().enumerate().skip(skipped).map(line).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation that is done as a whole or not at all.
    fn begin(&self, class: Class, name: &'static str, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.begin(class, name, path, 0..0) {
            Verdict::Go => {
                self.0.gate.notify_all();
                Ok(state)
            }
            Verdict::Fail(error) => Err(error),
            Verdict::Stop => {
                self.0.gate.notify_all();
                Err(Errno::Eio.error())
            }
        }
    }

    /// Waits while syncs are held.
    fn pass_gate<'s>(
        &'s self,
        path: &Path,
        mut state: MutexGuard<'s, State>,
    ) -> io::Result<MutexGuard<'s, State>> {
        if state.is_held(path, u64::MAX) {
            state.had_to_wait += 1;
            let number = state.had_to_wait;
            state.waiting += 1;
            self.0.gate.notify_all();
            let waits = |state: &mut State| state.is_held(path, number);
            state = self.0.gate.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if state.stopped { Err(Errno::Eio.error()) } else { Ok(state) }
    }

    fn pass_read_gate<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        if std::mem::take(&mut state.hold_read) {
            state.read_waits = true;
            self.0.gate.notify_all();
            while state.read_waits && !state.stopped {
                state = self.0.gate.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state
    }

    fn handle(&self, mut state: MutexGuard<'_, State>, node: NodeId, path: &Path) -> Arc<dyn DiskFile> {
        state.open_handle(node);
        Arc::new(FakeFile::new(self.clone(), node, path))
    }
}

impl Disk for FakeDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let found = self.state().find(path);
        match (found, mode) {
            (Some(node), OpenMode::Existing) => {
                Ok(self.handle(self.begin(Class::Look, "open", path)?, node, path))
            }
            (None, OpenMode::Existing) => {
                drop(self.begin(Class::Look, "open", path)?);
                Err(io::ErrorKind::NotFound.into())
            }
            (Some(node), OpenMode::Create) => {
                let mut state = self.begin(Class::Change, "empty", path)?;
                state.empty(node);
                Ok(self.handle(state, node, path))
            }
            (None, OpenMode::Create) => {
                let mut state = self.begin(Class::Change, "create", path)?;
                let node = state.create_file(path)?;
                Ok(self.handle(state, node, path))
            }
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.begin(Class::Look, "list", dir)?.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        let state = self.state();
        !state.stopped && state.is_dir(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(Class::Change, "create_dir", dir)?.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Class::Change, "rename", from)?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Class::Change, "remove", path)?.unlink(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let paths = self.list(dir)?;
        for path in paths {
            if self.is_dir(&path) {
                self.remove_dir_all(&path)?;
            } else {
                self.remove_file(&path)?;
            }
        }
        self.begin(Class::Change, "remove_dir", dir)?.unlink(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let state = self.begin(Class::Change, "sync_dir", dir)?;
        let mut state = self.pass_gate(dir, state)?;
        let lie = state.lies.sync_dir(dir);
        let names = state.dir_mut(dir)?;
        if !lie {
            names.sync();
        }
        Ok(())
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.begin(Class::Change, "sync_all", dir)?.sync_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<LockGuard>> {
        if self.state().find(path).is_none() {
            self.begin(Class::Change, "create", path)?.create_file(path)?;
        }
        let taken = self.begin(Class::Look, "lock", path)?.locked.insert(path.to_owned());
        Ok(taken.then(|| Box::new(Lock { disk: self.clone(), path: path.to_owned() }) as LockGuard))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let state = self.begin(Class::Look, "space", dir)?;
        let total_bytes = state.capacity_bytes.unwrap_or(PLENTY_BYTES);
        Ok(Space { available_bytes: state.free_bytes().min(total_bytes), total_bytes })
    }
}

/// Syncs that wait; they are released when it goes.
pub(crate) struct Hold(FakeDisk);

impl Hold {
    /// Lets those through that wait now; later ones wait.
    pub(crate) fn release_waiting(&self) {
        let mut state = self.0.state();
        state.let_through = state.had_to_wait;
        drop(state);
        self.0.0.gate.notify_all();
    }

    /// Only threads of these names are still held.
    pub(crate) fn only(&self, threads: &'static [&'static str]) {
        self.0.hold(Held::Threads(threads));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release_syncs();
    }
}

/// Unlocks when it goes.
struct Lock {
    disk: FakeDisk,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.path);
    }
}
