//! Files that are read as a whole: the marker, manifests, blobs; and those that count for nothing.

use std::path::{Path, PathBuf};

use super::{is_leftover, list, walk::Place};
use crate::{
    StorageError,
    filesystem::{
        damage::{self, DAMAGE, Damage},
        directory::{JOURNAL, LOCK, LOGS, MARKER, parse_copies},
        disk::Disk,
        durable,
        manifest::{MANIFEST, Manifest, SLOT_LEN, newest},
        recovery::TORN_SUFFIX,
        sealed,
        segment::{DAMAGED_SUFFIX, INDEX_SUFFIX, Segment},
        storage::{BLOB_FORMAT, BLOB_MAGIC, BLOB_PREFIX},
    },
};

/// Which copies of the marker are damaged. One is enough to open the directory, and nothing ever tears it.
pub(super) fn marker_damage(disk: &dyn Disk, root: &Path) -> Vec<Place> {
    let path = root.join(MARKER);
    let file = match durable::read_file(disk, &path) {
        Ok(Some(file)) => file,
        Ok(None) => return vec![Place::whole(&path, "the file is missing")],
        Err(error) => return vec![Place::whole(&path, format!("cannot be read: {error}"))],
    };
    let copies = parse_copies(&path, file).into_iter().zip(["first", "second"]);
    let bad = copies.filter_map(|(copy, which)| copy.err().map(|error| (error, which)));
    bad.map(|(error, which)| {
        Place::whole(&path, format!("of its two copies the {which} is damaged: {}", reason(error)))
    })
    .collect()
}

/// What lies in the data directory without being a part of it.
pub(super) fn strangers(disk: &dyn Disk, root: &Path) -> Result<Vec<Place>, StorageError> {
    let ours = [MARKER, LOCK, LOGS, JOURNAL].map(|name| root.join(name));
    let mut places = Vec::new();
    for path in list(disk, root)?.into_iter().filter(|path| !ours.contains(path)) {
        places.push(Place::whole(&path, "no part of a data directory"));
    }
    for path in list(disk, &root.join(LOGS))? {
        if is_leftover(&path) {
            places.push(Place::whole(&path, "was being made or removed, the next start removes it"));
        } else if !disk.is_dir(&path) {
            places.push(Place::whole(&path, "not a log"));
        }
    }
    for path in list(disk, &root.join(JOURNAL))?.into_iter().filter(|path| !super::journal::is_journal(path))
    {
        let name = file_name(&path);
        places.push(Place::whole(
            &path,
            if is_leftover(&path) {
                "was being written"
            } else if name.ends_with(TORN_SUFFIX) {
                "a torn record of the journal that an earlier start kept"
            } else if name.ends_with(DAMAGED_SUFFIX) {
                "a damaged record of the journal that an earlier start kept"
            } else {
                "not a file of the journal"
            },
        ));
    }
    Ok(places)
}

/// The manifest of a log, and what is to be said of its slots.
///
/// # Errors
/// Why nobody knows whose log this is.
pub(super) fn manifest(disk: &dyn Disk, dir: &Path) -> Result<(Manifest, Vec<Place>), Place> {
    let path = dir.join(MANIFEST);
    let slots = match Manifest::load_slots(disk, dir) {
        Ok(Some(slots)) => slots,
        Ok(None) => return Err(Place::whole(&path, "the file is missing")),
        Err(error) => return Err(Place::whole(&path, format!("cannot be read: {error}"))),
    };
    let bad = slots.iter().zip([0, SLOT_LEN as u64]);
    let bad = bad.filter_map(|(slot, position)| Some((slot.as_ref().err()?, position)));
    let notes = bad.map(|(error, position)| {
        let what = format!("this slot is torn or damaged ({}), the other one counts", reason(error.clone()));
        Place::at(&path, position, what)
    });
    let notes: Vec<Place> = notes.collect();
    match newest(slots) {
        Ok((manifest, _)) => Ok((manifest, notes)),
        Err(error) => Err(Place::whole(&path, format!("both slots are damaged: {}", reason(error)))),
    }
}

/// What is known of the damage of a log, and what is wrong with the file that says so.
pub(super) fn known_damage(disk: &dyn Disk, dir: &Path) -> (Damage, Vec<Place>) {
    let path = dir.join(DAMAGE);
    let file = match durable::read_file(disk, &path) {
        Ok(Some(file)) => file,
        Ok(None) => return Default::default(),
        Err(error) => {
            return (Damage::default(), vec![Place::whole(&path, format!("cannot be read: {error}"))]);
        }
    };
    let copies = damage::parse_copies(&path, file);
    let bad = copies.iter().zip(["first", "second"]).filter_map(|(copy, which)| {
        let what = reason(copy.as_ref().err()?.clone());
        Some(Place::whole(&path, format!("of its two copies the {which} is damaged: {what}")))
    });
    let bad = bad.collect();
    (copies.into_iter().find_map(Result::ok).unwrap_or_default(), bad)
}

/// Checks the blobs of a log: those that are damaged.
pub(super) fn blob_damage(disk: &dyn Disk, files: &[PathBuf]) -> Vec<Place> {
    let blobs = files.iter().filter(|path| is_blob(path));
    let bad = blobs.filter_map(|path| {
        let file = match durable::read_file(disk, path) {
            Ok(file) => file?,
            Err(error) => return Some(Place::whole(path, format!("cannot be read: {error}"))),
        };
        let error = sealed::unseal(path, file, BLOB_MAGIC, BLOB_FORMAT).err()?;
        Some(Place::whole(path, reason(error)))
    });
    bad.collect()
}

/// What lies in the directory of a log without counting.
pub(super) fn leftovers(files: &[PathBuf]) -> Vec<Place> {
    let kind = |path: &PathBuf| {
        let name = file_name(path);
        let is_part =
            name == MANIFEST || name == DAMAGE || Segment::base_index_of(path).is_some() || is_blob(path);
        if is_part {
            None
        } else if is_leftover(path) {
            Some("was being written")
        } else if name.ends_with(TORN_SUFFIX) {
            Some("a torn tail that an earlier start cut off and kept")
        } else if name.ends_with(DAMAGED_SUFFIX) {
            Some("a damaged segment that was set aside")
        } else if path.extension().is_some_and(|extension| extension == INDEX_SUFFIX) {
            let segment = path.with_extension(crate::filesystem::segment::SUFFIX);
            (!files.contains(&segment)).then_some("an index without its segment")
        } else {
            Some("not a file of a log")
        }
    };
    files.iter().filter_map(|path| Some(Place::whole(path, kind(path)?))).collect()
}

fn is_blob(path: &Path) -> bool {
    file_name(path).starts_with(BLOB_PREFIX) && !is_leftover(path)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What does not fit, without the file's name, which is said anyhow.
fn reason(error: StorageError) -> String {
    match error {
        StorageError::Damaged { what, .. } => what,
        StorageError::Format { found, known, .. } => {
            format!("it has format {found}, this version reads format {known}")
        }
        other => other.to_string(),
    }
}
