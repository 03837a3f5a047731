//! Whether a file has what its digest says.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::Digest;
use crate::digest::Hashing;

/// Bytes read at once: large blobs are most of the time.
pub(super) const BUFFER: usize = 256 << 10;

/// Whether a plain file is there that is what the digest says.
pub(super) fn holds(path: &Path, digest: &Digest, size: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == size)
        && File::open(path)
            .is_ok_and(|file| is(&file, digest).is_ok_and(|actual| actual == *digest))
}

/// The digest of what a file has, by the algorithm of the one that it should have.
pub(super) fn is(file: &File, digest: &Digest) -> io::Result<Digest> {
    let mut hashing = Hashing::with(file, digest.algorithm());
    let mut buffer = vec![0; BUFFER];
    while hashing.read(&mut buffer)? > 0 {}
    Ok(hashing.finish().1)
}
