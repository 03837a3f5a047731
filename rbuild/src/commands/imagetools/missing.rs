//! What is not there.

use crate::failure::Failure;

/// A failure of fetching, in buildx's words where there is nothing of that name.
pub fn not_found(name: &str, error: client::Error) -> Failure {
    match error {
        client::Error::ManifestNotFound { .. } | client::Error::RepositoryNotFound { .. } => {
            Failure::new(format!("{name}: not found"))
        }
        other => other.into(),
    }
}
