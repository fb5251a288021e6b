//! How much memory there is: of the machine, or of the cgroup if that allows less.

use std::{fs, path::Path};

/// The limit when nothing can be found out about the machine.
const FALLBACK_BYTES: u64 = 512 * 1024 * 1024;

/// Half of the memory that this process may use, in bytes: what the memory storage takes up at most, unless
/// told otherwise.
pub fn default_memory_limit_bytes() -> u64 {
    let machine = read("/proc/meminfo").as_deref().and_then(total_of_meminfo);
    let limits = machine.into_iter().chain(cgroup_limits());
    limits.min().map_or(FALLBACK_BYTES, |bytes| bytes / 2)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of this process's cgroup and all above it; none where there is no limit.
fn cgroup_limits() -> Vec<u64> {
    // Inside a container the cgroup is often mounted as the root, whatever its path says: so the root counts,
    // too.
    let mut limits: Vec<u64> = ["memory.max", "memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|file| limit_of(&Path::new("/sys/fs/cgroup").join(file)))
        .collect();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        let Some((root, file, path)) = place_of(line) else { continue };
        let ancestors = Path::new(path.trim_start_matches('/')).ancestors();
        limits.extend(ancestors.filter_map(|path| limit_of(&Path::new(root).join(path).join(file))));
    }
    limits
}

/// Where the limit of a line of `/proc/self/cgroup` stands: version 2 has one unified hierarchy, version 1
/// one for memory.
fn place_of(line: &str) -> Option<(&'static str, &'static str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    match controllers {
        "" => Some(("/sys/fs/cgroup", "memory.max", path)),
        _ if controllers.split(',').any(|name| name == "memory") => {
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
        }
        _ => None,
    }
}

/// The number in a limit's file; version 2 writes "max" where there is none.
fn limit_of(file: &Path) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total_of_meminfo() {
        let text = "MemTotal:       16384256 kB\nMemFree:         1234 kB\n";
        assert_eq!(total_of_meminfo(text), Some(16_384_256 * 1024));
        assert_eq!(total_of_meminfo("MemFree: 1 kB"), None);
    }

    #[test]
    fn finds_the_cgroup_of_both_versions() {
        assert_eq!(place_of("0::/user.slice"), Some(("/sys/fs/cgroup", "memory.max", "/user.slice")));
        assert_eq!(
            place_of("9:memory:/docker/abc"),
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "/docker/abc"))
        );
        assert_eq!(place_of("3:cpu,cpuacct:/"), None);
        assert_eq!(place_of("nonsense"), None);
    }

    #[test]
    fn there_is_always_a_limit() {
        assert!(default_memory_limit_bytes() > 0);
    }
}
