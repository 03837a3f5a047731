//! From the other registry to here: what a job's name stands for there is made so here.

use std::sync::Arc;

use client::upstream::FetchedManifest;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use oci::{Digest, Index, ManifestDocument};

use super::error::Trouble;
use super::pushing::{cosign_tags, owner_of, reference};
use super::remote::found;
use super::rule::Rule;
use crate::events::{Origin, RequestOrigin};
use crate::meta::{Job, Known, Precondition};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::{Push, ServiceError};

/// Indexes in indexes, and referrers of referrers, are followed this deep.
const MAX_DEPTH: usize = 4;
/// Blobs of one image that come at the same time.
const BLOBS_AT_ONCE: usize = 3;

/// One repository's way.
pub(super) struct Way<'r> {
    pub(super) rule: &'r Rule,
    /// Its name there.
    pub(super) there: String,
    /// Its name here.
    pub(super) here: RepositoryName,
}

impl Rule {
    /// Does a job of a rule that pulls.
    pub(super) async fn pull(&self, job: &Job) -> Result<Known, Trouble> {
        let Some(way) = self.way_here(&job.repository)? else {
            return Ok(Known::Same);
        };
        let what = reference(&job.reference)?;
        let Some(there) = way.fetch(&what).await? else {
            return way.gone(&what).await;
        };
        if !way.is_wanted(&what, &there).await? {
            return Ok(Known::Same);
        }
        let digest = there.digest.clone();
        let known = match what {
            ManifestRef::Tag(_) => Known::Has(digest.to_string()),
            ManifestRef::Digest(_) => Known::Same,
        };
        if way.has(&what).await?.as_ref() != Some(&digest) {
            way.take(&what, there, 0).await?;
            self.counts
                .manifest(&job.repository, &job.reference, &self.settings.name);
        }
        way.take_belonging(&digest, 0).await?;
        Ok(known)
    }

    /// The way of a repository from there; none when it is none of ours.
    pub(super) fn way_here(&self, there: &str) -> Result<Option<Way<'_>>, Trouble> {
        let Some(target) = self.settings.target(there) else {
            return Ok(None);
        };
        let here: RepositoryName = target.parse().map_err(ServiceError::from)?;
        if self.is_mirrored(&here) {
            return Err(Trouble::own(format!(
                "{here} is mirrored: nothing else comes into it; set another prefix"
            )));
        }
        Ok(Some(Way {
            rule: self,
            there: there.to_owned(),
            here,
        }))
    }

    /// Whom the audit log and webhooks are told.
    fn origin(&self) -> RequestOrigin {
        Some(Arc::new(Origin {
            actor: format!("replicate:{}", self.settings.name),
            method: "REPLICATE".to_owned(),
            ..Origin::default()
        }))
    }
}

impl Way<'_> {
    async fn fetch(&self, what: &ManifestRef) -> Result<Option<FetchedManifest>, Trouble> {
        let upstream = &self.rule.remote.upstream;
        found(upstream.manifest(&self.there, &what.to_string()).await)
    }

    /// What a name stands for here.
    pub(super) async fn has(&self, what: &ManifestRef) -> Result<Option<Digest>, Trouble> {
        match self.rule.registry.manifest(&self.here, what).await {
            Ok(manifest) => Ok(Some(manifest.row.digest.clone())),
            Err(ServiceError::ManifestUnknown { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether something comes here at all: what only belongs to an image comes where that is.
    async fn is_wanted(
        &self,
        what: &ManifestRef,
        there: &FetchedManifest,
    ) -> Result<bool, Trouble> {
        let owner = match what {
            ManifestRef::Tag(tag) if self.rule.settings.wants_tag(tag.as_str()) => {
                return Ok(true);
            }
            ManifestRef::Tag(tag) => owner_of(tag),
            ManifestRef::Digest(_) => parse(there)?.subject().map(|s| s.digest.clone()),
        };
        match owner {
            Some(owner) => Ok(self.has(&ManifestRef::Digest(owner)).await?.is_some()),
            None => Ok(false),
        }
    }

    /// What is gone there goes here, if the rule has brought it and it is still that.
    async fn gone(&self, what: &ManifestRef) -> Result<Known, Trouble> {
        let ManifestRef::Tag(tag) = what else {
            return Ok(Known::Same);
        };
        let rule = self.rule;
        if !rule.settings.deletes {
            return Ok(Known::Same);
        }
        let name = &rule.settings.name;
        let done = rule
            .registry
            .replication()
            .replication_done(name, &self.there, tag.as_str());
        let Some(done) = done.await? else {
            return Ok(Known::Same);
        };
        if self
            .has(what)
            .await?
            .is_some_and(|here| here.to_string() == done)
        {
            let (any, by) = (Precondition::default(), rule.origin());
            let deleted = rule.registry.delete_manifest(&self.here, what, any, &by);
            deleted.await?;
            tracing::info!(rule = name, repository = %self.here, tag = tag.as_str(), "deleted here");
        }
        Ok(Known::Gone)
    }

    /// Takes a manifest and all that it names, what it names first.
    fn take<'a>(
        &'a self,
        what: &'a ManifestRef,
        manifest: FetchedManifest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            match parse(&manifest)? {
                ManifestDocument::Index(_) if depth >= MAX_DEPTH => {
                    let why = format!("indexes nested more than {MAX_DEPTH} deep");
                    return Err(Trouble::own(why));
                }
                ManifestDocument::Index(index) => {
                    for child in index.manifests {
                        let child = ManifestRef::Digest(child.digest);
                        self.take_by_digest(&child, depth + 1).await?;
                    }
                }
                ManifestDocument::Manifest(image) => {
                    let blobs = image.layers.into_iter().chain([image.config]);
                    let blobs = blobs.filter(|blob| !blob.media_type.is_non_distributable());
                    stream::iter(blobs.map(|blob| self.take_blob(blob.digest)))
                        .buffer_unordered(BLOBS_AT_ONCE)
                        .try_collect::<()>()
                        .await?;
                }
            }
            let push = Push {
                bytes: manifest.bytes,
                content_type: manifest.media_type,
                ..Push::default()
            };
            let (registry, by) = (&self.rule.registry, self.rule.origin());
            let pushed = registry
                .put_manifest(&self.here, what, push, &by)
                .await?
                .digest;
            match pushed == manifest.digest {
                true => Ok(()),
                // A tag of something that another algorithm than SHA-256 names.
                false => Err(Trouble::own(format!(
                    "{} is called {pushed} here",
                    manifest.digest
                ))),
            }
        }
        .boxed()
    }

    /// The same for what an index lists, or what belongs to an image; what is not there is left
    /// out, and for whoever needs it to complain.
    async fn take_by_digest(&self, what: &ManifestRef, depth: usize) -> Result<(), Trouble> {
        if self.has(what).await?.is_some() {
            return Ok(());
        }
        match self.fetch(what).await? {
            Some(manifest) => self.take(what, manifest, depth).await,
            None => Ok(()),
        }
    }

    /// Takes what belongs to a manifest that is here by now.
    fn take_belonging<'a>(
        &'a self,
        digest: &'a Digest,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            if !self.rule.settings.referrers || depth >= MAX_DEPTH {
                return Ok(());
            }
            for referrer in self.referrers(digest).await? {
                let what = ManifestRef::Digest(referrer.clone());
                self.take_by_digest(&what, 0).await?;
                self.take_belonging(&referrer, depth + 1).await?;
            }
            for tag in cosign_tags(digest) {
                // The others are tags like any.
                if self.rule.settings.wants_tag(tag.as_str()) {
                    continue;
                }
                let what = ManifestRef::Tag(tag);
                let Some(there) = self.fetch(&what).await? else {
                    continue;
                };
                if self.has(&what).await?.as_ref() != Some(&there.digest) {
                    self.take(&what, there, 0).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// The digests of what refers to a manifest there: of its list, or of the tag that has the list
    /// where there is no such API (distribution-spec, "Referrers Tag Schema").
    pub(super) async fn referrers(&self, digest: &Digest) -> Result<Vec<Digest>, Trouble> {
        let upstream = &self.rule.remote.upstream;
        let bytes = match found(upstream.referrers(&self.there, digest).await)? {
            Some(bytes) => bytes,
            None => {
                let tag = format!("{}-{}", digest.algorithm().as_str(), digest.hex());
                match found(upstream.manifest(&self.there, &tag).await)? {
                    Some(list) => list.bytes,
                    None => return Ok(Vec::new()),
                }
            }
        };
        let index = serde_json::from_slice::<Index>(&bytes);
        let index = index.map_err(|e| Trouble::own(format!("its list of referrers: {e}")))?;
        Ok(index.manifests.into_iter().map(|m| m.digest).collect())
    }
}

fn parse(manifest: &FetchedManifest) -> Result<ManifestDocument, Trouble> {
    ManifestDocument::parse(&manifest.bytes, manifest.media_type.as_ref())
        .map_err(|e| Trouble::own(format!("manifest {}: {e}", manifest.digest)))
}
