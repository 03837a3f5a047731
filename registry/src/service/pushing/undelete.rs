//! Tags put back where they pointed, as long as what they need is still here.

use std::collections::HashSet;
use std::sync::Arc;

use oci::{Digest, ManifestDocument, MediaType};
use serde::{Deserialize, Serialize};

use super::manifests::Push;
use crate::events::RequestOrigin;
use crate::meta::TagPast;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::state::Registry;

/// Places of tags that are looked at.
const PLACES: u32 = 10_000;
/// How deep indexes list indexes that are put back.
const DEPTH: usize = 3;

/// A tag that was put back, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The tag.
    pub tag: String,
    /// What it points to.
    pub digest: String,
    /// Why it could not be put back; none when it was.
    pub failed: Option<String>,
}

impl Registry {
    /// Where the tags of a repository, or one of them, pointed before; at most `n` places.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn tag_past(
        &self,
        repository: &RepositoryName,
        tag: Option<&str>,
        n: u32,
    ) -> Result<Vec<TagPast>, ServiceError> {
        Ok(self.meta.tag_past(repository, tag, n).await?)
    }

    /// Who pushed a tag, where that is known.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn tag_pushed_by(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<String>, ServiceError> {
        Ok(self.meta.tag_pushed_by(repository, tag).await?)
    }

    /// Puts tags back: `tag` where it pointed last or, with `digest`, at that manifest; without
    /// `tag` all that were deleted. What was collected since cannot come back: that is told of
    /// each.
    ///
    /// # Errors
    /// [`ServiceError::NothingToRestore`] when nothing is known of such a tag.
    pub async fn undelete(
        self: &Arc<Self>,
        repository: &RepositoryName,
        tag: Option<&Tag>,
        digest: Option<&Digest>,
        by: &RequestOrigin,
    ) -> Result<Vec<Restored>, ServiceError> {
        let name = tag.map(Tag::as_str);
        let mut past = self.meta.tag_past(repository, name, PLACES).await?;
        let mut seen = HashSet::new();
        past.retain(|place| {
            let wanted = digest.is_none_or(|digest| digest.to_string() == place.digest);
            // What was replaced on purpose is put back only where it is asked for.
            wanted && (tag.is_some() || !place.moved) && seen.insert(place.tag.clone())
        });
        if past.is_empty() {
            return Err(ServiceError::NothingToRestore(repository.clone()));
        }
        let mut restored = Vec::with_capacity(past.len());
        for place in past {
            let done = self.put_tag_back(repository, &place, by).await;
            restored.push(Restored {
                tag: place.tag,
                digest: place.digest,
                failed: done.err().map(|e| e.to_string()),
            });
        }
        Ok(restored)
    }

    async fn put_tag_back(
        self: &Arc<Self>,
        repository: &RepositoryName,
        place: &TagPast,
        by: &RequestOrigin,
    ) -> Result<(), ServiceError> {
        let reference = ManifestRef::Tag(place.tag.parse()?);
        let digest: Digest = place
            .digest
            .parse()
            .map_err(|cause| ServiceError::DigestFormat {
                text: place.digest.clone(),
                cause,
            })?;
        let media_type = MediaType::new(place.media_type.clone());
        let push = self.kept(repository, &digest, &media_type).await?;
        // An index may list what only others may see, where that is allowed.
        if !self.policy().sparse_indexes {
            self.put_children_back(repository, &push, DEPTH).await?;
        }
        if digest.algorithm() == oci::Algorithm::Sha256 {
            self.put_manifest(repository, &reference, push, by).await?;
        } else {
            let ManifestRef::Tag(tag) = reference else {
                return Ok(());
            };
            let push = Push {
                tags: vec![tag],
                ..push
            };
            let reference = ManifestRef::Digest(digest);
            self.put_manifest(repository, &reference, push, by).await?;
        }
        Ok(())
    }

    /// A manifest whose bytes are still here.
    async fn kept(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        media_type: &MediaType,
    ) -> Result<Push, ServiceError> {
        let bytes = self.blobs.read(digest).await?;
        let bytes = bytes.ok_or_else(|| ServiceError::ManifestUnknown {
            repository: repository.clone(),
            reference: ManifestRef::Digest(digest.clone()),
        })?;
        Ok(Push {
            bytes,
            content_type: Some(media_type.clone()),
            ..Push::default()
        })
    }

    /// Puts back what an index lists and that is not shown any more.
    async fn put_children_back(
        self: &Arc<Self>,
        repository: &RepositoryName,
        index: &Push,
        depth: usize,
    ) -> Result<(), ServiceError> {
        let parsed = ManifestDocument::parse(&index.bytes, index.content_type.as_ref());
        let Ok(ManifestDocument::Index(listed)) = parsed else {
            return Ok(());
        };
        for child in &listed.manifests {
            let reference = ManifestRef::Digest(child.digest.clone());
            if depth == 0 || self.meta.manifest(repository, &reference).await?.is_some() {
                continue;
            }
            if !child.media_type.is_manifest() && !child.media_type.is_index() {
                continue;
            }
            let push = self
                .kept(repository, &child.digest, &child.media_type)
                .await?;
            Box::pin(self.put_children_back(repository, &push, depth - 1)).await?;
            self.put_back(repository, &child.digest, push).await?;
        }
        Ok(())
    }
}
