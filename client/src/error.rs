//! What can go wrong between us and a registry, in the words that docker uses.

use std::fmt;

use oci::blob::BlobError;
use oci::manifest::ManifestError;
use oci::{Digest, Platform};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::retry::is_transient;
use crate::text::printable;

/// One entry of a registry's error document (distribution-spec, "Error Codes").
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// The code, such as `MANIFEST_UNKNOWN`.
    #[serde(default)]
    pub code: String,
    /// Words for a human.
    #[serde(default)]
    pub message: String,
    /// Whatever the registry adds.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// An answer that was not the one hoped for.
#[derive(Clone, Debug)]
pub struct RegistryError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The errors in the body; empty when it was no error document.
    pub errors: Vec<ApiError>,
    /// When to come back (`Retry-After`), as it came: seconds, or a date.
    pub retry_after: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    errors: Vec<ApiError>,
    // Token servers answer in the words of OAuth2 or of their framework.
    details: Option<String>,
    error_description: Option<String>,
    message: Option<String>,
}

impl RegistryError {
    /// Reads the body of an error answer; whatever is no error document counts as empty.
    pub fn parse(status: StatusCode, body: &[u8]) -> Self {
        let errors = match serde_json::from_slice::<Document>(body) {
            Ok(document) if !document.errors.is_empty() => document.errors,
            Ok(document) => document
                .details
                .or(document.error_description)
                .or(document.message)
                .map(|message| ApiError {
                    code: code_of(status).to_owned(),
                    message,
                    detail: serde_json::Value::Null,
                })
                .into_iter()
                .collect(),
            Err(_) => Vec::new(),
        };
        Self {
            status,
            errors,
            retry_after: None,
        }
    }

    /// Whether the registry gave this code.
    pub fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|e| e.code == code)
    }
}

/// The code that a bare status stands for.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() {
            return match self.status {
                StatusCode::UNAUTHORIZED => f.write_str("unauthorized: authentication required"),
                StatusCode::FORBIDDEN => {
                    f.write_str("denied: requested access to the resource is denied")
                }
                status => write!(f, "unexpected status from the registry: {status}"),
            };
        }
        for (i, error) in self.errors.iter().take(5).enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            let code = printable(&error.code).to_lowercase().replace('_', " ");
            if error.message.is_empty() {
                f.write_str(&code)?;
            } else {
                write!(f, "{code}: {}", printable(&error.message))?;
            }
        }
        Ok(())
    }
}

/// An addition to an error, such as why no credentials were sent; shown in parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note(pub Option<String>);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// Why an operation of the client failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tag or digest is not there.
    #[error("manifest for {reference} not found: {cause}")]
    ManifestNotFound {
        /// What was asked for, in the short form.
        reference: String,
        /// The registry's answer.
        cause: RegistryError,
    },
    /// The registry does not know the repository.
    #[error("repository {repository} not found: {cause}")]
    RepositoryNotFound {
        /// The repository, in the short form.
        repository: String,
        /// The registry's answer.
        cause: RegistryError,
    },
    /// Reading is not allowed, or there is nothing: registries do not tell which.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require \
         authorization: {cause}{note}"
    )]
    PullDenied {
        /// The repository, in the short form.
        repository: String,
        /// The registry's answer.
        cause: RegistryError,
        /// What was odd about the credentials.
        note: Note,
    },
    /// 401: no credentials, or wrong ones.
    #[error("{cause}{note}")]
    Unauthorized {
        /// The registry's or token server's answer.
        cause: RegistryError,
        /// What was odd about the credentials.
        note: Note,
    },
    /// 403: the credentials do not suffice.
    #[error("{cause}{note}")]
    Denied {
        /// The registry's answer.
        cause: RegistryError,
        /// What was odd about the credentials.
        note: Note,
    },
    /// Any other answer that is not the one hoped for.
    #[error("{what}: {cause}")]
    Registry {
        /// What was asked, with the URL.
        what: String,
        /// The registry's answer.
        cause: RegistryError,
    },
    /// No connection, or none that can be trusted.
    #[error("cannot reach registry {registry} at {url}: {reason}{hint}")]
    Connect {
        /// The registry's name as the user wrote it.
        registry: String,
        /// The URL, without its query.
        url: String,
        /// Why.
        reason: String,
        /// How to mend it.
        hint: Note,
    },
    /// The connection broke, or nothing came for too long.
    #[error("{what}: {reason}")]
    Transport {
        /// What was being done, with the URL.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// More bytes than are ever read of such a document.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was being read.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Content that is not what its name says.
    #[error("{what}: digest mismatch: expected {expected}, the content is {actual}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// Content that is longer or shorter than its descriptor says.
    #[error("{what}: expected {expected} bytes, the registry sends {actual}")]
    SizeMismatch {
        /// What was read.
        what: String,
        /// The size in the descriptor.
        expected: u64,
        /// The size that came.
        actual: u64,
    },
    /// An answer that breaks the protocol.
    #[error("{what}: {reason}")]
    Protocol {
        /// What was being done, with the URL.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A manifest that cannot be trusted or understood.
    #[error("invalid manifest for {reference}: {cause}")]
    Manifest {
        /// What was asked for.
        reference: String,
        /// What is wrong with it.
        cause: ManifestError,
    },
    /// An image in the format before 2016.
    #[error(
        "{reference} is an image manifest v2 schema 1, which is no longer supported: pull it \
         with an old docker and push it again with a current one"
    )]
    Schema1 {
        /// What was asked for.
        reference: String,
    },
    /// The index has no image for the platform.
    #[error(
        "no matching manifest for {wanted} in the manifest list entries of {reference}: it has {}",
        list(available)
    )]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// The platform asked for.
        wanted: Box<Platform>,
        /// The platforms there are.
        available: Vec<Platform>,
    },
    /// The local blob store failed.
    #[error("{what}: {cause}")]
    Blob {
        /// What was being done.
        what: String,
        /// Why it failed.
        cause: BlobError,
    },
    /// Credentials that the registry does not accept.
    #[error("login to {registry} failed: {reason}")]
    Login {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// A thread or task of ours ended early.
    #[error("{0} was interrupted")]
    Interrupted(&'static str),
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none that names its platform".to_owned();
    }
    let names: Vec<_> = platforms
        .iter()
        .take(40)
        .map(|p| printable(&p.to_string()))
        .collect();
    names.join(", ")
}

impl Error {
    /// The registry's own answer, where there is one.
    pub fn registry_error(&self) -> Option<&RegistryError> {
        match self {
            Self::ManifestNotFound { cause, .. }
            | Self::RepositoryNotFound { cause, .. }
            | Self::PullDenied { cause, .. }
            | Self::Unauthorized { cause, .. }
            | Self::Denied { cause, .. }
            | Self::Registry { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Whether trying the same again, soon, may well succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Registry { cause, .. } => is_transient(cause.status),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_docker_prints_them() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        let cause = RegistryError::parse(StatusCode::NOT_FOUND, body);
        assert!(cause.has("MANIFEST_UNKNOWN"));
        let error = Error::ManifestNotFound {
            reference: "app:x".into(),
            cause,
        };
        assert_eq!(
            error.to_string(),
            "manifest for app:x not found: manifest unknown: manifest unknown"
        );
    }

    #[test]
    fn a_body_that_is_no_error_document_still_reads_well() {
        for (status, body, shown) in [
            (401, "", "unauthorized: authentication required"),
            (
                403,
                "<html>",
                "denied: requested access to the resource is denied",
            ),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized: incorrect username or password",
            ),
            (
                502,
                "oops",
                "unexpected status from the registry: 502 Bad Gateway",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = RegistryError::parse(status, body.as_bytes());
            assert_eq!(error.to_string(), shown);
        }
    }

    #[test]
    fn terminal_escapes_do_not_pass() {
        let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"a\\u001b[31mb\"}]}";
        let shown = RegistryError::parse(StatusCode::BAD_REQUEST, body.as_bytes()).to_string();
        assert_eq!(shown, "x: a [31mb");
        assert_eq!(printable(&"é".repeat(600)).chars().count(), 501);
    }
}
