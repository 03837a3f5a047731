//! Images from registries into the store.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use client::{Events, LayerState};
use oci::blob::BlobStore;
use oci::{Descriptor, DiffId, Digest, ImageConfig, Platform, Reference};
use store::{NewImage, RawManifest};
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
    let manifest = &resolved.manifest;
    if !manifest.config.media_type.is_image_config() {
        let kind = manifest.config.media_type.to_string();
        return Err(ImageError::NotAnImage(reference.familiar(), kind));
    }
    if manifest.config.size > MAX_CONFIG {
        let size = manifest.config.size;
        return Err(ImageError::ConfigTooLarge(reference.familiar(), size));
    }
    let before = images
        .store
        .resolve(&reference.to_string())
        .await
        .ok()
        .map(|image| image.id);
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
    let tags: Vec<Reference> = match reference.digest() {
        Some(_) => Vec::new(),
        None => vec![reference.clone().or_latest()],
    };
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
        tags,
        repo_digests: vec![reference.with_digest(resolved.digest().clone())],
    };
    images.store.put_image(image).await?;
    let up_to_date = before.as_ref() == Some(&id);
    Ok(Pulled {
        image: StoredImage { id, config },
        digest: resolved.digest().clone(),
        up_to_date,
    })
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

/// Passes on what takes time in a pull as notes, each layer's once.
struct Noted<'n> {
    note: &'n (dyn Fn(&str) + Sync),
    extracting: Mutex<Vec<Digest>>,
}

impl Events for Noted<'_> {
    fn layer(&self, layer: &Descriptor, state: &LayerState) {
        match state {
            LayerState::DownloadComplete => (self.note)(&format!("{} done", layer.digest)),
            LayerState::Extracting { .. } => {
                let mut told = self
                    .extracting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if !told.contains(&layer.digest) {
                    told.push(layer.digest.clone());
                    drop(told);
                    (self.note)(&format!("extracting {}", layer.digest));
                }
            }
            _ => {}
        }
    }
}

impl Images {
    /// The image of a reference for a platform: the store's own, or fetched when it has none (or
    /// `pull` asks for the newest). `note` is told what takes time.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn image(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: bool,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<StoredImage, ImageError> {
        if !pull {
            match self.find(&reference.to_string()).await {
                Ok(image) => {
                    let actual = image.config.platform();
                    if platform.runs(&actual) {
                        return Ok(image);
                    }
                    return Err(ImageError::Platform {
                        reference: reference.familiar(),
                        wanted: platform.to_string(),
                        actual: actual.to_string(),
                    });
                }
                Err(ImageError::Store(store::Error::NoSuchImage { .. })) => {}
                Err(e) => return Err(e),
            }
        }
        note(&format!("pulling {reference}"));
        let noted = Noted {
            note,
            extracting: Mutex::default(),
        };
        let fetched = pull_image(self, reference, platform, &noted).await?;
        Ok(fetched.image)
    }
}

#[cfg(test)]
mod tests {
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
