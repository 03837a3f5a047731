//! What BuildKit would call the steps of a build, so that caches that it wrote can be read.
//!
//! BuildKit keys a step by a digest of the operation and, for each of its inputs, the keys of what
//! it was done to, or a digest of the files that it takes. The digest of an operation is that of
//! its message in Go's JSON, so that whoever writes the same bytes finds the same record. Whatever
//! is not known to come to the same bytes has no key here, and is never found.
//!
//! - [`ops`]: the digest of an operation, and what its inputs are
//! - [`json`]: operations as BuildKit writes them
//! - [`content`]: the digest of files

pub mod content;
mod json;
pub mod ops;

use oci::{ChainId, Digest, Platform};

/// The key of a record: the digest of what made it, and which of its outputs it is.
fn output(digest: &Digest, index: i32) -> Digest {
    Digest::sha256(format!("{digest}@{index}").as_bytes())
}

/// The key of an image with these layers.
pub fn image_key(chain: &ChainId) -> Digest {
    source(&chain.to_string())
}

/// The key of an image by its manifest, for a platform.
pub fn manifest_key(manifest: &Digest, platform: &Platform) -> Option<Digest> {
    json::manifest(manifest, platform).map(|key| source(&key.to_string()))
}

fn source(key: &str) -> Digest {
    output(
        &Digest::sha256(format!("buildkit.source.v0:{key}").as_bytes()),
        0,
    )
}

#[cfg(test)]
mod tests;
