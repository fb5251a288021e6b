//! What figures were measured on: they mean nothing without it.

use std::{fs, path::Path};

/// Cores, processor, memory, kernel and file system, in one line.
pub(crate) fn describe(dir: &Path) -> String {
    let file_system = file_system(dir).unwrap_or_else(|| "unknown file system".to_owned());
    format!("{}, {file_system}", minikafka_cli::machine::describe())
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
