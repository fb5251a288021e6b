//! The envelope of small files: format, length and checksum around a body.
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | 4 bytes | magic: what file this is |
//! | 4 | u32 | format version |
//! | 8 | u32 | length of the body |
//! | 12 | u32 | CRC-32C of bytes 0 to 12 and of the body |
//! | 16 | bytes | body |

use std::{ops::RangeInclusive, path::Path};

use bytes::{Buf, BufMut, Bytes};
use minikafka_record::Checksum;

use crate::StorageError;

/// Bytes before the body.
pub(super) const HEADER_LEN: usize = 16;
const CHECKSUM: usize = 12;

/// Puts `body` into an envelope.
pub(super) fn seal(magic: [u8; 4], format: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.put_slice(&magic);
    out.put_u32(format);
    out.put_u32(u32::try_from(body.len()).expect("small files are small"));
    out.put_u32(checksum(&out[..CHECKSUM], body));
    out.put_slice(body);
    out
}

/// Takes the body out of the envelope that `path` holds.
///
/// # Errors
/// [`StorageError::Damaged`], or [`StorageError::Format`] for a version other than `format`.
pub(super) fn unseal(path: &Path, file: Bytes, magic: [u8; 4], format: u32) -> Result<Bytes, StorageError> {
    unseal_one_of(path, file, magic, format..=format).map(|(_, body)| body)
}

/// As [`unseal`], of any of these versions; says which.
pub(super) fn unseal_one_of(
    path: &Path,
    mut file: Bytes,
    magic: [u8; 4],
    formats: RangeInclusive<u32>,
) -> Result<(u32, Bytes), StorageError> {
    let damaged = |what: &str| StorageError::damaged(path, 0, what);
    if file.len() < HEADER_LEN {
        return Err(damaged("it is cut short"));
    }
    let mut header = file.split_to(HEADER_LEN);
    let checked = header.slice(..CHECKSUM);
    if header.split_to(magic.len()) != magic[..] {
        return Err(damaged("it does not begin as such a file does"));
    }
    let (found, len, stored) = (header.get_u32(), header.get_u32(), header.get_u32());
    // Behind the body there may be room to spare.
    if len as usize > file.len() {
        return Err(damaged("it is cut short"));
    }
    file.truncate(len as usize);
    if checksum(&checked, &file) != stored {
        return Err(damaged("its checksum does not match"));
    }
    if !formats.contains(&found) {
        return Err(StorageError::Format { path: path.to_owned(), found, known: *formats.end() });
    }
    Ok((found, file))
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(header);
    checksum.update(body);
    checksum.finish()
}
