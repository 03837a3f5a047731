//! Whole images, brought before anybody asks for them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use oci::{Descriptor, Digest, ManifestDocument, Platform, Reference};
use serde::{Deserialize, Serialize};

use super::blobs::MirroredBlob;
use super::error::MirrorError;
use super::names::Meant;
use super::whole::Mirror;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::ServiceError;

/// Indexes in indexes are followed this deep.
const MAX_DEPTH: usize = 3;
/// Blobs of one image that come at the same time.
const AT_ONCE: usize = 4;

/// What to bring.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WarmOptions {
    /// Images, as people write them.
    pub images: Vec<String>,
    /// Only for these platforms; for all when empty.
    pub platforms: Vec<String>,
}

/// What was brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmed {
    /// Each image that is here now, with the digest of what its name stands for.
    pub here: Vec<(String, String)>,
    /// Each that is not, and why.
    pub failed: Vec<(String, String)>,
}

impl Mirror {
    /// Brings images, whole, one after the other.
    pub async fn warm(self: &Arc<Self>, options: &WarmOptions) -> Warmed {
        let mut warmed = Warmed::default();
        let platforms: Result<Vec<Platform>, String> = options
            .platforms
            .iter()
            .map(|text| {
                text.parse::<Platform>()
                    .map_err(|e| format!("platform {text}: {e}"))
            })
            .collect();
        let platforms = match platforms {
            Ok(platforms) => platforms,
            Err(why) => {
                let failed = options
                    .images
                    .iter()
                    .map(|image| (image.clone(), why.clone()));
                warmed.failed.extend(failed);
                return warmed;
            }
        };
        for image in &options.images {
            let brought = match self.parse(image) {
                Ok((name, reference)) => self.bring(&name, &reference, &platforms).await,
                Err(e) => Err(e),
            };
            match brought {
                Ok(digest) => warmed.here.push((image.clone(), digest.to_string())),
                Err(why) => warmed.failed.push((image.clone(), why)),
            }
        }
        warmed
    }

    /// The mirrored repository that people mean: a name here, or one of a registry that is
    /// mirrored.
    fn parse(&self, image: &str) -> Result<(RepositoryName, ManifestRef), String> {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        let tag_at = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
        let (name, tag) = match tag_at {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let reference = match digest {
            Some(digest) => ManifestRef::Digest(
                digest
                    .parse::<Digest>()
                    .map_err(|e| format!("{digest}: {e}"))?,
            ),
            None => ManifestRef::Tag(
                tag.unwrap_or("latest")
                    .parse::<Tag>()
                    .map_err(|e| e.to_string())?,
            ),
        };
        if let Ok(name) = name.parse::<RepositoryName>()
            && self.is_mirrored(&name)
        {
            return Ok((name, reference));
        }
        let parsed = image.parse::<Reference>().map_err(|e| e.to_string())?;
        let repository = parsed.repository();
        let path = repository.path().parse::<RepositoryName>();
        let path = path.map_err(|e| e.to_string())?;
        match self.meant(&path, Some(repository.domain())) {
            Meant::Mirrored(name) => Ok((name, reference)),
            Meant::Own | Meant::Hostless(_) => Err(format!(
                "no [[upstream]] answers for {}",
                repository.domain()
            )),
        }
    }

    /// Brings a manifest and all that it names.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub(crate) async fn bring(
        self: &Arc<Self>,
        name: &RepositoryName,
        reference: &ManifestRef,
        platforms: &[Platform],
    ) -> Result<Digest, String> {
        self.bring_deep(name, reference, platforms, 0).await
    }

    fn bring_deep<'a>(
        self: &'a Arc<Self>,
        name: &'a RepositoryName,
        reference: &'a ManifestRef,
        platforms: &'a [Platform],
        depth: usize,
    ) -> BoxFuture<'a, Result<Digest, String>> {
        async move {
            let shown = self
                .manifest(name, reference)
                .await
                .map_err(|e| self.told(&e))?;
            let row = &shown.manifest.row;
            let document = ManifestDocument::parse(&shown.manifest.bytes, Some(&row.media_type));
            match document.map_err(|e| e.to_string())? {
                ManifestDocument::Index(_) if depth >= MAX_DEPTH => {
                    return Err(format!("indexes nested more than {MAX_DEPTH} deep"));
                }
                ManifestDocument::Index(index) => {
                    let wanted = index
                        .manifests
                        .iter()
                        .filter(|child| fits(child, platforms));
                    let wanted: Vec<_> = wanted.collect();
                    if wanted.is_empty() && !index.manifests.is_empty() {
                        let all: Vec<_> = platforms.iter().map(ToString::to_string).collect();
                        return Err(format!("it lists no image for {}", all.join(", ")));
                    }
                    for child in wanted {
                        let child = ManifestRef::Digest(child.digest.clone());
                        self.bring_deep(name, &child, platforms, depth + 1).await?;
                    }
                }
                ManifestDocument::Manifest(image) => {
                    let blobs = std::iter::once(&image.config).chain(&image.layers);
                    let blobs: Vec<Digest> = blobs
                        .filter(|d| !d.media_type.is_non_distributable())
                        .map(|d| d.digest.clone())
                        .collect();
                    let brought = stream::iter(blobs)
                        .map(|digest| async move { self.bring_blob(name, &digest).await });
                    let brought: Vec<_> = brought.buffer_unordered(AT_ONCE).collect().await;
                    brought.into_iter().collect::<Result<Vec<()>, String>>()?;
                }
            }
            Ok(row.digest.clone())
        }
        .boxed()
    }

    /// Brings a blob, unless it is here.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub(crate) async fn bring_blob(
        self: &Arc<Self>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), String> {
        match self.registry.blob(name, digest).await {
            Ok(_) => return Ok(()),
            Err(ServiceError::BlobUnknown(_)) => {}
            Err(e) => return Err(e.to_string()),
        }
        match self.blob(name, digest).await {
            Ok(MirroredBlob::Here(_)) => Ok(()),
            Ok(MirroredBlob::Arriving(arriving)) => arriving.complete().await,
            Err(e) => Err(self.told(&e)),
        }
    }

    /// Why something cannot be had; where nobody was asked, that too.
    fn told(&self, e: &MirrorError) -> String {
        match e {
            MirrorError::Service(
                unknown @ (ServiceError::ManifestUnknown { .. } | ServiceError::BlobUnknown(_)),
            ) if self.settings.offline => {
                format!("{unknown}, and no upstream is asked (mirror.offline)")
            }
            e => e.to_string(),
        }
    }
}

/// Whether an index's entry is for one of these platforms, or for none in particular.
fn fits(entry: &Descriptor, platforms: &[Platform]) -> bool {
    let Some(platform) = entry.platform.as_ref().filter(|_| !platforms.is_empty()) else {
        return true;
    };
    platforms.iter().any(|wanted| {
        wanted.os == platform.os
            && wanted.architecture == platform.architecture
            && (wanted.variant.is_none() || wanted.variant == platform.variant)
    })
}
