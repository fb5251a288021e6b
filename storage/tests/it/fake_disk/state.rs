//! [`State`], all that is on a fake disk, under its lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
};

use super::{
    faults::{Class, Errno, Lies, Plan},
    file::FileState,
    loss::{Image, PowerLoss, Survivors, Unwritten},
    names::{Names, NodeId},
    rng::Rng,
};

/// The node of `/`.
const TOP: NodeId = 0;
/// Bytes of removed files that are remembered, to turn up again where nothing was written.
const FREED_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug)]
enum Node {
    File(FileState),
    Dir(Names),
}

/// All that is on a disk.
#[derive(Clone, Debug)]
pub(super) struct State {
    nodes: BTreeMap<NodeId, Node>,
    /// Who has a file open, by node.
    handles: BTreeMap<NodeId, u64>,
    /// Number of the last node.
    last_node: NodeId,
    /// Number of the last change of a file's bytes.
    pub(super) sequence: u64,
    pub(super) plan: Plan,
    pub(super) lies: Lies,
    pub(super) changes: u64,
    pub(super) looks: u64,
    pub(super) stopped: bool,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) held: Held,
    /// So many syncs had to wait, and so many of them, the first ones, need not any more.
    pub(super) had_to_wait: u64,
    pub(super) let_through: u64,
    /// The next read waits; one waits.
    pub(super) hold_read: bool,
    pub(super) read_waits: bool,
    /// Bytes that were read so far.
    pub(super) read_bytes: u64,
    /// So many syncs wait.
    pub(super) waiting: u64,
    /// Files whose sync has failed.
    failed_syncs: BTreeMap<NodeId, PathBuf>,
    /// Files that were synced again after that: nobody should.
    pub(super) retried_syncs: Vec<PathBuf>,
    pub(super) trace: Vec<Operation>,
    rng: Rng,
    freed: Vec<u8>,
}

/// What was asked for; for the eyes of those who look for a bug.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) bytes: Range<u64>,
}

/// What a change is to be like: its name, the path, the bytes.
pub(crate) type ChangeLike<'a> = &'a dyn Fn(&str, &Path, &Range<u64>) -> bool;

/// Whose syncs wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nobody,
    Everybody,
    /// Those of threads of these names.
    Threads(&'static [&'static str]),
    /// Those of files whose names end like this.
    Files(&'static str),
}

impl Held {
    fn is_mine(self, path: &Path) -> bool {
        match self {
            Held::Nobody => false,
            Held::Everybody => true,
            Held::Threads(names) => std::thread::current().name().is_some_and(|name| names.contains(&name)),
            Held::Files(extension) => path.extension().is_some_and(|found| found == extension),
        }
    }
}

/// What becomes of an operation.
pub(super) enum Verdict {
    Go,
    /// It fails.
    Fail(io::Error),
    /// It is the last one, and perhaps done in part.
    Stop,
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// The name of a file or directory in its directory.
fn name_of(path: &Path) -> &OsStr {
    path.file_name().expect("a path with a name")
}

impl State {
    pub(super) fn new(image: &Image) -> State {
        let mut state = State {
            nodes: BTreeMap::from([(TOP, Node::Dir(Names::default()))]),
            handles: BTreeMap::new(),
            last_node: TOP,
            sequence: 0,
            plan: Plan::default(),
            lies: Lies::None,
            changes: 0,
            looks: 0,
            stopped: false,
            capacity_bytes: None,
            locked: BTreeSet::new(),
            held: Held::Nobody,
            had_to_wait: 0,
            let_through: 0,
            hold_read: false,
            read_waits: false,
            read_bytes: 0,
            waiting: 0,
            failed_syncs: BTreeMap::new(),
            retried_syncs: Vec::new(),
            trace: Vec::new(),
            rng: Rng::new(image.entries.len() as u64),
            freed: image.freed.clone(),
        };
        for (path, content) in &image.entries {
            let node = match content {
                Some(content) => Node::File(FileState::with_content(content)),
                None => Node::Dir(Names::default()),
            };
            let node = state.add(node);
            state.parent_mut(path).expect("parents come first").insert_durable(name_of(path), node);
        }
        state
    }

    /// Whether changes were made that are like these, one after the other.
    pub(super) fn has_changes(&self, like: &[ChangeLike<'_>]) -> bool {
        let mut made = self.trace.iter();
        like.iter().all(|is_it| made.any(|change| is_it(change.name, &change.path, &change.bytes)))
    }

    /// Counts an operation, and says what becomes of it.
    pub(super) fn begin(
        &mut self,
        class: Class,
        name: &'static str,
        path: &Path,
        bytes: Range<u64>,
    ) -> Verdict {
        if self.stopped {
            return Verdict::Fail(Errno::Eio.error());
        }
        let count = match class {
            Class::Change => &mut self.changes,
            Class::Look => &mut self.looks,
        };
        *count += 1;
        let before = *count - 1;
        if class == Class::Change {
            self.trace.push(Operation { name, path: path.to_owned(), bytes });
            let thread = std::thread::current();
            if self.plan.panic_in.take_if(|planned| thread.name() == Some(*planned)).is_some() {
                panic!("the disk has a bug");
            }
            let is_planned = |(planned, only): (&str, Option<&str>)| {
                thread.name() == Some(planned) && only.is_none_or(|only| only == name)
            };
            if self.plan.fail_in.is_some_and(is_planned) {
                return Verdict::Fail(Errno::Eio.error());
            }
            if self.plan.stop_after == Some(before) {
                self.stopped = true;
                return Verdict::Stop;
            }
        }
        if self.plan.lacks_file(name) {
            return Verdict::Fail(Errno::Emfile.error());
        }
        if let Some(fault) = self.plan.fault.as_mut().filter(|fault| fault.class == class)
            && self.plan.spared.is_some_and(|spared| std::thread::current().name() == Some(spared))
            && before < fault.after + fault.count
        {
            fault.after += 1;
            return Verdict::Go;
        }
        match self.plan.fault {
            Some(fault)
                if fault.class == class && (fault.after..fault.after + fault.count).contains(&before) =>
            {
                Verdict::Fail(fault.errno.error())
            }
            _ => Verdict::Go,
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.last_node += 1;
        self.nodes.insert(self.last_node, node);
        self.last_node
    }

    /// The node that a path leads to.
    pub(super) fn find(&self, path: &Path) -> Option<NodeId> {
        let mut node = TOP;
        for component in path.components() {
            match (component, self.nodes.get(&node)?) {
                (Component::RootDir, _) => {}
                (Component::Normal(name), Node::Dir(names)) => node = names.get(name)?,
                _ => return None,
            }
        }
        Some(node)
    }

    fn dir(&self, path: &Path) -> io::Result<&Names> {
        match self.find(path).and_then(|node| self.nodes.get(&node)) {
            Some(Node::Dir(names)) => Ok(names),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    pub(super) fn dir_mut(&mut self, path: &Path) -> io::Result<&mut Names> {
        let node = self.find(path).ok_or_else(not_found)?;
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(names)) => Ok(names),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn parent_mut(&mut self, path: &Path) -> io::Result<&mut Names> {
        self.dir_mut(path.parent().ok_or_else(not_found)?)
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.dir(path).is_ok()
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.dir(dir)?.live().keys().map(|name| dir.join(name)).collect())
    }

    pub(super) fn file(&self, node: NodeId) -> &FileState {
        match &self.nodes[&node] {
            Node::File(file) => file,
            Node::Dir(_) => panic!("a directory was opened as a file"),
        }
    }

    pub(super) fn file_mut(&mut self, node: NodeId) -> &mut FileState {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => file,
            _ => panic!("a directory was opened as a file"),
        }
    }

    /// The process is gone that had files open and locked, and all plans that were made for it.
    pub(super) fn forget_process(&mut self) {
        self.handles.clear();
        self.locked.clear();
        (self.plan, self.held, self.stopped) = (Plan::default(), Held::Nobody, false);
    }

    /// Whether the sync that the calling thread asks for waits; it is the so-manieth that has to.
    pub(super) fn is_held(&self, path: &Path, number: u64) -> bool {
        self.held.is_mine(path) && number > self.let_through && !self.stopped
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.create(path, Node::File(FileState::default()))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.create(path, Node::Dir(Names::default())).map(drop)
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        self.parent_mut(path)?;
        if self.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.free_bytes() == 0 {
            return Err(Errno::Enospc.error());
        }
        let node = self.add(node);
        self.parent_mut(path)?.link(name_of(path), node);
        Ok(node)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "renames across directories are not modelled");
        let node = self.find(from).ok_or_else(not_found)?;
        self.remember_freed(to);
        self.parent_mut(from)?.rename(name_of(from), name_of(to), node);
        Ok(())
    }

    /// Removes a name of a file or of an empty directory.
    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.find(path).ok_or_else(not_found)?;
        self.remember_freed(path);
        self.parent_mut(path)?.unlink(name_of(path));
        Ok(())
    }

    /// The bytes of a file that goes may turn up elsewhere.
    fn remember_freed(&mut self, path: &Path) {
        let Some(Node::File(file)) = self.find(path).and_then(|node| self.nodes.get(&node)) else { return };
        self.freed.extend_from_slice(file.live());
        let excess = self.freed.len().saturating_sub(FREED_BYTES_MAX);
        self.freed.drain(..excess);
    }

    pub(super) fn open_handle(&mut self, node: NodeId) {
        *self.handles.entry(node).or_default() += 1;
    }

    pub(super) fn close_handle(&mut self, node: NodeId) {
        *self.handles.entry(node).or_default() -= 1;
    }

    /// Room that is left: files take theirs as long as they have a name or somebody has them open.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity_bytes else { return u64::MAX };
        let named: BTreeSet<NodeId> = self
            .nodes
            .values()
            .filter_map(|node| match node {
                Node::Dir(names) => Some(names.live().values().copied()),
                Node::File(_) => None,
            })
            .flatten()
            .collect();
        let used: u64 = self
            .nodes
            .iter()
            .map(|(id, node)| match node {
                Node::File(file) if named.contains(id) || self.handles.get(id).is_some_and(|n| *n > 0) => {
                    file.allocated_bytes()
                }
                _ => 0,
            })
            .sum();
        capacity.saturating_sub(used)
    }

    /// Empties a file: nothing that a failed sync has lost is in it any more.
    pub(super) fn empty(&mut self, node: NodeId) {
        let sequence = self.next_sequence();
        self.file_mut(node).empty(sequence);
        self.failed_syncs.remove(&node);
    }

    /// A sync of a file has failed.
    pub(super) fn forget_unsynced(&mut self, node: NodeId, path: &Path) {
        let mut rng = self.rng.fork();
        self.file_mut(node).forget(&mut rng);
        if self.plan.reverts {
            self.file_mut(node).revert();
        }
        self.failed_syncs.insert(node, path.to_owned());
    }

    /// Everything below a directory is durable; but not what a failed sync has forgotten.
    pub(super) fn sync_all(&mut self, dir: &Path) -> io::Result<()> {
        let upto = self.sequence;
        let mut left = vec![self.find(dir).ok_or_else(not_found)?];
        while let Some(node) = left.pop() {
            match self.nodes.get_mut(&node) {
                Some(Node::File(file)) => file.sync(upto),
                Some(Node::Dir(names)) => {
                    names.sync();
                    left.extend(names.live().values());
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Failed syncs of files below a directory are forgiven.
    pub(super) fn forgive(&mut self, dir: &Path) {
        self.failed_syncs.retain(|_, path| !path.starts_with(dir));
    }

    /// A sync of a file begins.
    pub(super) fn note_sync(&mut self, node: NodeId, path: &Path) {
        if self.failed_syncs.contains_key(&node) {
            self.retried_syncs.push(path.to_owned());
        }
    }

    /// How much of something that is stopped in the middle is done.
    pub(super) fn some_part(&mut self, len: usize) -> usize {
        match self.rng.below(3) {
            0 => 0,
            1 => len,
            _ => self.rng.below(len as u64 + 1) as usize,
        }
    }

    /// What a killed process leaves: everything, synced or not.
    pub(super) fn live_image(&self) -> Image {
        self.image(|file| file.live().to_owned(), |names| names.live().clone())
    }

    /// What is left of everything when the power goes.
    pub(super) fn image_after(&self, loss: &PowerLoss) -> Image {
        match loss {
            PowerLoss::NothingUnsynced => self.cut_image(0, 0),
            PowerLoss::Some(survivors) => self.survivors(survivors),
        }
    }

    /// The synced names, and of the bytes what was written up to `sequence` and so many bytes behind that.
    pub(super) fn cut_image(&self, sequence: u64, torn_bytes: u64) -> Image {
        self.image(|file| file.cut(sequence, torn_bytes), |names| names.durable().clone())
    }

    /// The writes that are not synced, in order: their sequence and how many bytes.
    pub(super) fn unsynced(&self) -> Vec<(u64, u64)> {
        let files = self.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        });
        let mut unsynced: Vec<(u64, u64)> = files.flat_map(FileState::unsynced).collect();
        unsynced.sort_unstable();
        unsynced
    }

    fn survivors(&self, survivors: &Survivors) -> Image {
        let (mut rng, mut names_rng) = (Rng::new(survivors.seed), Rng::new(survivors.seed ^ 1));
        let mut fill = |rng: &mut Rng, bytes: &mut [u8]| match survivors.unwritten {
            Unwritten::Zeros => bytes.fill(0),
            Unwritten::Stale => {
                // At the same place within a block as before, which is where it can deceive.
                let blocks = (self.freed.len() / survivors.sector_len) as u64;
                let from = if blocks == 0 { 0 } else { rng.below(blocks) as usize * survivors.sector_len };
                let mut stale = self.freed[from..].iter();
                bytes.fill_with(|| stale.next().copied().unwrap_or(0xa5));
            }
        };
        self.image(
            |file| file.survive(&mut rng, survivors.sector_len, &mut fill),
            |names| names.survive(&mut names_rng, survivors.names),
        )
    }

    fn image(
        &self,
        mut content: impl FnMut(&FileState) -> Vec<u8>,
        mut names: impl FnMut(&Names) -> BTreeMap<std::ffi::OsString, NodeId>,
    ) -> Image {
        let mut image = Image { entries: BTreeMap::new(), freed: self.freed.clone() };
        let mut todo = vec![(PathBuf::from("/"), TOP)];
        while let Some((path, node)) = todo.pop() {
            match &self.nodes[&node] {
                Node::File(file) => _ = image.entries.insert(path, Some(content(file))),
                Node::Dir(dir) => {
                    todo.extend(names(dir).iter().map(|(name, node)| (path.join(name), *node)));
                    if node != TOP {
                        image.entries.insert(path, None);
                    }
                }
            }
        }
        image
    }
}
