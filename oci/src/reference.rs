//! Image references with Docker's normalisation: `app:v1` is `docker.io/library/app:v1`.
//!
//! The grammar is the one of distribution's reference package, which `docker` applies to
//! everything typed on its command line: `[domain/]path[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// The domain that a name without one belongs to.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag that is meant when none is given.
pub const DEFAULT_TAG: &str = "latest";

const OFFICIAL_PREFIX: &str = "library/";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A repository: a registry's domain and a path on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    domain: String,
    path: String,
}

impl Repository {
    /// The registry's host, and port where given.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path on the registry, such as `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The short form that Docker shows: without the default domain and `library/`.
    pub fn familiar(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.to_string();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = s.parse()?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(ReferenceError::NotBare);
        }
        Ok(reference.repository)
    }
}

/// A repository, and perhaps a tag and a digest in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference. The texts are Docker's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("repository name must have at least one component")]
    Empty,
    /// Upper-case letters in the path.
    #[error("repository name must be lowercase")]
    Uppercase,
    /// Anything else that the grammar does not allow.
    #[error("invalid reference format")]
    Format,
    /// More than 255 characters of name.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// 64 hex digits, which read like an image ID.
    #[error("invalid repository name, cannot specify 64-byte hexadecimal strings")]
    HexName,
    /// A digest that is none.
    #[error("invalid digest in reference: {0}")]
    Digest(DigestError),
    /// A tag or digest where only a repository is meant.
    #[error("a repository name was expected, without tag or digest")]
    NotBare,
}

impl From<DigestError> for ReferenceError {
    fn from(cause: DigestError) -> Self {
        Self::Digest(cause)
    }
}

impl Reference {
    /// A reference from its parts.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] when `tag` is not a tag.
    pub fn new(repository: Repository, tag: Option<&str>) -> Result<Self, ReferenceError> {
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        Ok(Self {
            repository,
            tag: tag.map(str::to_owned),
            digest: None,
        })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same, with the tag `latest` where neither tag nor digest was given.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository by digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// What a registry's `/manifests/` route takes: the digest if there is one, else the tag.
    pub fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The short form that Docker shows.
    pub fn familiar(&self) -> String {
        self.render(self.repository.familiar())
    }

    fn render(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(self.repository.to_string()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        if s.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if s.len() == 64
            && s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(ReferenceError::HexName);
        }
        let (rest, digest) = match s.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (s, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = match name.split_once('/') {
            Some((domain, path)) if is_domain_like(domain) => (domain, path.to_owned()),
            _ if name.contains('/') => (DEFAULT_DOMAIN, name.to_owned()),
            _ => (DEFAULT_DOMAIN, format!("{OFFICIAL_PREFIX}{name}")),
        };
        let domain = if domain == "index.docker.io" {
            DEFAULT_DOMAIN
        } else {
            domain
        };
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL_PREFIX}{path}")
        } else {
            path
        };
        if !is_domain(domain) {
            return Err(ReferenceError::Format);
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase);
        }
        if !is_path(&path) {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            repository: Repository {
                domain: domain.to_owned(),
                path,
            },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether the part before the first slash is a registry rather than a path component.
fn is_domain_like(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, "")) => (v6, None),
            Some((v6, port)) => (v6, Some(port)),
            None => return false,
        },
        None => match domain.split_once(':') {
            Some((host, _)) => (host, Some(&domain[host.len()..])),
            None => (domain, None),
        },
    };
    let port_ok = port.is_none_or(|p| {
        p.strip_prefix(':')
            .is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    });
    let host_ok = if domain.starts_with('[') {
        host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') && host.contains(':')
    } else {
        host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    port_ok && host_ok
}

/// Whether `path` is a repository path as the distribution-spec has it (`<name>`).
pub fn is_path(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alnum(first) || !alnum(last) {
        return false;
    }
    // Separators: one dot, one or two underscores, or any number of dashes.
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        while i < bytes.len() && !alnum(bytes[i]) {
            i += 1;
        }
        let separator = &bytes[start..i];
        let fine =
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-');
        if !fine {
            return false;
        }
        while i < bytes.len() && alnum(bytes[i]) {
            i += 1;
        }
    }
    true
}

/// Whether `tag` is a tag as the distribution-spec has it.
pub fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises_as_docker_does() {
        for (text, full, familiar) in [
            ("app:v1", "docker.io/library/app:v1", "app:v1"),
            ("busybox", "docker.io/library/busybox", "busybox"),
            (
                "docker.io/library/debian",
                "docker.io/library/debian",
                "debian",
            ),
            (
                "index.docker.io/debian",
                "docker.io/library/debian",
                "debian",
            ),
            ("me/app", "docker.io/me/app", "me/app"),
            (
                "localhost:5000/app:v1",
                "localhost:5000/app:v1",
                "localhost:5000/app:v1",
            ),
            ("localhost/app", "localhost/app", "localhost/app"),
            (
                "daocloud.io/library/mysql:5",
                "daocloud.io/library/mysql:5",
                "daocloud.io/library/mysql:5",
            ),
            (
                "127.0.0.1:5000/a/b/c__d.e-f",
                "127.0.0.1:5000/a/b/c__d.e-f",
                "127.0.0.1:5000/a/b/c__d.e-f",
            ),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let hex = "a".repeat(64);
        let long = format!("a/{}", "b".repeat(256));
        for (text, why) in [
            ("", ReferenceError::Empty),
            ("App", ReferenceError::Uppercase),
            ("a//b", ReferenceError::Format),
            ("../etc", ReferenceError::Format),
            ("a:", ReferenceError::Format),
            ("a:b c", ReferenceError::Format),
            ("a___b", ReferenceError::Format),
            ("-a", ReferenceError::Format),
            ("host:port/a", ReferenceError::Format),
            (hex.as_str(), ReferenceError::HexName),
            (long.as_str(), ReferenceError::TooLong),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap_err(), why, "{text}");
        }
        assert!(matches!(
            "a@sha256:x".parse::<Reference>(),
            Err(ReferenceError::Digest(_))
        ));
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let digest = Digest::sha256(b"x");
        let reference: Reference = format!("app:v1@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), Some("v1"));
        assert_eq!(reference.manifest_key(), digest.to_string());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_stable(text in "\\PC{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again: Reference = reference.to_string().parse().unwrap();
                prop_assert_eq!(again, reference);
            }
        }
    }
}
