//! The images that builds stand on: the store's own, else from where they come.

use std::sync::{Mutex, PoisonError};

use client::{Events, LayerState};
use oci::{Descriptor, Digest, Platform, Reference};
use store::Content;

use crate::error::ImageError;
use crate::index::pull::{Wanted, pull_index};
use crate::pull::pull_image;
use crate::service::{Images, StoredImage};

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
            let name = reference.to_string();
            match self.find_for(&name, platform).await {
                Ok(image) => return Ok(image),
                Err(ImageError::Store(store::Error::NoSuchImage { .. })) => {}
                Err(ImageError::Store(store::Error::NoPlatform { .. })) => {
                    return self.other_platform(reference, platform, note).await;
                }
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

    /// The image of a name that the store has for other platforms only: from where it came. The
    /// name then leads to the index of all of them, lest two builds take it from each other.
    async fn other_platform(
        &self,
        reference: &Reference,
        platform: &Platform,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<StoredImage, ImageError> {
        let name = reference.to_string();
        let there = self.store.content(&name).await?;
        let came = there.repo_digests().iter();
        let mut came = came.filter(|known| known.repository() == reference.repository());
        if came.next().is_none() {
            let actual: Vec<String> = match &there {
                Content::Image(image) => vec![image.platform.to_string()],
                Content::Index(index) => {
                    let all = index.platforms();
                    all.iter().map(ToString::to_string).collect()
                }
            };
            return Err(ImageError::Platform {
                reference: reference.familiar(),
                wanted: platform.to_string(),
                actual: actual.join(", "),
            });
        }
        note(&format!("pulling {reference} for {platform}"));
        let noted = Noted {
            note,
            extracting: Mutex::default(),
        };
        let mut platforms = vec![platform.clone()];
        match &there {
            Content::Image(image) => platforms.push(image.platform.clone()),
            Content::Index(index) => platforms.extend(index.platforms()),
        }
        let wanted = Wanted::Platforms(platforms);
        pull_index(self, reference, &wanted, &noted).await?;
        self.find_for(&name, platform).await
    }
}
