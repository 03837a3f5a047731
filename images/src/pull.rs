//! Images from registries into the store.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use client::{Events, LayerState, Resolved};
use oci::blob::BlobStore;
use oci::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform, Reference};
use store::{Content, NewImage, NewIndex, RawManifest};
use tokio::sync::watch;

use crate::error::ImageError;
use crate::progress::LayerProgress;
use crate::service::{Images, StoredImage};
use crate::unpack::unpack_onto;

/// The largest configuration that is fetched, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// An image that was fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image.
    pub image: StoredImage,
    /// The digest that the reference led to: the index's when there is one.
    pub digest: Digest,
    /// Whether the store had all of it before.
    pub up_to_date: bool,
}

/// Pulls an image: its layers in parallel, each unpacked while others come, then its row and tag.
///
/// # Errors
/// [`ImageError`]; the store keeps the blobs that were complete, and no image row.
pub async fn pull_image(
    images: &Images,
    reference: &Reference,
    platform: &Platform,
    events: &dyn Events,
) -> Result<Pulled, ImageError> {
    let client = images.client().await?;
    let resolved = client.resolve(reference, platform).await?;
    pull_resolved(images, reference, platform, &resolved, events).await
}

/// Pulls an image that was found.
///
/// # Errors
/// As [`pull_image`].
pub(crate) async fn pull_resolved(
    images: &Images,
    reference: &Reference,
    platform: &Platform,
    resolved: &Resolved,
    events: &dyn Events,
) -> Result<Pulled, ImageError> {
    let named = images.store.content(&reference.to_string()).await.ok();
    let before = match &named {
        Some(named) => {
            let there = images.store.image_of("", named.clone(), Some(platform));
            there.await.ok().map(|image| image.id)
        }
        None => None,
    };
    // An index that is here stays what the name leads to, and has one image more.
    let here = match (named, &resolved.index) {
        (Some(Content::Index(here)), Some(index)) if here.id == index.descriptor.digest => {
            Some(index)
        }
        _ => None,
    };
    let by_digest = reference.with_digest(resolved.digest().clone());
    let (tags, repo_digests) = match (&here, reference.digest()) {
        (Some(_), _) => (Vec::new(), Vec::new()),
        (None, Some(_)) => (Vec::new(), vec![by_digest]),
        (None, None) => (vec![reference.clone().or_latest()], vec![by_digest]),
    };
    let names = Names { tags, repo_digests };
    let image = bring(images, reference, resolved, names, events).await?;
    if let Some(index) = here {
        let manifest = RawManifest {
            media_type: resolved.descriptor.media_type.clone(),
            bytes: resolved.bytes.to_vec(),
        };
        let listed = NewIndex {
            document: RawManifest {
                media_type: index.descriptor.media_type.clone(),
                bytes: index.bytes.to_vec(),
            },
            images: vec![(resolved.descriptor.digest.clone(), image.id.clone())],
            manifests: vec![manifest],
            blobs: Vec::new(),
            tags: Vec::new(),
            repo_digests: Vec::new(),
        };
        images.store.put_index(listed).await?;
    }
    let up_to_date = before.as_ref() == Some(&image.id);
    Ok(Pulled {
        image,
        digest: resolved.digest().clone(),
        up_to_date,
    })
}

/// The names that an image gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) tags: Vec<Reference>,
    pub(crate) repo_digests: Vec<Reference>,
}

/// Refuses what is no image, and configurations that no honest image has.
///
/// # Errors
/// [`ImageError::NotAnImage`], [`ImageError::ConfigTooLarge`].
pub(crate) fn check_config(reference: &Reference, manifest: &Manifest) -> Result<(), ImageError> {
    let config = &manifest.config;
    if !config.media_type.is_image_config() {
        let kind = config.media_type.to_string();
        return Err(ImageError::NotAnImage(reference.familiar(), kind));
    }
    if config.size > MAX_CONFIG {
        return Err(ImageError::ConfigTooLarge(
            reference.familiar(),
            config.size,
        ));
    }
    Ok(())
}

/// Brings an image that was found into the store: its layers in parallel, then its row.
///
/// # Errors
/// [`ImageError`]
pub(crate) async fn bring(
    images: &Images,
    reference: &Reference,
    resolved: &Resolved,
    names: Names,
    events: &dyn Events,
) -> Result<StoredImage, ImageError> {
    let client = images.client().await?;
    let manifest = &resolved.manifest;
    check_config(reference, manifest)?;
    let repository = reference.repository();
    let mut wanted = vec![manifest.config.clone()];
    wanted.extend(manifest.layers.iter().cloned());
    // Some are there long before the last, and no row knows them until then.
    let digests = wanted.iter().map(|blob| &blob.digest);
    images.store.expect_blobs(digests).await?;
    let blobs: Arc<dyn BlobStore> = images.store.blobs().clone();
    // First the configuration, which says what the layers are.
    client
        .pull_blobs(
            repository,
            std::slice::from_ref(&manifest.config),
            &blobs,
            events,
        )
        .await?;
    let id = manifest.config.digest.clone();
    let config: ImageConfig = images.read_config(&id).await?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(ImageError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let unpacking = Unpacking {
        layers: &manifest.layers,
        diff_ids,
        events,
    };
    let mut size = None;
    // Either way the diff IDs are checked.
    if rustix::process::geteuid().is_root() {
        let arrivals = Arrivals::new(events);
        let downloads = client.pull_blobs(repository, &manifest.layers, &blobs, &arrivals);
        let unpacked = unpack_arriving(images, &unpacking, &arrivals);
        together(downloads, unpacked, &arrivals).await?;
        images.ensure_unpacked(&config, &unpacking).await?;
    } else {
        client
            .pull_blobs(repository, &manifest.layers, &blobs, events)
            .await?;
        for (diff_id, layer) in diff_ids.iter().zip(&manifest.layers) {
            let layer = layer.clone();
            images.store.record_layer_blob(diff_id, layer).await?;
        }
        if images.store.image(&id).await?.is_none() {
            size = Some(images.measure(&config, &unpacking).await?);
        }
    }
    let blobs: Vec<Digest> = wanted.iter().map(|blob| blob.digest.clone()).collect();
    images.store.record_blob_sources(repository, &blobs).await?;
    // An image that was built here keeps its own manifest, which pushes come to again and again;
    // one that came from elsewhere keeps the one it came with.
    let built_here = images
        .store
        .image(&id)
        .await?
        .is_some_and(|image| image.manifest.is_none());
    let manifest = (!built_here).then(|| RawManifest {
        media_type: resolved.descriptor.media_type.clone(),
        bytes: resolved.bytes.to_vec(),
    });
    let image = NewImage {
        config: images.store.config(&id).await?,
        manifest,
        size,
        tags: names.tags,
        repo_digests: names.repo_digests,
        parent: None,
    };
    images.store.put_image(image).await?;
    Ok(StoredImage { id, config })
}

/// Unpacks each layer as soon as it and those below it are there, until no more come.
async fn unpack_arriving(
    images: &Images,
    unpacking: &Unpacking<'_>,
    arrivals: &Arrivals<'_>,
) -> Result<(), ImageError> {
    let mut parent = None;
    for (diff_id, layer) in unpacking.diff_ids.iter().zip(unpacking.layers) {
        if !arrivals.wait_for(&layer.digest).await {
            return Ok(());
        }
        let store = &images.store;
        store.record_layer_blob(diff_id, layer.clone()).await?;
        parent = Some(unpack_onto(images, diff_id, parent.as_ref(), unpacking).await?);
    }
    Ok(())
}

/// Does both at the same time. When the downloads fail, the layer that is being unpacked is waited
/// for, so that nobody writes any more; when unpacking fails, nothing more is downloaded.
async fn together(
    downloads: impl Future<Output = Result<(), client::Error>>,
    unpacked: impl Future<Output = Result<(), ImageError>>,
    arrivals: &Arrivals<'_>,
) -> Result<(), ImageError> {
    let (mut downloads, mut unpacked) = (pin!(downloads), pin!(unpacked));
    tokio::select! {
        done = &mut unpacked => {
            done?;
            Ok(downloads.await?)
        }
        done = &mut downloads => {
            arrivals.end(done.is_ok());
            let unpacked = unpacked.await;
            done?;
            unpacked
        }
    }
}

/// Which blobs are there, while others are still on their way.
#[derive(Debug, Default)]
struct There {
    digests: HashSet<Digest>,
    /// All of them, or all that ever will be.
    ended: Option<bool>,
}

/// Notes which blobs have come, and passes the events on.
struct Arrivals<'e> {
    events: &'e dyn Events,
    there: watch::Sender<There>,
}

impl<'e> Arrivals<'e> {
    fn new(events: &'e dyn Events) -> Self {
        let there = watch::Sender::default();
        Self { events, there }
    }

    /// No more come; whether that is because all are there.
    fn end(&self, all: bool) {
        self.there.send_modify(|there| there.ended = Some(all));
    }

    /// Waits for a blob; false when it does not come.
    async fn wait_for(&self, digest: &Digest) -> bool {
        let mut there = self.there.subscribe();
        let settled = there
            .wait_for(|there| there.ended.is_some() || there.digests.contains(digest))
            .await;
        settled.is_ok_and(|there| there.ended == Some(true) || there.digests.contains(digest))
    }
}

impl Events for Arrivals<'_> {
    fn layer(&self, layer: &Descriptor, state: &LayerState) {
        self.events.layer(layer, state);
        if let LayerState::DownloadComplete | LayerState::AlreadyExists = state {
            let digest = layer.digest.clone();
            self.there.send_modify(|there| {
                there.digests.insert(digest);
            });
        }
    }
}

/// Passes what is unpacked on as states of the layers that came.
struct Unpacking<'p> {
    layers: &'p [Descriptor],
    diff_ids: &'p [DiffId],
    events: &'p dyn Events,
}

impl Unpacking<'_> {
    fn tell(&self, id: &Digest, state: &LayerState) {
        let pairs = self.diff_ids.iter().zip(self.layers);
        for (_, layer) in pairs.filter(|(diff_id, _)| diff_id.digest() == id) {
            self.events.layer(layer, state);
        }
    }
}

impl LayerProgress for Unpacking<'_> {
    fn layer(&self, id: &Digest, current: u64, total: u64) {
        self.tell(id, &LayerState::Extracting { current, total });
    }

    fn done(&self, id: &Digest) {
        self.tell(id, &LayerState::PullComplete);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn blob(name: &str) -> Descriptor {
        Descriptor::new("layer", Digest::sha256(name.as_bytes()), 1)
    }

    fn denied() -> client::Error {
        client::Error::TooLarge {
            what: "blob".to_owned(),
            limit: 1,
        }
    }

    #[tokio::test]
    async fn layers_are_waited_for_until_no_more_come() {
        let (first, second) = (blob("first"), blob("second"));
        for fails in [false, true] {
            let arrivals = Arrivals::new(&client::Silent);
            let downloads = async {
                arrivals.layer(&second, &LayerState::VerifyingChecksum);
                arrivals.layer(&first, &LayerState::DownloadComplete);
                tokio::task::yield_now().await;
                match fails {
                    true => Err(denied()),
                    false => Ok(()),
                }
            };
            let seen = Mutex::new(Vec::new());
            let unpacked = async {
                for layer in [&first, &second] {
                    let there = arrivals.wait_for(&layer.digest).await;
                    seen.lock().unwrap().push(there);
                }
                Ok(())
            };
            let done = together(downloads, unpacked, &arrivals).await;
            assert_eq!(done.is_err(), fails);
            assert_eq!(*seen.lock().unwrap(), [true, !fails]);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_unpacked_ends_the_downloads() {
        let arrivals = Arrivals::new(&client::Silent);
        let downloads = std::future::pending::<Result<(), client::Error>>();
        let unpacked = async { Err(ImageError::NeedsRoot("a test")) };
        let done = together(downloads, unpacked, &arrivals).await;
        assert!(matches!(done, Err(ImageError::NeedsRoot(_))));
    }
}
