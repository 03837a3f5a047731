//! What is known of layers that may not be in the store. Forgotten with the process: whoever looks
//! again asks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::Resolved;
use oci::blob::DiskBlobs;
use oci::reference::Repository;
use oci::{ChainId, Descriptor, DiffId, ImageConfig, Platform, Reference};

/// Where the blob of a layer can be had.
#[derive(Clone, Debug)]
pub enum Place {
    /// A repository of a registry.
    Repository(Repository),
    /// An OCI image layout in a directory.
    Layout(Arc<DiskBlobs>),
}

/// A blob, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) blob: Descriptor,
    pub(crate) place: Place,
}

/// An image of which manifest and configuration are known.
#[derive(Debug)]
pub(crate) struct LazyImage {
    pub(crate) reference: Reference,
    pub(crate) platform: Platform,
    pub(crate) resolved: Resolved,
    pub(crate) config: ImageConfig,
}

/// What is known, shared by all that use one store.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    known: Mutex<Known>,
    /// Held while a layer is unpacked, so that two steps do not both do it.
    unpacking: Mutex<HashMap<ChainId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Layers, what stacks consist of, and images.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) layers: HashMap<DiffId, Vec<Remote>>,
    /// The stack below, and the layer on top.
    pub(crate) stacks: HashMap<ChainId, (Option<ChainId>, DiffId)>,
    /// By the stack of all their layers.
    pub(crate) images: HashMap<ChainId, Arc<LazyImage>>,
}

impl Elsewhere {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unpacking(&self, chain: &ChainId) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self
            .unpacking
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(chain.clone()).or_default())
    }
}

impl Known {
    pub(crate) fn add(&mut self, diff_id: &DiffId, blob: Descriptor, place: Place) {
        let remotes = self.layers.entry(diff_id.clone()).or_default();
        remotes.push(Remote { blob, place });
    }

    pub(crate) fn stack(&mut self, parent: Option<&ChainId>, diff_id: &DiffId) -> ChainId {
        let chain = ChainId::extend(parent, diff_id);
        let parts = (parent.cloned(), diff_id.clone());
        self.stacks.insert(chain.clone(), parts);
        chain
    }

    /// The layers of an image, which are where the image is.
    pub(crate) fn add_layers_of(&mut self, image: &LazyImage) {
        let layers = &image.resolved.manifest.layers;
        for (diff_id, blob) in image.config.rootfs.diff_ids.iter().zip(layers) {
            let place = Place::Repository(image.reference.repository().clone());
            self.add(diff_id, blob.clone(), place);
        }
    }
}
