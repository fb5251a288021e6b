//! Whoever looks into what a crash has left finds no damage, and changes nothing.

use std::{path::Path, sync::Arc};

use minikafka_storage::filesystem::inspect::{Event, Inspection, Severity};

use super::run::ROOT;
use crate::fake_disk::{FakeDisk, Image};

/// Verifies an image. What a crash in the very first moments leaves is no data directory yet.
pub(super) fn verify(image: &Image) -> Result<(), String> {
    let disk = FakeDisk::with(image);
    let Ok(inspection) = Inspection::open_on(Arc::new(disk.clone()), Path::new(ROOT)) else { return Ok(()) };
    let before = disk.changes();
    let mut damages = Vec::new();
    let outcome = inspection.verify(|event| match event {
        Event::Found(finding) if finding.severity == Severity::Damage => damages.push(finding),
        _ => {}
    });
    let totals = outcome.map_err(|error| format!("verifying: {error}"))?;
    match disk.changes() == before {
        false => Err("verifying changed something".to_owned()),
        true if totals.is_whole() && damages.is_empty() => Ok(()),
        true => Err(format!("verifying finds damage: {damages:#?}")),
    }
}
