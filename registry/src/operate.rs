//! What operators do with a registry, as values: asked of a running one over its socket, done by
//! the command itself otherwise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::RequestOrigin;
use crate::meta::{ListQuery, MetaError, Precondition};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::{Registry, ServiceError};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A page of repositories.
    Repositories(ListQuery),
    /// A page of a repository's tags.
    Tags(String, ListQuery),
    /// One image: repository, and tag or digest.
    Image(String, String),
    /// Repositories by words, so many at most.
    Search(String, usize),
    /// What a deletion would take.
    Preview(Target),
    /// A deletion.
    Delete(Target),
    /// Where tags of a repository pointed, or one of them.
    Past(String, Option<String>),
    /// Tags put back: repository, tag, digest.
    Restore(String, Option<String>, Option<String>),
}

/// What is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The repository.
    pub repository: String,
    /// A tag, or the digest of a manifest; none for the whole repository.
    pub reference: Option<String>,
}

/// Places of tags that are told.
const PLACES: u32 = 1000;

/// Does it for `by`; the answer is what the method of [`Registry`] returns, as JSON.
///
/// # Errors
/// [`ServiceError`].
pub async fn operate(
    registry: &Arc<Registry>,
    operation: &Operation,
    by: &RequestOrigin,
) -> Result<Value, ServiceError> {
    let answer = match operation {
        Operation::Repositories(query) => {
            registry.fill_lists().await?;
            serde_json::to_value(registry.repository_entries(query, "", "~").await?)
        }
        Operation::Tags(name, query) => {
            registry.fill_lists().await?;
            serde_json::to_value(registry.tag_entries(&repository(name)?, query).await?)
        }
        Operation::Image(name, reference) => {
            let (name, reference) = (repository(name)?, manifest(reference)?);
            serde_json::to_value(registry.image(&name, &reference).await?)
        }
        Operation::Search(text, n) => {
            registry.fill_lists().await?;
            serde_json::to_value(registry.search(text, *n, |_| true).await?)
        }
        Operation::Preview(target) => {
            let name = repository(&target.repository)?;
            serde_json::to_value(match &target.reference {
                None => registry.preview_repository(&name).await?,
                Some(text) => registry.preview_manifest(&name, &manifest(text)?).await?,
            })
        }
        Operation::Delete(target) => {
            let name = repository(&target.repository)?;
            match &target.reference {
                None => serde_json::to_value(registry.delete_repository(&name, by).await?),
                Some(text) => {
                    let reference = manifest(text)?;
                    let preview = registry.preview_manifest(&name, &reference).await?;
                    let any = Precondition::default();
                    registry.delete_manifest(&name, &reference, any, by).await?;
                    serde_json::to_value(preview.going)
                }
            }
        }
        Operation::Past(name, tag) => {
            let name = repository(name)?;
            serde_json::to_value(registry.tag_past(&name, tag.as_deref(), PLACES).await?)
        }
        Operation::Restore(name, tag, digest) => {
            let name = repository(name)?;
            let tag = tag.as_deref().map(str::parse).transpose();
            let tag = tag.map_err(ServiceError::from)?;
            let digest = digest.as_deref().map(digest_of).transpose()?;
            let restored = registry.undelete(&name, tag.as_ref(), digest.as_ref(), by);
            serde_json::to_value(restored.await?)
        }
    };
    answer.map_err(|e| MetaError::Corrupt(format!("an answer as JSON: {e}")).into())
}

fn repository(name: &str) -> Result<RepositoryName, ServiceError> {
    Ok(name.parse()?)
}

fn digest_of(text: &str) -> Result<oci::Digest, ServiceError> {
    text.parse().map_err(|cause| ServiceError::DigestFormat {
        text: text.to_owned(),
        cause,
    })
}

/// A tag has no colon, a digest has one.
fn manifest(text: &str) -> Result<ManifestRef, ServiceError> {
    match text.contains(':') {
        true => digest_of(text).map(ManifestRef::Digest),
        false => Ok(ManifestRef::Tag(text.parse()?)),
    }
}
