//! [`fresh_dir`]: somewhere to write to, with memory for it.

use std::{hint::black_box, io, path::Path};

use tempfile::TempDir;

/// What a side of a round usually writes, and its processes take.
const BYTES: usize = 2 << 30;
const PAGE: usize = 4096;

/// A new directory below `dir`, for one side of a round. Blocks, for a second or several.
///
/// Memory is used just before, so that nobody is measured with what it takes to get some: the host of a virtual machine
/// takes back what lies free there, and to have a page again took some 8 µs where figures are from, which is 2 µs for
/// each KiB that goes into a file. Whoever writes first pays, and leaves his pages to the next one.
pub(crate) fn fresh_dir(dir: &Path) -> io::Result<TempDir> {
    let mut memory = vec![0; BYTES];
    memory.chunks_mut(PAGE).for_each(|page| page[0] = 1_u8);
    drop(black_box(memory));
    tempfile::tempdir_in(dir)
}
