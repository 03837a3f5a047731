//! What a cache knows, whatever form it has.

use oci::{ChainId, Descriptor, DiffId, Digest};

/// What is looked up: the key, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// The layer that a step makes.
    Step(Digest),
    /// What a step takes from layers, so that nobody needs those layers to know the step's key.
    Files(Digest),
}

impl Name {
    /// The key.
    pub fn key(&self) -> &Digest {
        match self {
            Self::Step(key) | Self::Files(key) => key,
        }
    }

    /// The tag that an entry has in a registry or layout.
    pub fn tag(&self, prefix: Option<&str>) -> String {
        let kind = match self {
            Self::Step(_) => "step",
            Self::Files(_) => "files",
        };
        let hex = self.key().hex();
        match prefix {
            Some(prefix) => format!("{prefix}-{kind}-{hex}"),
            None => format!("{kind}-{hex}"),
        }
    }
}

/// The longest prefix of a tag that leaves room for what follows: 128 characters less `-files-`
/// and 64 digits.
pub const MAX_PREFIX: usize = 57;

/// Names and digests of what a step takes.
pub type Files = Vec<(String, String)>;

/// The layer that a step makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The layer.
    pub diff_id: DiffId,
    /// When it was made, RFC 3339.
    pub created: String,
    /// It as it can be fetched; `None` where it is only known which layer it is. Keys of steps that
    /// take from it need no more.
    pub blob: Option<Descriptor>,
}

/// What a cache has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Of [`Name::Step`].
    Step(Box<Step>),
    /// Of [`Name::Files`].
    Files(Files),
}

/// What is to be written under a name.
#[derive(Clone, Debug)]
pub enum Draft {
    /// A layer of the store, or one that can be had elsewhere.
    Step {
        /// The layer.
        diff_id: DiffId,
        /// A stack with it on top.
        chain_id: ChainId,
        /// When it was made, RFC 3339.
        created: String,
        /// The layer itself is to be had nowhere.
        hollow: bool,
    },
    /// Of [`Name::Files`].
    Files(Files),
}

/// An entry that is none: it is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A time as configurations have it.
///
/// # Errors
/// [`Malformed`]
pub(super) fn check_time(text: &str) -> Result<(), Malformed> {
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(e) => Err(Malformed(format!("its time of creation: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_one() {
        let key = Digest::sha256(b"key");
        let prefix = "x".repeat(MAX_PREFIX);
        for name in [Name::Step(key.clone()), Name::Files(key)] {
            for prefix in [None, Some("main"), Some(prefix.as_str())] {
                let tag = name.tag(prefix);
                assert!(oci::reference::is_tag(&tag), "{tag}");
            }
        }
    }
}
