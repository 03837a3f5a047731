//! Tags and manifests of mirrored repositories.
//!
//! What a digest names never changes: what is here is served. A tag is served for `ttl` without a
//! question; for `stale` after that it is served at once and asked about meanwhile; later it is
//! asked about first, and served as it was when no upstream answers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use client::upstream::FetchedManifest;
use oci::Digest;

use super::error::{MirrorError, Unavailable};
use super::flights::Flight;
use super::sources::{Source, Verdict};
use super::whole::{Failed, Mirror};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::{Push, ServiceError, StoredManifest};

/// A manifest to be served.
#[derive(Debug)]
pub struct Shown {
    /// It.
    pub manifest: Arc<StoredManifest>,
    /// Why it may not be what the upstream has by now.
    pub stale: Option<Stale>,
}

/// Why a tag may have moved at its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The upstream is being asked.
    Asking,
    /// It does not answer.
    Unanswered,
}

impl Mirror {
    /// A manifest of a mirrored repository.
    ///
    /// # Errors
    /// [`ServiceError::ManifestUnknown`], [`MirrorError::Unavailable`].
    pub async fn manifest(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Shown, MirrorError> {
        let here = match self.registry.manifest(name, reference).await {
            Ok(manifest) => Some(manifest),
            Err(ServiceError::ManifestUnknown { .. }) => None,
            Err(e) => return Err(e.into()),
        };
        let shown = match here {
            None => self.fetched(name, reference).await?,
            Some(manifest) => self.looked_at(name, reference, manifest).await?,
        };
        let counter = match shown.stale {
            None => &self.counts.hits,
            Some(_) => &self.counts.stale,
        };
        counter.fetch_add(1, Relaxed);
        self.registry.note_mirrored_pull(name, &shown.manifest);
        Ok(shown)
    }

    /// A manifest that is here, asked about where it is time for that.
    async fn looked_at(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        manifest: Arc<StoredManifest>,
    ) -> Result<Shown, MirrorError> {
        let fresh = |manifest| {
            let stale = None;
            Ok(Shown { manifest, stale })
        };
        let sources = self.sources_of(name);
        let (ManifestRef::Tag(_), Some((first, _))) = (reference, sources.first()) else {
            return fresh(manifest);
        };
        if self.settings.offline {
            return fresh(manifest);
        }
        let (ttl, stale) = (first.settings.ttl, first.settings.stale);
        let known = self.looked.get(&key(name, reference));
        match known {
            Some((age, _)) if age < ttl => fresh(manifest),
            Some((age, failed)) if age < ttl.saturating_add(stale) => {
                drop(self.look(name, reference, Some(manifest.row.digest.clone())));
                let stale = Some(match failed {
                    true => Stale::Unanswered,
                    false => Stale::Asking,
                });
                Ok(Shown { manifest, stale })
            }
            _ => {
                let digest = manifest.row.digest.clone();
                match self.look(name, reference, Some(digest)).await {
                    Some(Ok(_)) => fresh(self.registry.manifest(name, reference).await?),
                    Some(Err(Failed::Here(why))) => {
                        tracing::error!("a mirrored tag could not be looked at: {why}");
                        fresh(manifest)
                    }
                    Some(Err(Failed::Unavailable(_))) | None => Ok(Shown {
                        manifest,
                        stale: Some(Stale::Unanswered),
                    }),
                }
            }
        }
    }

    /// A manifest that is not here.
    async fn fetched(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
    ) -> Result<Shown, MirrorError> {
        let unknown = || ServiceError::ManifestUnknown {
            repository: name.clone(),
            reference: reference.clone(),
        };
        if self.settings.offline || self.is_missing(name, &key(name, reference)) {
            return Err(unknown().into());
        }
        self.counts.misses.fetch_add(1, Relaxed);
        match self.look(name, reference, None).await {
            Some(Ok(true)) => Ok(Shown {
                manifest: self.registry.manifest(name, reference).await?,
                stale: None,
            }),
            Some(Ok(false)) => Err(unknown().into()),
            Some(Err(Failed::Unavailable(why))) => {
                self.counts.failed.fetch_add(1, Relaxed);
                Err(why.into())
            }
            Some(Err(Failed::Here(why))) => {
                self.counts.failed.fetch_add(1, Relaxed);
                Err(self.broken(&why).into())
            }
            None => Err(self.broken("the registry is closing").into()),
        }
    }

    /// Whether it is remembered that the upstreams do not have something.
    pub(super) fn is_missing(&self, name: &RepositoryName, key: &str) -> bool {
        let sources = self.sources_of(name);
        let ttl = sources
            .iter()
            .map(|(source, _)| source.settings.missing_ttl);
        let ttl = ttl.min().unwrap_or(Duration::ZERO);
        self.missing.get(key).is_some_and(|(age, ())| age < ttl)
    }

    pub(super) fn broken(&self, why: &str) -> Unavailable {
        Unavailable {
            upstream: "this registry".to_owned(),
            why: why.to_owned(),
            limited: false,
            retry_after: None,
        }
    }

    /// Asks the upstreams what a reference is and keeps that, once for all who ask; whether any has
    /// it. It goes on when nobody waits for it.
    fn look(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        here: Option<Digest>,
    ) -> Flight<Result<bool, Failed>> {
        let key = key(name, reference);
        self.flights.join(&key.clone(), || {
            let (this, name, reference) = (Arc::clone(self), name.clone(), reference.clone());
            async move {
                let found = this.ask_all(&name, &reference, here.as_ref()).await;
                this.remember(&name, &reference, &key, &found).await;
                found
            }
        })
    }

    /// What the answers mean for the next who ask.
    async fn remember(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        key: &str,
        found: &Result<bool, Failed>,
    ) {
        match found {
            Ok(true) => {
                self.looked.put(key, false);
                self.missing.forget(key);
            }
            Ok(false) => {
                self.missing.put(key, ());
                self.looked.forget(key);
                if let ManifestRef::Tag(tag) = reference
                    && let Err(e) = self.registry.forget_tag(name, tag).await
                {
                    tracing::warn!(error = %e, "a tag that is gone upstream stays");
                }
            }
            Err(_) => self.looked.update(key, |failed| *failed = true),
        }
    }

    async fn ask_all(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        here: Option<&Digest>,
    ) -> Result<bool, Failed> {
        let mut silent = None;
        for (source, path) in self.sources_of(name) {
            let told = reference.to_string();
            if let Some(here) = here {
                match source.ask(source.client.head(&path, &told)).await {
                    Verdict::Found(Some(there)) if there == *here => return Ok(true),
                    Verdict::Found(_) => {}
                    Verdict::Missing => continue,
                    Verdict::Unavailable(why) => {
                        silent.get_or_insert(why);
                        continue;
                    }
                }
            }
            match source.ask(source.client.manifest(&path, &told)).await {
                Verdict::Found(found) => {
                    source.counts.manifests.fetch_add(1, Relaxed);
                    match self.keep_found(name, reference, found, &source).await {
                        Ok(()) => return Ok(true),
                        Err(Failed::Unavailable(why)) => {
                            silent.get_or_insert(why);
                        }
                        Err(e) => return Err(e),
                    }
                }
                Verdict::Missing => {}
                Verdict::Unavailable(why) => {
                    silent.get_or_insert(why);
                }
            }
        }
        match silent {
            None => Ok(false),
            Some(why) => Err(Failed::Unavailable(why)),
        }
    }

    /// Keeps what came.
    async fn keep_found(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        found: FetchedManifest,
        source: &Arc<Source>,
    ) -> Result<(), Failed> {
        let push = Push {
            bytes: found.bytes.clone(),
            content_type: found.media_type.clone(),
            ..Push::default()
        };
        match self.registry.keep_manifest(name, reference, push).await {
            Ok(_) => {
                if source.settings.referrers {
                    self.bring_referrers(name, &found.digest, &found.bytes);
                }
                Ok(())
            }
            // By rule the tag stays where it is.
            Err(ServiceError::TagImmutable(_)) => Ok(()),
            // Nothing that can be kept: as good as no answer.
            Err(
                e @ (ServiceError::ManifestInvalid(_)
                | ServiceError::ManifestTooLarge(_)
                | ServiceError::DigestMismatch { .. }),
            ) => Err(Failed::Unavailable(source.unavailable(e.to_string()))),
            Err(e) => {
                tracing::error!(error = %e, "a mirrored manifest could not be kept");
                Err(Failed::Here(e.to_string().into()))
            }
        }
    }
}

/// What is remembered of a reference, or of a blob.
pub(super) fn key(name: &RepositoryName, what: impl std::fmt::Display) -> String {
    format!("{name}@{what}")
}
