//! Manifests as they are pushed, and stored as the bytes that came.

use std::sync::Arc;

use bytes::Bytes;
use oci::manifest::{MAX_MANIFEST_SIZE, ManifestError};
use oci::{Digest, ManifestDocument, MediaType};

use super::needs::{expected, needs};
use crate::describe::Description;
use crate::events::{Action, Happened, Notice, RequestOrigin, Target};
use crate::meta::{Admit, ManifestRow, NewManifest, Precondition, Put};
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::state::{MANIFEST_WEIGHT, Registry, StoredManifest, key};

/// A manifest as it is pushed.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// Its bytes.
    pub bytes: Bytes,
    /// What its sender says that it is.
    pub content_type: Option<MediaType>,
    /// Tags for it, beside the one that it is pushed as.
    pub tags: Vec<Tag>,
    /// What must be true of what its reference names until then.
    pub precondition: Precondition,
}

/// What pushing a manifest brought about.
#[derive(Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest that it refers to, now listed among that one's referrers.
    pub subject: Option<Digest>,
}

/// What a manifest may name that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacking {
    Nothing,
    /// What an index lists.
    Children,
    /// Blobs too.
    Anything,
}

impl Registry {
    /// Takes a manifest, under `reference` and its other tags, if its precondition is true.
    ///
    /// # Errors
    /// [`ServiceError::ManifestInvalid`], [`ServiceError::ManifestTooLarge`],
    /// [`ServiceError::DigestMismatch`], [`ServiceError::ManifestBlobUnknown`],
    /// [`ServiceError::TagImmutable`], [`ServiceError::Precondition`], [`ServiceError::Quota`].
    pub async fn put_manifest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &ManifestRef,
        push: Push,
        by: &RequestOrigin,
    ) -> Result<Pushed, ServiceError> {
        self.put(repository, reference, push, Lacking::Nothing, by)
            .await
    }

    /// The same for a manifest that was here before. An index may lack some of what it lists: that
    /// was deleted then.
    pub(in crate::service) async fn put_back(
        self: &Arc<Self>,
        repository: &RepositoryName,
        digest: &Digest,
        push: Push,
    ) -> Result<Pushed, ServiceError> {
        let reference = ManifestRef::Digest(digest.clone());
        self.put(repository, &reference, push, Lacking::Children, &None)
            .await
    }

    /// The same for a manifest that is mirrored: what it names comes when it is asked for.
    pub(in crate::service) async fn put_mirrored(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &ManifestRef,
        push: Push,
    ) -> Result<Pushed, ServiceError> {
        self.put(repository, reference, push, Lacking::Anything, &None)
            .await
    }

    async fn put(
        self: &Arc<Self>,
        repository: &RepositoryName,
        reference: &ManifestRef,
        push: Push,
        lacking: Lacking,
        by: &RequestOrigin,
    ) -> Result<Pushed, ServiceError> {
        let Push {
            bytes,
            content_type,
            mut tags,
            precondition,
        } = push;
        let document = parse(&bytes, content_type.as_ref())?;
        let digest = match reference {
            ManifestRef::Digest(expected) => {
                let actual = expected.algorithm().digest(&bytes);
                if actual != *expected {
                    return Err(ServiceError::DigestMismatch {
                        expected: expected.clone(),
                        actual,
                    });
                }
                actual
            }
            ManifestRef::Tag(tag) => {
                tags.push(tag.clone());
                Digest::sha256(&bytes)
            }
        };
        let immutable = tags
            .iter()
            .filter(|tag| {
                self.policy()
                    .is_immutable(repository.as_str(), tag.as_str())
            })
            .cloned()
            .collect();
        let (blobs, children) = needs(&document);
        let subject = document.subject().map(|s| s.digest.clone());
        let row = ManifestRow {
            digest: digest.clone(),
            media_type: media_type(&document, content_type),
            size: bytes.len() as u64,
        };
        let notices = self.push_notices(by, repository, &row, &tags, &document);
        let mut new = NewManifest {
            repository: repository.clone(),
            row,
            content: None,
            artifact_type: document.artifact_type().cloned(),
            // Only what a referrers list will show is worth a row's bytes.
            annotations: match &subject {
                Some(_) => document.annotations().clone(),
                None => Default::default(),
            },
            subject: subject.clone(),
            blobs,
            children,
            expected: (lacking == Lacking::Anything).then(|| expected(&document)),
            partial: lacking != Lacking::Nothing || self.policy().sparse_indexes,
            tags,
            immutable,
            reference: reference.clone(),
            precondition,
            description: Description::default(),
            notices,
        };
        // Asked before the bytes are written, so that refusals cost no disk; the transaction asks
        // again.
        if !new.required_blobs().is_empty() || !new.required().is_empty() {
            let missing = self
                .meta
                .missing(repository, new.required_blobs(), new.required())
                .await?;
            if !missing.is_empty() {
                return Err(ServiceError::ManifestBlobUnknown(missing));
            }
        }
        // What was taken once with a wrong size is not lost for it.
        if lacking == Lacking::Nothing {
            self.check_sizes(repository, &document).await?;
        }
        self.check_immutable(repository, &new.immutable, &digest)
            .await?;
        if !new.precondition.is_none() {
            let current = self.meta.manifest(repository, reference).await?;
            if !new.precondition.holds(current.as_ref().map(|c| &c.digest)) {
                return Err(ServiceError::Precondition);
            }
        }
        let described = self.description(repository, &document, bytes.len(), &new.tags);
        new.description = described.await;
        let this = Arc::clone(self);
        let put = tokio::spawn(async move { this.store_manifest(new, bytes).await }).await??;
        pushed(put, digest, subject)
    }

    /// Refuses to move tags that stay where they are.
    async fn check_immutable(
        &self,
        repository: &RepositoryName,
        tags: &[Tag],
        digest: &Digest,
    ) -> Result<(), ServiceError> {
        for tag in tags {
            let tagged = ManifestRef::Tag(tag.clone());
            let current = self.meta.manifest(repository, &tagged).await?;
            if current.is_some_and(|c| c.digest != *digest) {
                return Err(ServiceError::TagImmutable(tag.as_str().to_owned()));
            }
        }
        Ok(())
    }

    /// Compares the sizes that an image tells of its blobs with those that they have: clients
    /// allocate and end their downloads by them.
    async fn check_sizes(
        &self,
        repository: &RepositoryName,
        document: &ManifestDocument,
    ) -> Result<(), ServiceError> {
        let ManifestDocument::Manifest(image) = document else {
            return Ok(());
        };
        let descriptors = std::iter::once(&image.config).chain(&image.layers);
        let told: Vec<_> = descriptors.map(|d| (d.digest.clone(), d.size)).collect();
        let Some((digest, has)) = self.meta.wrong_size(repository, &told).await? else {
            return Ok(());
        };
        let what = match digest == image.config.digest {
            true => "config",
            false => "layer",
        };
        let says = told.iter().find(|(d, size)| *d == digest && *size != has);
        let says = says.map(|(_, size)| *size).unwrap_or_default();
        Err(ServiceError::ManifestInvalid(format!(
            "the {what} {digest} has {has} bytes, the manifest says {says}"
        )))
    }

    async fn store_manifest(&self, new: NewManifest, bytes: Bytes) -> Result<Put, ServiceError> {
        let digest = new.row.digest.clone();
        // Held until this ends, however it does.
        let promise = self.promise(&new.repository, &digest, new.row.size).await?;
        let admit = promise.as_ref().map(|p| p.admit(&new.repository));
        let put = self.write_and_show(new, bytes, admit).await;
        if !matches!(put, Ok(Put::Done)) {
            self.drop_refused(&digest).await;
        }
        self.settle_much().await;
        put
    }

    async fn write_and_show(
        &self,
        mut new: NewManifest,
        bytes: Bytes,
        admit: Option<Admit>,
    ) -> Result<Put, ServiceError> {
        let digest = new.row.digest.clone();
        let _announced = self.announce(&digest).await?;
        let _arriving = self.blobs.arriving(&digest).await;
        let durable = self.blobs.keep(&digest, &bytes).await?;
        new.content = (!durable).then(|| bytes.clone());
        let cache = Arc::clone(&self.manifest_cache);
        let stored = Arc::new(StoredManifest {
            row: new.row.clone(),
            bytes,
        });
        let mut keys = Vec::new();
        if !self.meta.is_shared() {
            keys.push(key(new.repository.as_str(), &digest));
            keys.extend(new.tags.iter().map(|tag| key(new.repository.as_str(), tag)));
        }
        let put = self
            .meta
            .put_manifest(new, admit, move |put| {
                if *put == Put::Done {
                    for key in keys {
                        let weight = key.len() + MANIFEST_WEIGHT + stored.bytes.len();
                        cache.put(&key, Arc::clone(&stored), weight);
                    }
                }
            })
            .await?;
        self.wake_subscribers();
        Ok(put)
    }

    /// What is told of a push: each tag, or the manifest when there is none.
    fn push_notices(
        &self,
        by: &RequestOrigin,
        repository: &RepositoryName,
        row: &ManifestRow,
        tags: &[Tag],
        document: &ManifestDocument,
    ) -> Vec<Notice> {
        if by.is_none() {
            return Vec::new();
        }
        let references = match document {
            ManifestDocument::Manifest(m) => {
                let all = std::iter::once(&m.config).chain(&m.layers);
                all.cloned().collect()
            }
            ManifestDocument::Index(i) => i.manifests.clone(),
        };
        let pushed = |tag| Happened {
            action: Action::Push,
            repository: repository.as_str(),
            target: Target::Manifest {
                digest: &row.digest,
                media_type: row.media_type.as_str(),
                size: row.size,
                tag,
                references: &references,
            },
        };
        let happened: Vec<_> = if tags.is_empty() {
            vec![pushed(None)]
        } else {
            tags.iter().map(|tag| pushed(Some(tag.as_str()))).collect()
        };
        self.notices(by, &happened)
    }
}

fn pushed(put: Put, digest: Digest, subject: Option<Digest>) -> Result<Pushed, ServiceError> {
    match put {
        Put::Done => Ok(Pushed { digest, subject }),
        Put::Immutable(tag) => Err(ServiceError::TagImmutable(tag)),
        Put::Missing(missing) => Err(ServiceError::ManifestBlobUnknown(missing)),
        Put::PreconditionFailed => Err(ServiceError::Precondition),
        Put::Quota(e) => Err(ServiceError::Quota(e)),
    }
}

fn parse(bytes: &[u8], given: Option<&MediaType>) -> Result<ManifestDocument, ServiceError> {
    if given.is_some_and(MediaType::is_schema1) {
        return Err(ServiceError::ManifestInvalid(
            "schema 1 manifests are not supported; push again with a client of this decade".into(),
        ));
    }
    ManifestDocument::parse(bytes, given).map_err(|e| match e {
        ManifestError::TooLarge => ServiceError::ManifestTooLarge(MAX_MANIFEST_SIZE),
        e => ServiceError::ManifestInvalid(e.to_string()),
    })
}

/// What it is served as: what it says itself, else what it was pushed as.
fn media_type(document: &ManifestDocument, given: Option<MediaType>) -> MediaType {
    let own = match document {
        ManifestDocument::Manifest(m) => m.media_type.clone(),
        ManifestDocument::Index(i) => i.media_type.clone(),
    };
    own.or(given).unwrap_or_else(|| document.media_type())
}
