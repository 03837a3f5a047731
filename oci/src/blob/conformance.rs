//! What every [`BlobStore`] must do, as one suite that each backend's tests run.

use std::io::{Read, Seek, SeekFrom, Write};

use super::store::{BlobError, BlobStore, Expected};
use crate::digest::{Algorithm, Digest};

/// The rule that a backend broke.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// A rule does not hold.
    #[error("{rule}: {found}")]
    Broken {
        /// The rule, in words.
        rule: &'static str,
        /// What was found instead.
        found: String,
    },
    /// An operation failed that must not.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

fn rule<T: std::fmt::Debug>(rule: &'static str, holds: bool, found: T) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation::Broken {
        rule,
        found: format!("{found:?}"),
    })
}

fn put(store: &dyn BlobStore, bytes: &[u8], expected: &Expected) -> Result<Digest, Violation> {
    let mut writer = store.writer()?;
    // In pieces, so that a backend cannot count on one write a blob.
    for piece in bytes.chunks(3) {
        writer.write_all(piece)?;
    }
    writer.flush()?;
    let (digest, size) = writer.commit(expected)?;
    rule(
        "a commit returns the size that was written",
        size == bytes.len() as u64,
        size,
    )?;
    Ok(digest)
}

fn get(store: &dyn BlobStore, digest: &Digest) -> Result<Vec<u8>, Violation> {
    let mut bytes = Vec::new();
    store.open(digest)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs the whole suite, each part on an empty store that `new_store` makes.
///
/// # Errors
/// The first rule that is broken.
pub fn check<S, E>(mut new_store: impl FnMut() -> Result<S, E>) -> Result<(), Violation>
where
    S: BlobStore,
    E: Into<BlobError>,
{
    for part in [
        round_trip,
        invisible_until_commit,
        refuses_what_was_not_promised,
        other_algorithms,
        idempotent,
        removal,
        concurrent_writers,
    ] {
        part(&new_store().map_err(Into::into)?)?;
    }
    Ok(())
}

fn round_trip(store: &dyn BlobStore) -> Result<(), Violation> {
    let missing = Digest::sha256(b"missing");
    rule(
        "a blob that is not there has no size",
        store.size(&missing)?.is_none(),
        "some",
    )?;
    rule(
        "opening a blob that is not there says so",
        matches!(store.open(&missing), Err(BlobError::NotFound(d)) if d == missing),
        "another answer",
    )?;
    for bytes in [&b""[..], b"hello, blob", &[0xff; 100_000]] {
        let digest = put(store, bytes, &Expected::default())?;
        rule(
            "the digest is SHA-256 unless another is asked for",
            digest == Digest::sha256(bytes),
            &digest,
        )?;
        let size = store.size(&digest)?;
        rule("size", size == Some(bytes.len() as u64), size)?;
        rule(
            "what was written is read",
            get(store, &digest)? == bytes,
            &digest,
        )?;
        rule("listed", store.list()?.contains(&digest), store.list()?)?;
    }
    let digest = Digest::sha256(b"hello, blob");
    let mut reader = store.open(&digest)?;
    reader.seek(SeekFrom::Start(7))?;
    let mut tail = String::new();
    reader.read_to_string(&mut tail)?;
    rule("readers seek", tail == "blob", tail)
}

fn invisible_until_commit(store: &dyn BlobStore) -> Result<(), Violation> {
    let digest = Digest::sha256(b"later");
    let mut writer = store.writer()?;
    writer.write_all(b"later")?;
    rule(
        "not visible before the commit",
        store.size(&digest)?.is_none(),
        "visible",
    )?;
    rule(
        "not listed before the commit",
        store.list()?.is_empty(),
        store.list()?,
    )?;
    drop(writer);
    rule(
        "dropped without commit it never was",
        store.list()?.is_empty(),
        store.list()?,
    )
}

fn refuses_what_was_not_promised(store: &dyn BlobStore) -> Result<(), Violation> {
    let other = Digest::sha256(b"other");
    let wrong_digest = Expected {
        digest: Some(other.clone()),
        size: Some(5),
    };
    let answer = put(store, b"bytes", &wrong_digest);
    rule(
        "a wrong digest is refused with both digests",
        matches!(
            &answer,
            Err(Violation::Blob(BlobError::DigestMismatch { expected, actual }))
                if *expected == other && *actual == Digest::sha256(b"bytes")
        ),
        answer,
    )?;
    for size in [4, 6] {
        let wrong_size = Expected {
            digest: Some(Digest::sha256(b"bytes")),
            size: Some(size),
        };
        let answer = put(store, b"bytes", &wrong_size);
        rule(
            "a wrong size is refused with both sizes",
            matches!(
                answer,
                Err(Violation::Blob(BlobError::SizeMismatch { expected, actual: 5 }))
                    if expected == size
            ),
            answer,
        )?;
    }
    rule(
        "nothing refused is visible",
        store.list()?.is_empty(),
        store.list()?,
    )
}

fn other_algorithms(store: &dyn BlobStore) -> Result<(), Violation> {
    let wanted = Algorithm::Sha512.digest(b"bytes");
    let expected = Expected {
        digest: Some(wanted.clone()),
        size: Some(5),
    };
    let digest = put(store, b"bytes", &expected)?;
    rule(
        "named by the algorithm asked for",
        digest == wanted,
        &digest,
    )?;
    rule("readable by it", get(store, &digest)? == b"bytes", &digest)?;
    rule(
        "not by another",
        store.size(&Digest::sha256(b"bytes"))?.is_none(),
        "visible",
    )?;
    rule("listed once", store.list()? == [digest], store.list()?)
}

fn idempotent(store: &dyn BlobStore) -> Result<(), Violation> {
    let first = put(store, b"twice", &Expected::default())?;
    let open = store.open(&first)?;
    let second = put(store, b"twice", &Expected::default())?;
    drop(open);
    rule("the same blob", first == second, (&first, &second))?;
    rule("kept once", store.list()?.len() == 1, store.list()?)
}

fn removal(store: &dyn BlobStore) -> Result<(), Violation> {
    let digest = put(store, b"gone", &Expected::default())?;
    let mut open = store.open(&digest)?;
    store.remove(&digest)?;
    store.remove(&digest)?;
    rule(
        "removed",
        store.size(&digest)?.is_none() && store.list()?.is_empty(),
        store.list()?,
    )?;
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes)?;
    rule(
        "a reader that was open reads on",
        bytes == b"gone",
        bytes.len(),
    )?;
    put(store, b"gone", &Expected::default())?;
    rule("may come back", get(store, &digest)? == b"gone", &digest)
}

fn concurrent_writers(store: &dyn BlobStore) -> Result<(), Violation> {
    let bytes = [7; 50_000];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| put(store, &bytes, &Expected::default())))
            .collect();
        writers.into_iter().map(|writer| writer.join()).collect()
    });
    for answer in answers {
        let digest = match answer {
            Ok(answer) => answer?,
            Err(_) => return rule("writers do not panic", false, "a panic"),
        };
        rule(
            "writers of one blob at once all succeed",
            get(store, &digest)? == bytes,
            &digest,
        )?;
    }
    rule("kept once", store.list()?.len() == 1, store.list()?)
}
