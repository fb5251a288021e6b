//! What figures were measured on: they mean nothing without it.

use std::{fs, path::Path};

/// Cores, processor, memory, kernel and file system, in one line.
pub(crate) fn describe(dir: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory_kb: u64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores of {processor}, {} GiB, Linux {}, {}",
        memory_kb.div_ceil(1 << 20),
        kernel.trim(),
        file_system(dir).unwrap_or_else(|| "unknown file system".to_owned())
    )
}

/// The value of the first line `name : value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The type of the file system that holds a directory: that of the longest mount point above it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut found = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else { continue };
        let is_longer = found.is_none_or(|(longest, _): (&str, _)| longest.len() <= point.len());
        if dir.starts_with(point) && is_longer {
            found = Some((point, kind));
        }
    }
    found.map(|(_, kind)| kind.to_owned())
}
