//! What lists show of repositories and tags.

use oci::{Digest, ManifestDocument};

use super::listing::MAX_PAGE;
use crate::describe::{ConfigFacts, Description, MAX_CONFIG, describe, platform_of};
use crate::meta::{ListQuery, Listing, RepositoryEntry, TagEntry};
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::policy::is_companion;
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// Children of an index that are looked at for what it can be found by.
const CHILDREN: usize = 3;

impl Registry {
    /// A page of the repositories whose names are from `first` to `end`, in byte order.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn repository_entries(
        &self,
        query: &ListQuery,
        first: &str,
        end: &str,
    ) -> Result<Listing<RepositoryEntry>, ServiceError> {
        let query = ListQuery {
            n: query.n.min(MAX_PAGE),
            ..query.clone()
        };
        Ok(self.meta.repository_entries(&query, first, end).await?)
    }

    /// One repository as lists show it.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`].
    pub async fn repository_entry(
        &self,
        repository: &RepositoryName,
    ) -> Result<RepositoryEntry, ServiceError> {
        let entry = self.meta.repository_entry(repository).await?;
        entry.ok_or_else(|| ServiceError::NameUnknown(repository.clone()))
    }

    /// A page of a repository's tags.
    ///
    /// # Errors
    /// [`ServiceError::NameUnknown`].
    pub async fn tag_entries(
        &self,
        repository: &RepositoryName,
        query: &ListQuery,
    ) -> Result<Listing<TagEntry>, ServiceError> {
        let query = ListQuery {
            n: query.n.min(MAX_PAGE),
            ..query.clone()
        };
        let page = self.meta.tag_entries(repository, &query).await?;
        page.ok_or_else(|| ServiceError::NameUnknown(repository.clone()))
    }

    /// What a manifest tells of itself, to be kept when it is pushed with these tags. What cannot
    /// be read is left out: a push does not fail for it.
    pub(in crate::service) async fn description(
        &self,
        repository: &RepositoryName,
        document: &ManifestDocument,
        size: usize,
        tags: &[Tag],
    ) -> Description {
        let config = self.facts(repository, document).await;
        let mut found = describe(document, size as u64, config.as_ref());
        // Signatures and children say nothing of their repository.
        let own = tags.iter().any(|tag| !is_companion(tag.as_str()));
        if !own || document.subject().is_some() {
            found.text = None;
        }
        found
    }

    /// The configuration of an image, or of one of the images that an index lists.
    async fn facts(
        &self,
        repository: &RepositoryName,
        document: &ManifestDocument,
    ) -> Option<ConfigFacts> {
        match document {
            ManifestDocument::Manifest(_) => self.config_of(document).await,
            ManifestDocument::Index(index) => {
                let images = index.manifests.iter();
                let images = images.filter(|entry| platform_of(entry).is_some());
                for entry in images.take(CHILDREN) {
                    // An index may list what only others may see.
                    let child = ManifestRef::Digest(entry.digest.clone());
                    self.meta.manifest(repository, &child).await.ok()??;
                    let bytes = self.small(&entry.digest, entry.size).await;
                    let child = bytes.and_then(|bytes| {
                        ManifestDocument::parse(&bytes, Some(&entry.media_type)).ok()
                    });
                    if let Some(child @ ManifestDocument::Manifest(_)) = child
                        && let Some(config) = self.config_of(&child).await
                    {
                        return Some(config);
                    }
                }
                None
            }
        }
    }

    async fn config_of(&self, document: &ManifestDocument) -> Option<ConfigFacts> {
        let ManifestDocument::Manifest(image) = document else {
            return None;
        };
        if !image.config.media_type.is_image_config() {
            return None;
        }
        let bytes = self.small(&image.config.digest, image.config.size).await?;
        Some(ConfigFacts::read(&bytes))
    }

    /// A blob of a few megabytes at most, as a manifest tells its size and its file has it.
    pub(super) async fn small(&self, digest: &Digest, told: u64) -> Option<bytes::Bytes> {
        if told > MAX_CONFIG {
            return None;
        }
        self.blobs
            .read_up_to(digest, MAX_CONFIG)
            .await
            .ok()
            .flatten()
    }
}
