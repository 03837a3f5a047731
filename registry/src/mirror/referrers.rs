//! Signatures and other referrers of mirrored images: the list that the upstream has, and cosign's
//! tags.

use std::sync::Arc;

use bytes::Bytes;
use oci::{Digest, Index, ManifestDocument};

use super::manifests::key;
use super::sources::Verdict;
use super::whole::Mirror;
use crate::name::{ManifestRef, RepositoryName, Tag};

/// What cosign puts behind the digest of what it is about.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

impl Mirror {
    /// Brings the manifests that refer to one, if that was not done lately: a client asks for their
    /// list. What cannot be had is left out, with a word in the log.
    pub async fn referrers(self: &Arc<Self>, name: &RepositoryName, digest: &Digest) {
        let key = key(name, format_args!("referrers/{digest}"));
        let ttl = self.sources_of(name).first().map(|(s, _)| s.settings.ttl);
        let known = self.looked.get(&key);
        let fresh = known.is_some_and(|(age, _)| ttl.is_some_and(|ttl| age < ttl));
        if self.settings.offline || fresh {
            return;
        }
        let flight = self.flights.join(&key.clone(), || {
            let (this, name, digest) = (Arc::clone(self), name.clone(), digest.clone());
            async move {
                if this.bring_listed(&name, &digest, false).await {
                    this.looked.put(&key, false);
                }
                Ok(true)
            }
        });
        flight.await;
    }

    /// Brings all that belongs to a manifest that came, meanwhile.
    pub(super) fn bring_referrers(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
        bytes: &Bytes,
    ) {
        let document = ManifestDocument::parse(bytes, None);
        if document.is_ok_and(|document| document.subject().is_some()) {
            return;
        }
        let key = key(name, format_args!("all-referrers/{digest}"));
        let flight = self.flights.join(&key, || {
            let (this, name, digest) = (Arc::clone(self), name.clone(), digest.clone());
            async move {
                this.bring_listed(&name, &digest, true).await;
                for kind in COSIGN {
                    let tag = format!("{}-{}.{kind}", digest.algorithm().as_str(), digest.hex());
                    if let Ok(tag) = tag.parse::<Tag>() {
                        this.bring_one(&name, ManifestRef::Tag(tag), true).await;
                    }
                }
                Ok(true)
            }
        });
        drop(flight);
    }

    /// Brings what the upstream lists; whether it could be asked.
    async fn bring_listed(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
        blobs: bool,
    ) -> bool {
        let Some(listed) = self.listed(name, digest).await else {
            return false;
        };
        for referrer in listed {
            self.bring_one(name, ManifestRef::Digest(referrer), blobs)
                .await;
        }
        true
    }

    /// The digests of what refers to a manifest; `None` when no upstream answers.
    async fn listed(&self, name: &RepositoryName, digest: &Digest) -> Option<Vec<Digest>> {
        let mut silent = false;
        for (source, path) in self.sources_of(name) {
            match source.ask(source.client.referrers(&path, digest)).await {
                Verdict::Found(bytes) => return Some(digests(&bytes)),
                Verdict::Missing => {}
                Verdict::Unavailable(_) => {
                    silent = true;
                    continue;
                }
            }
            // Where there is no such API, a tag has the list (distribution-spec, "Referrers Tag
            // Schema").
            let tag = format!("{}-{}", digest.algorithm().as_str(), digest.hex());
            match source.ask(source.client.manifest(&path, &tag)).await {
                Verdict::Found(found) => return Some(digests(&found.bytes)),
                Verdict::Missing => {}
                Verdict::Unavailable(_) => silent = true,
            }
        }
        (!silent).then(Vec::new)
    }

    async fn bring_one(self: &Arc<Self>, name: &RepositoryName, what: ManifestRef, blobs: bool) {
        let brought = match blobs {
            true => self.bring(name, &what, &[]).await.map(drop),
            false => self
                .manifest(name, &what)
                .await
                .map(drop)
                .map_err(|e| e.to_string()),
        };
        if let Err(e) = brought {
            tracing::debug!(repository = %name, reference = %what, "no referrer: {e}");
        }
    }
}

/// The entries of a list of referrers; none when it is no list.
fn digests(bytes: &[u8]) -> Vec<Digest> {
    let index = serde_json::from_slice::<Index>(bytes);
    let manifests = index.map(|index| index.manifests).unwrap_or_default();
    manifests.into_iter().map(|entry| entry.digest).collect()
}
