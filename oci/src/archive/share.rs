//! Files of a store as files of a layout: shared where the file system can share without danger,
//! copied elsewhere, and always read to the end.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{ArchiveError, failed};
use super::held::{BUFFER, holds, is};
use super::layout::{DirLayout, verified};
use super::names::blob_path;
use crate::Digest;
use crate::blob::BlobError;

/// Puts the blob in `source` into a directory, with a file of its own unless `link` says that it
/// may have the same one.
pub(super) fn take(
    layout: &DirLayout,
    digest: &Digest,
    size: u64,
    source: &Path,
    link: bool,
) -> Result<(), ArchiveError> {
    let target = layout.path(&blob_path(digest));
    // Second names are of a time when they were asked for.
    if (link || !same(source, &target)) && holds(&target, digest, size) {
        return Ok(());
    }
    if link && second_name(layout, digest, size, source)? {
        return Ok(());
    }
    let opening = || failed(format!("opening {}", source.display()));
    layout.place(&target, |file| {
        let from = File::open(source).map_err(opening())?;
        // Shared blocks: who writes into one file does not change the other.
        if rustix::fs::ioctl_ficlone(&*file, &from).is_ok() {
            return check(file, digest, size, source);
        }
        verified(file, digest, size, &mut |out| copy(source, digest, out))
            .map_err(damaged(digest, source))
    })
}

/// Writes the blob in `source` to `out`.
pub(super) fn copy(
    source: &Path,
    digest: &Digest,
    out: &mut dyn Write,
) -> Result<(), ArchiveError> {
    let reading = || failed(format!("reading {}", source.display()));
    let mut file = File::open(source).map_err(failed(format!("opening {}", source.display())))?;
    // Not io::copy to a trait object's default buffer.
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = file.read(&mut buffer).map_err(reading())?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..n])
            .map_err(failed(format!("writing {}", blob_path(digest))))?;
    }
}

/// Says that a store's file cannot have the blob that it should, before any of it is written.
pub(super) fn check_size(source: &Path, digest: &Digest, size: u64) -> Result<(), ArchiveError> {
    let metadata = fs::metadata(source).map_err(failed(format!("opening {}", source.display())))?;
    match metadata.len() {
        actual if actual == size => Ok(()),
        actual => Err(ArchiveError::Damaged {
            digest: digest.clone(),
            path: source.to_owned(),
            problem: format!("has {actual} bytes instead of {size}"),
        }),
    }
}

/// Names the store's file where its content is to blame.
pub(super) fn damaged<'a>(
    digest: &'a Digest,
    source: &'a Path,
) -> impl FnOnce(ArchiveError) -> ArchiveError + 'a {
    move |e| match e {
        ArchiveError::Blob(BlobError::DigestMismatch { actual, .. }) => ArchiveError::Damaged {
            digest: digest.clone(),
            path: source.to_owned(),
            problem: format!("has the digest {actual}"),
        },
        ArchiveError::Blob(e @ BlobError::SizeMismatch { .. }) => ArchiveError::Damaged {
            digest: digest.clone(),
            path: source.to_owned(),
            problem: format!("changes: {e}"),
        },
        e => e,
    }
}

fn check(file: &File, digest: &Digest, size: u64, source: &Path) -> Result<(), ArchiveError> {
    check_size(source, digest, size)?;
    let reading = failed(format!("reading {}", source.display()));
    let actual = is(file, digest).map_err(reading)?;
    if actual == *digest {
        return Ok(());
    }
    let expected = digest.clone();
    let e = ArchiveError::Blob(BlobError::DigestMismatch { expected, actual });
    Err(damaged(digest, source)(e))
}

/// Gives a store's file a second name; false where that cannot be.
fn second_name(
    layout: &DirLayout,
    digest: &Digest,
    size: u64,
    source: &Path,
) -> Result<bool, ArchiveError> {
    let target = layout.path(&blob_path(digest));
    let Some(dir) = target.parent() else {
        return Ok(false);
    };
    let writing = || failed(format!("writing {}", target.display()));
    fs::create_dir_all(dir).map_err(writing())?;
    let linked = tempfile::Builder::new()
        .prefix(".write-")
        .make_in(dir, |path| fs::hard_link(source, path));
    let Ok(linked) = linked else {
        return Ok(false);
    };
    let opened = File::open(linked.path()).map_err(writing())?;
    check(&opened, digest, size, source)?;
    linked.persist(&target).map_err(|e| writing()(e.error))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(writing())?;
    Ok(true)
}

/// Whether both are names of one file.
fn same(a: &Path, b: &Path) -> bool {
    let id = |path| fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}
