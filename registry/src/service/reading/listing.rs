//! Lists: repositories, tags, referrers.

use oci::manifest::MAX_MANIFEST_SIZE;
use oci::{Digest, media_type};
use serde_json::{Value, json};

use crate::meta::{Page, Referrer, Usage};
use crate::name::RepositoryName;
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// The most entries in one page, whatever is asked for; the next page is linked.
pub const MAX_PAGE: u32 = 10_000;
/// Referrers in one page.
const REFERRERS_PAGE: u32 = 500;

/// One page of a referrers list.
#[derive(Debug)]
pub struct Referrers {
    /// The index to be served.
    pub index: Value,
    /// Where the next page begins, when there is one.
    pub next: Option<String>,
}

impl Registry {
    /// How much there is of everything.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn usage(&self) -> Result<Usage, ServiceError> {
        Ok(self.meta.usage().await?)
    }

    /// Up to `n` repositories after `last`, from `first` to `end`.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn catalog(
        &self,
        n: u32,
        last: &str,
        first: &str,
        end: &str,
    ) -> Result<Page, ServiceError> {
        let n = n.min(MAX_PAGE);
        Ok(self.meta.repositories(n, last, first, end).await?)
    }

    /// Up to `n` tags after `last`.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`].
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        n: u32,
        last: &str,
    ) -> Result<Page, ServiceError> {
        self.meta
            .tags(repository, n.min(MAX_PAGE), last)
            .await?
            .ok_or_else(|| ServiceError::NameUnknown(repository.clone()))
    }

    /// Those of `names` that are no tags of a repository here, in the same order.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn tags_not_here(
        &self,
        repository: &RepositoryName,
        names: &[String],
    ) -> Result<Vec<String>, ServiceError> {
        Ok(self.meta.tags_not_here(repository, names).await?)
    }

    /// The manifests whose subject is `subject`, as an index; a page holds as many as fit into the
    /// size that every client takes for a manifest.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: &str,
    ) -> Result<Referrers, ServiceError> {
        let (referrers, mut more) = self
            .meta
            .referrers(repository, subject, artifact_type, REFERRERS_PAGE, last)
            .await?;
        let mut manifests = Vec::with_capacity(referrers.len());
        let mut size = 200;
        let mut next = None;
        for referrer in referrers {
            let entry = descriptor(&referrer);
            size += entry.to_string().len() + 1;
            if size > MAX_MANIFEST_SIZE && !manifests.is_empty() {
                more = true;
                break;
            }
            next = Some(referrer.row.digest.to_string());
            manifests.push(entry);
        }
        Ok(Referrers {
            index: json!({
                "schemaVersion": 2,
                "mediaType": media_type::OCI_INDEX,
                "manifests": manifests,
            }),
            next: next.filter(|_| more),
        })
    }
}

fn descriptor(referrer: &Referrer) -> Value {
    let mut entry = json!({
        "mediaType": referrer.row.media_type.as_str(),
        "digest": referrer.row.digest.to_string(),
        "size": referrer.row.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        entry["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        entry["annotations"] = json!(referrer.annotations);
    }
    entry
}
