//! From here to the other registry: what a job's name stands for here is made so there.

use std::sync::Arc;

use client::{PushLayer, Silent};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use oci::{Descriptor, Digest, ManifestDocument};

use super::error::Trouble;
use super::rule::Rule;
use crate::meta::{Job, Known};
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::policy::is_companion;
use crate::service::{ServiceError, StoredManifest};

/// Indexes in indexes, and referrers of referrers, are followed this deep.
const MAX_DEPTH: usize = 4;
/// Blobs of one image that are sent at the same time.
const BLOBS_AT_ONCE: usize = 3;
/// Repositories that a blob is mounted from.
const MOUNTS: u32 = 3;
/// What cosign puts behind the digest of what it is about.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// One repository's way.
struct Way<'r> {
    rule: &'r Rule,
    /// Its name here.
    here: RepositoryName,
    /// Its name there.
    there: String,
}

impl Rule {
    /// Does a job of a rule that pushes.
    pub(super) async fn push(&self, job: &Job) -> Result<Known, Trouble> {
        let here: RepositoryName = job.repository.parse().map_err(ServiceError::from)?;
        let Some(there) = self.settings.target(&job.repository) else {
            return Ok(Known::Same);
        };
        if self.is_mirrored(&here) && !self.settings.mirrored {
            return Ok(Known::Same);
        }
        let what = reference(&job.reference)?;
        let way = Way {
            rule: self,
            here,
            there,
        };
        let Some(manifest) = way.local(&what).await? else {
            return way.gone(&what).await;
        };
        if !way.is_wanted(&what, &manifest).await? {
            return Ok(Known::Same);
        }
        let digest = &manifest.row.digest;
        let known = match what {
            ManifestRef::Tag(_) => Known::Has(digest.to_string()),
            ManifestRef::Digest(_) => Known::Same,
        };
        let already = self.remote.head(&way.there, &what).await?.as_ref() == Some(digest);
        if already && matches!(what, ManifestRef::Tag(_)) {
            return Ok(known);
        }
        way.send(&what, &manifest, 0).await?;
        self.counts
            .manifest(&job.repository, &job.reference, &self.settings.name);
        way.send_belonging(digest, 0).await?;
        Ok(known)
    }
}

/// What the name of a job names.
pub(super) fn reference(text: &str) -> Result<ManifestRef, Trouble> {
    match text.contains(':') {
        true => {
            let digest = text.parse::<Digest>();
            let digest = digest.map_err(|e| Trouble::own(format!("{text}: {e}")))?;
            Ok(ManifestRef::Digest(digest))
        }
        false => {
            let tag = text.parse::<Tag>().map_err(ServiceError::from)?;
            Ok(ManifestRef::Tag(tag))
        }
    }
}

/// The tags that cosign gives to what it says about a manifest.
pub(super) fn cosign_tags(digest: &Digest) -> impl Iterator<Item = Tag> {
    let (algorithm, hex) = (digest.algorithm().as_str(), digest.hex().to_owned());
    COSIGN
        .iter()
        .filter_map(move |kind| format!("{algorithm}-{hex}.{kind}").parse().ok())
}

/// The digest that a tag of something that belongs to an image begins with.
pub(super) fn owner_of(tag: &Tag) -> Option<Digest> {
    let text = tag.as_str();
    if !is_companion(text) {
        return None;
    }
    let name = text.split('.').next()?;
    name.replacen('-', ":", 1).parse().ok()
}

impl Way<'_> {
    async fn local(&self, what: &ManifestRef) -> Result<Option<Arc<StoredManifest>>, Trouble> {
        match self.rule.registry.manifest(&self.here, what).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(ServiceError::ManifestUnknown { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether something goes there at all: what only belongs to an image goes where that is.
    async fn is_wanted(
        &self,
        what: &ManifestRef,
        manifest: &StoredManifest,
    ) -> Result<bool, Trouble> {
        let owner = match what {
            ManifestRef::Tag(tag) if self.rule.settings.wants_tag(tag.as_str()) => {
                return Ok(true);
            }
            ManifestRef::Tag(tag) => owner_of(tag),
            ManifestRef::Digest(_) => {
                let document = parse(manifest)?;
                document.subject().map(|subject| subject.digest.clone())
            }
        };
        let Some(owner) = owner else {
            return Ok(false);
        };
        let owner = ManifestRef::Digest(owner);
        Ok(self.rule.remote.head(&self.there, &owner).await?.is_some())
    }

    /// What is gone here goes there, if the rule has brought it and it is still that.
    async fn gone(&self, what: &ManifestRef) -> Result<Known, Trouble> {
        let ManifestRef::Tag(tag) = what else {
            return Ok(Known::Same);
        };
        let rule = self.rule;
        if !rule.settings.deletes {
            return Ok(Known::Same);
        }
        let done = rule.registry.replication().replication_done(
            &rule.settings.name,
            self.here.as_str(),
            tag.as_str(),
        );
        let Some(done) = done.await? else {
            return Ok(Known::Same);
        };
        let there = rule.remote.head(&self.there, what).await?;
        if there.is_some_and(|there| there.to_string() == done) {
            rule.delete_there(&self.there, tag).await?;
            tracing::info!(
                rule = rule.settings.name,
                repository = self.there,
                tag = tag.as_str(),
                "deleted there"
            );
        }
        Ok(Known::Gone)
    }

    /// Sends a manifest and all that it names, what it names first.
    fn send<'a>(
        &'a self,
        what: &'a ManifestRef,
        manifest: &'a StoredManifest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            match parse(manifest)? {
                ManifestDocument::Index(_) if depth >= MAX_DEPTH => {
                    let why = format!("indexes nested more than {MAX_DEPTH} deep");
                    return Err(Trouble::own(why));
                }
                ManifestDocument::Index(index) => {
                    for child in index.manifests {
                        let child = ManifestRef::Digest(child.digest);
                        self.send_child(&child, depth).await?;
                    }
                }
                ManifestDocument::Manifest(image) => {
                    let blobs = image.layers.into_iter().chain([image.config]);
                    stream::iter(blobs.map(|blob| self.send_blob(blob)))
                        .buffer_unordered(BLOBS_AT_ONCE)
                        .try_collect::<()>()
                        .await?;
                }
            }
            let remote = &self.rule.remote;
            let reference = remote.reference(&self.there, what)?;
            let bytes = manifest.bytes.clone();
            let sent = remote
                .client
                .put_manifest(&reference, bytes, &manifest.row.media_type)
                .await?;
            // A registry that says that it is something else now has not taken what we sent.
            match remote.head(&self.there, what).await? {
                Some(there) if there == manifest.row.digest => Ok(()),
                Some(other) => Err(Trouble::own(format!(
                    "it was sent {} and says that it has {other}",
                    sent.digest
                ))),
                None => Err(Trouble::own(format!(
                    "it took {} and does not have it",
                    sent.digest
                ))),
            }
        }
        .boxed()
    }

    async fn send_child(&self, child: &ManifestRef, depth: usize) -> Result<(), Trouble> {
        if self.rule.remote.head(&self.there, child).await?.is_some() {
            return Ok(());
        }
        self.complete(child).await?;
        // An index may lack children here: whether it may there is for the other registry to say.
        match self.local(child).await? {
            Some(manifest) => self.send(child, &manifest, depth + 1).await,
            None => Ok(()),
        }
    }

    /// Has all of a mirrored image brought here first.
    async fn complete(&self, what: &ManifestRef) -> Result<(), Trouble> {
        if let Some(mirror) = self.rule.mirror_of(&self.here) {
            let brought = mirror.bring(&self.here, what, &[]).await;
            brought.map_err(Trouble::own)?;
        }
        Ok(())
    }

    async fn send_blob(&self, blob: Descriptor) -> Result<(), Trouble> {
        let rule = self.rule;
        if blob.media_type.is_non_distributable() {
            return Ok(());
        }
        match rule.registry.blob(&self.here, &blob.digest).await {
            Ok(_) => {}
            Err(ServiceError::BlobUnknown(_)) if rule.is_mirrored(&self.here) => {
                rule.bring_blob(&self.here, &blob.digest).await?;
            }
            Err(e) => return Err(e.into()),
        }
        let books = rule.registry.replication();
        let digest = blob.digest.to_string();
        let known = books.replicated_with(&rule.settings.name, &digest, MOUNTS);
        let targets = known.await?.into_iter();
        let targets = targets.filter_map(|name| rule.settings.target(&name));
        let mut layer = PushLayer::new(blob);
        for target in targets {
            layer.mount_from.push(rule.remote.repository(&target)?);
        }
        let repository = rule.remote.repository(&self.there)?;
        let source = rule.registry.blob_source();
        rule.remote
            .client
            .push_blob(&repository, &layer, &source, &Silent)
            .await?;
        Ok(())
    }

    /// Sends what belongs to a manifest that is there by now. What comes here after it was looked
    /// for has a job of its own, which finds the manifest there.
    fn send_belonging<'a>(
        &'a self,
        digest: &'a Digest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            if !self.rule.settings.referrers || depth >= MAX_DEPTH {
                return Ok(());
            }
            let registry = &self.rule.registry;
            for referrer in registry.referring(&self.here, digest).await? {
                let what = ManifestRef::Digest(referrer);
                self.send_one(&what, depth).await?;
            }
            for tag in cosign_tags(digest) {
                self.send_one(&ManifestRef::Tag(tag), depth).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn send_one(&self, what: &ManifestRef, depth: usize) -> Result<(), Trouble> {
        let Some(manifest) = self.local(what).await? else {
            return Ok(());
        };
        self.send(what, &manifest, 0).await?;
        self.send_belonging(&manifest.row.digest, depth + 1).await
    }
}

pub(super) fn parse(manifest: &StoredManifest) -> Result<ManifestDocument, Trouble> {
    ManifestDocument::parse(&manifest.bytes, Some(&manifest.row.media_type))
        .map_err(|e| Trouble::own(format!("manifest {}: {e}", manifest.row.digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosign_tags_name_their_image() {
        let digest = Digest::sha256(b"x");
        let tags: Vec<Tag> = cosign_tags(&digest).collect();
        assert_eq!(tags[0].as_str(), format!("sha256-{}.sig", digest.hex()));
        assert_eq!(tags.len(), 3);
        for tag in tags {
            assert_eq!(owner_of(&tag), Some(digest.clone()));
        }
        assert_eq!(owner_of(&"v1".parse().unwrap()), None);
    }
}
