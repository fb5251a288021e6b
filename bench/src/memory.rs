//! Memory that the machine has: a virtual one has no more of it than was used lately.

use std::hint::black_box;

/// What the files and processes of a round may take.
const BYTES: usize = 2 << 30;
const PAGE: usize = 4096;

/// Uses memory, and lets go of it. The host of a virtual machine takes back what lies free there, and to get it again
/// takes some 8 µs for each page: 2 µs for each KiB that is written to a file, be it by a server or by what that is
/// measured against, and by neither if somebody has used that memory just before.
pub(crate) fn warm() {
    let mut memory = vec![0; BYTES];
    memory.chunks_mut(PAGE).for_each(|page| page[0] = 1_u8);
    black_box(memory);
}
