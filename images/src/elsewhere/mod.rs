//! Layers that are not in the store, and where they can be had. Nothing of them is fetched before
//! somebody needs their files.
//!
//! - [`known`]: what is known of them; this module: how it comes to be known
//! - [`bring`]: fetching them, verified, into the store
//! - `lazy`: images of registries of which only the configuration was read

pub(crate) mod bring;
pub(crate) mod known;
mod lazy;

use oci::reference::Repository;
use oci::{ChainId, Descriptor, DiffId, Digest};

pub use known::Place;

use crate::elsewhere::known::Remote;
use crate::service::Images;

impl Images {
    /// Learns that a layer on top of `parent` can be had elsewhere; the stack of both.
    pub fn layer_elsewhere(
        &self,
        parent: Option<&ChainId>,
        diff_id: &DiffId,
        blob: Descriptor,
        place: Place,
    ) -> ChainId {
        let mut known = self.elsewhere.known();
        known.add(diff_id, blob, place);
        known.stack(parent, diff_id)
    }

    /// Learns of a stack whose layer is in the store or elsewhere, and is to lie on `parent`.
    pub fn stack_elsewhere(&self, parent: &ChainId, diff_id: &DiffId) -> ChainId {
        self.elsewhere.known().stack(Some(parent), diff_id)
    }

    /// Learns of a layer on top of `parent` that is to be had nowhere; the stack of both.
    pub fn unknown_elsewhere(&self, parent: Option<&ChainId>, diff_id: &DiffId) -> ChainId {
        self.elsewhere.known().stack(parent, diff_id)
    }

    /// Whether a stack can be brought in.
    pub fn is_elsewhere(&self, chain: &ChainId) -> bool {
        let known = self.elsewhere.known();
        known.stacks.contains_key(chain) || known.images.contains_key(chain)
    }

    /// Forgets all layers that can be had elsewhere but those of images.
    pub fn forget_elsewhere(&self) {
        let mut known = self.elsewhere.known();
        known.stacks.clear();
        known.layers.clear();
        let images: Vec<_> = known.images.values().cloned().collect();
        for image in images {
            known.add_layers_of(&image);
        }
    }

    /// The blobs of a layer that can be had elsewhere.
    pub(crate) fn remotes(&self, diff_id: &DiffId) -> Vec<Remote> {
        let known = self.elsewhere.known();
        known.layers.get(diff_id).cloned().unwrap_or_default()
    }

    /// The repositories that are known to have a blob of a layer.
    pub(crate) fn repositories(&self, diff_id: &DiffId, blob: &Digest) -> Vec<Repository> {
        let remotes = self.remotes(diff_id).into_iter();
        remotes
            .filter(|remote| remote.blob.digest == *blob)
            .filter_map(|remote| match remote.place {
                Place::Repository(repository) => Some(repository),
                Place::Layout(_) => None,
            })
            .collect()
    }
}
