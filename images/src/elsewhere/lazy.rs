//! Images of registries, their layers left where they are.

use oci::{ChainId, Digest, ImageConfig, Platform, Reference};

use super::known::LazyImage;
use crate::error::ImageError;
use crate::pull::check_config;
use crate::service::{Images, StoredImage};

impl Images {
    /// The digest of the manifest that a name leads to, if that is the manifest of this image: the
    /// name may lead to another by now.
    pub async fn manifest_digest(
        &self,
        reference: &Reference,
        platform: &Platform,
        image: &StoredImage,
    ) -> Option<Digest> {
        let top = ChainId::chain(&image.config.rootfs.diff_ids).pop()?;
        let known = self.elsewhere.known().images.get(&top).cloned();
        if let Some(known) = known
            && known.resolved.manifest.config.digest == image.id
        {
            return Some(known.resolved.descriptor.digest.clone());
        }
        let client = self.client().await.ok()?;
        let resolved = client.resolve(reference, platform).await.ok()?;
        let same = resolved.manifest.config.digest == image.id;
        same.then_some(resolved.descriptor.digest)
    }

    /// As [`Images::image`], but of an image that has to be fetched only manifest and
    /// configuration are; [`Images::bring`] fetches the rest.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn image_lazily(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: bool,
        note: &(dyn Fn(&str) + Sync),
    ) -> Result<StoredImage, ImageError> {
        if !pull {
            match self.find_for(&reference.to_string(), platform).await {
                Ok(image) => return Ok(image),
                Err(ImageError::Store(store::Error::NoSuchImage { .. })) => {}
                Err(ImageError::Store(store::Error::NoPlatform { .. })) => {
                    return self.image(reference, platform, pull, note).await;
                }
                Err(e) => return Err(e),
            }
        }
        let client = self.client().await?;
        let resolved = client.resolve(reference, platform).await?;
        check_config(reference, &resolved.manifest)?;
        let wanted = resolved.manifest.config.clone();
        let repository = reference.repository();
        let bytes = client.fetch_blob(repository, &wanted, wanted.size).await?;
        let config: ImageConfig =
            serde_json::from_slice(&bytes).map_err(|cause| ImageError::Document {
                what: "configuration",
                cause,
            })?;
        let (layers, diff_ids) = (resolved.manifest.layers.len(), &config.rootfs.diff_ids);
        if layers != diff_ids.len() {
            return Err(ImageError::LayerCount {
                layers,
                diff_ids: diff_ids.len(),
            });
        }
        let top = ChainId::chain(diff_ids).pop();
        let image = LazyImage {
            reference: reference.clone(),
            platform: platform.clone(),
            resolved,
            config: config.clone(),
        };
        if let Some(top) = top {
            let mut known = self.elsewhere.known();
            known.add_layers_of(&image);
            known.images.insert(top, image.into());
        }
        Ok(StoredImage {
            id: wanted.digest,
            config,
        })
    }
}
