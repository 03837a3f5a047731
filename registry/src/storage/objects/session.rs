//! An upload session as an object, so that whoever has the store can go on with it.
//!
//! `uploads/<id>/session` is a line of JSON and then the bytes that are not yet in a part: those
//! two cannot disagree, since they are written at once. The parts are those of an object that is
//! not complete, `uploads/<id>/data`.

use bytes::Bytes;
use oci::Algorithm;
use oci::digest::Hasher;
use serde::{Deserialize, Serialize};

use crate::name::RepositoryName;

/// The form of the line; whoever finds another one cannot go on.
const VERSION: u32 = 1;

/// What comes first.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    version: u32,
    repository: Option<String>,
    /// The key of what is to be aborted, where it is not that of the upload itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    algorithm: String,
    received: u64,
    hash: String,
    upload: Option<String>,
    parts: Vec<String>,
    tail: u64,
}

/// The bytes that came after the last part.
#[derive(Clone, Debug)]
pub(in crate::storage) enum Tail {
    /// Here.
    Here(Bytes),
    /// In an object of the upload, from `at` on.
    There {
        object: &'static str,
        at: u64,
        len: u64,
    },
}

/// An upload session.
#[derive(Clone, Debug)]
pub(in crate::storage) struct Session {
    /// Whose it is; nobody's is what only has to be cleaned up.
    pub(super) repository: Option<RepositoryName>,
    /// The key of an object that is coming in parts, where it is not the upload's own.
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
    /// Bytes of it.
    pub(super) received: u64,
    /// The hash of those.
    pub(super) hasher: Hasher,
    /// What the store calls the object that is coming in parts.
    pub(super) upload: Option<String>,
    /// What it calls the parts that came.
    pub(super) parts: Vec<String>,
    pub(super) tail: Tail,
    /// Whether a client knows of it, and may go on with it.
    pub(super) named: bool,
    /// Whether there is an object of it.
    pub(super) saved: bool,
}

/// The object of a session.
pub(super) const SESSION: &str = "session";
/// The object that the parts become.
pub(super) const DATA: &str = "data";
/// Bytes that were put aside while their client made others wait.
pub(super) const REST: &str = "rest";

impl Tail {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::There { len, .. } => *len,
        }
    }
}

impl Session {
    pub(super) fn new(repository: Option<RepositoryName>, algorithm: Algorithm) -> Self {
        Self {
            repository,
            key: None,
            algorithm,
            received: 0,
            hasher: algorithm.hasher(),
            upload: None,
            parts: Vec::new(),
            tail: Tail::Here(Bytes::new()),
            named: true,
            saved: false,
        }
    }

    /// The line that its object begins with; the bytes of its tail come after it.
    pub(super) fn line(&self) -> Bytes {
        let line = Line {
            version: VERSION,
            repository: self.repository.as_ref().map(ToString::to_string),
            key: self.key.clone(),
            algorithm: self.algorithm.to_string(),
            received: self.received,
            hash: hex(&self.hasher.save()),
            upload: self.upload.clone(),
            parts: self.parts.clone(),
            tail: self.tail.len(),
        };
        // Of texts and numbers there is always a text.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        text.into()
    }

    /// A session from the beginning of its object. `None` when the line is not all there; the inner
    /// one when it is none that can be gone on with.
    pub(super) fn read(start: &Bytes) -> Option<Option<Self>> {
        let end = start.iter().position(|&b| b == b'\n')?;
        Some(Self::of_line(&start[..end], start.slice(end + 1..)))
    }

    fn of_line(text: &[u8], after: Bytes) -> Option<Self> {
        let line: Line = serde_json::from_slice(text).ok()?;
        let algorithm = line.algorithm.parse().ok()?;
        let tail = match usize::try_from(line.tail) {
            Ok(len) if len <= after.len() => Tail::Here(Bytes::copy_from_slice(&after[..len])),
            _ => Tail::There {
                object: SESSION,
                at: text.len() as u64 + 1,
                len: line.tail,
            },
        };
        let repository = match line.repository {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        (line.version == VERSION).then_some(Self {
            repository,
            key: line.key,
            algorithm,
            received: line.received,
            hasher: Hasher::restore(algorithm, &unhex(&line.hash)?)?,
            upload: line.upload,
            parts: line.parts,
            tail,
            named: true,
            saved: true,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_on_from_its_object() {
        let mut session = Session::new(Some("team/app".parse().unwrap()), Algorithm::Sha256);
        session.hasher.update(b"hello ");
        session.received = 6;
        session.upload = Some("id".to_owned());
        session.parts = vec!["\"etag\"".to_owned()];
        session.tail = Tail::Here(Bytes::from_static(b"lo "));
        let object = [session.line(), Bytes::from_static(b"lo ")].concat();
        let mut again = Session::read(&object.clone().into()).unwrap().unwrap();
        again.hasher.update(b"world");
        let digest = Algorithm::Sha256.digest(b"hello world");
        assert_eq!(again.hasher.clone().finish(), digest);
        assert_eq!(again.parts, session.parts);
        assert!(matches!(&again.tail, Tail::Here(bytes) if bytes == "lo "));
        // Where the beginning is all that came.
        let short = Bytes::from(object).slice(..object_line(&session));
        let again = Session::read(&short).unwrap().unwrap();
        assert!(matches!(again.tail, Tail::There { len: 3, .. }));
        assert!(Session::read(&short.slice(..5)).is_none());
        // Of another version, or damaged.
        for wrong in ["{\"version\":2}\n", "\n", "{}\n"] {
            assert!(Session::read(&Bytes::from(wrong)).unwrap().is_none());
        }
    }

    fn object_line(session: &Session) -> usize {
        session.line().len()
    }
}
