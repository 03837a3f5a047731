//! What a request names: repositories, tags, manifests and upload sessions.
//!
//! Each type can only hold what its grammar allows (distribution-spec, "Pulling manifests"), so
//! that none of them can leave the directory or the row it is meant for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use oci::Digest;
use oci::reference::{is_path, is_tag};

/// The longest repository name in bytes, as in Docker's registry.
const MAX_REPOSITORY_NAME: usize = 255;

/// Why a text names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a repository name.
    #[error(
        "invalid repository name: lower-case letters, digits and single separators in \
         slash-separated parts, {MAX_REPOSITORY_NAME} bytes at most"
    )]
    Repository,
    /// Not a tag.
    #[error("invalid tag: a letter, digit or underscore, then up to 127 of those, dots and dashes")]
    Tag,
    /// Not an upload session's ID.
    #[error("invalid upload session ID")]
    Upload,
}

/// A repository's name, with any number of segments.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if s.len() <= MAX_REPOSITORY_NAME && is_path(s) {
            Ok(Self(s.into()))
        } else {
            Err(NameError::Repository)
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A tag's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        if is_tag(s) {
            Ok(Self(s.into()))
        } else {
            Err(NameError::Tag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How a request names a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManifestRef {
    /// Whatever the tag points to now.
    Tag(Tag),
    /// Exactly these bytes.
    Digest(Digest),
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An upload session's ID: a UUID, unguessable.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(uuid::Uuid);

impl UploadId {
    /// A new random one.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl FromStr for UploadId {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        // Only the hyphenated form: one session has one name.
        if s.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(NameError::Upload);
        }
        uuid::Uuid::try_parse(s)
            .map(Self)
            .map_err(|_| NameError::Upload)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        for name in [
            "app",
            "library/app",
            "daocloud.io/library/mysql",
            "a__b/c-d.e",
        ] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(MAX_REPOSITORY_NAME + 1);
        for name in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", "A", "a b", "a\0", "a%2fb", "-a", &long,
        ] {
            assert_eq!(
                name.parse::<RepositoryName>(),
                Err(NameError::Repository),
                "{name}"
            );
        }
    }

    #[test]
    fn upload_ids_have_one_spelling() {
        let id = UploadId::random();
        assert_eq!(id.to_string().parse::<UploadId>().unwrap(), id);
        for text in [
            "",
            "..",
            "../../etc/passwd",
            &id.to_string().replace('-', ""),
        ] {
            assert!(text.parse::<UploadId>().is_err(), "{text}");
        }
    }
}
