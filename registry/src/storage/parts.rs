//! The files of blobs of which a part came: which of them are kept, and under which names.

use std::fs;
use std::path::Path;

use oci::Digest;

use super::error::{Context, StorageError};

/// Parts that are smaller are not worth a file.
const LEAST: u64 = 64 << 10;

/// The part of a file's name that says which blob it is to be.
pub(super) fn name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.hex())
}

/// The blob of such a part.
fn digest(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

/// Sorts what processes that ended left in `staging`: parts of blobs into `partial`, the largest of
/// each, and the rest away.
pub(super) fn sort(staging: &Path, partial: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(staging).context("list", staging)? {
        let entry = entry.context("list", staging)?;
        let path = entry.path();
        let file = entry.file_name();
        let known = file.to_str().and_then(|file| file.split_once('.'));
        let known = known.and_then(|(_, known)| digest(known).map(|_| known));
        match known {
            Some(known) => keep(&path, &partial.join(known)),
            None => fs::remove_file(&path).context("remove", &path)?,
        }
    }
    Ok(())
}

/// Keeps a part of a blob under its name, if it is worth that and there is no larger one.
pub(super) fn keep(part: &Path, place: &Path) {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let new = size(part);
    let kept = new >= LEAST && new > size(place) && fs::rename(part, place).is_ok();
    if !kept {
        let _ = fs::remove_file(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(path: &Path) -> Option<u64> {
        fs::metadata(path).ok().map(|found| found.len())
    }

    #[test]
    fn of_what_was_left_the_largest_part_of_each_blob_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (staging, partial) = (dir.path().join("staging"), dir.path().join("partial"));
        for dir in [&staging, &partial] {
            fs::create_dir(dir).unwrap();
        }
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        for (file, len) in [
            ("leftover".to_owned(), 100_000),
            (format!("a.{}", name(&one)), 70_000),
            (format!("b.{}", name(&one)), 80_000),
            (format!("c.{}", name(&two)), 100),
            ("d.sha256-short".to_owned(), 70_000),
        ] {
            fs::write(staging.join(file), vec![1; len]).unwrap();
        }
        sort(&staging, &partial).unwrap();
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
        assert_eq!(size(&partial.join(name(&one))), Some(80_000));
        assert_eq!(fs::read_dir(&partial).unwrap().count(), 1);
    }
}
