//! An image of an OCI image layout, used where it lies: its layers come into the store, but it is
//! no image of the store.

use std::path::PathBuf;

use oci::archive::ArchivedImage;
use oci::archive::pick::{Pick, open_image};
use oci::archive::read::ReadOptions;
use oci::{Digest, Platform};

use crate::error::ImageError;
use crate::load::ingest_layers;
use crate::progress::Untold;
use crate::service::{Images, StoredImage};

/// An image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPlace {
    /// The layout: a directory or an archive.
    pub path: PathBuf,
    /// The image in it.
    pub pick: Pick,
}

impl LayoutPlace {
    /// Reads `PATH`, `PATH:TAG` or `PATH@DIGEST`; a digest counts for more than a tag.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // An @ without an algorithm behind it is part of the path.
        let (rest, digest) = match text.rsplit_once('@') {
            Some((rest, digest)) if digest.contains(':') && !digest.contains('/') => {
                let parsed = digest.parse::<Digest>();
                (rest, Some(parsed.map_err(|e| format!("{digest:?}: {e}"))?))
            }
            _ => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if path.is_empty() || tag == Some("") {
            return Err("write oci-layout://PATH, with :TAG or @DIGEST behind it".to_owned());
        }
        let pick = match (digest, tag) {
            (Some(digest), _) => Pick::Digest(digest),
            (None, Some(tag)) => Pick::Tag(tag.to_owned()),
            (None, None) => Pick::Default,
        };
        let path = PathBuf::from(path);
        Ok(Self { path, pick })
    }
}

/// The image, its layers unread.
///
/// # Errors
/// [`ImageError::Layout`].
pub async fn open(place: &LayoutPlace, platform: &Platform) -> Result<ArchivedImage, ImageError> {
    let (path, pick) = (place.path.clone(), place.pick.clone());
    let platform = platform.clone();
    tokio::task::spawn_blocking(move || {
        // Only for a compressed archive.
        let spool = std::env::temp_dir();
        let options = ReadOptions::new(&spool);
        open_image(&path, &pick, &platform, &options)
            .map_err(|cause| ImageError::Layout { path, cause })
    })
    .await?
}

/// Brings the layers in and returns the image; every digest is verified.
///
/// # Errors
/// [`ImageError`]
pub async fn ingest_image(
    images: &Images,
    place: &LayoutPlace,
    platform: &Platform,
) -> Result<StoredImage, ImageError> {
    let image = open(place, platform).await?;
    ingest_layers(images, &image, &Untold).await?;
    Ok(StoredImage {
        id: Digest::sha256(&image.config),
        config: image.image_config,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_a_path_and_maybe_a_tag_or_digest() {
        let digest = Digest::sha256(b"x");
        for (text, path, pick) in [
            ("./layout", "./layout", Pick::Default),
            ("/a/b:v1", "/a/b", Pick::Tag("v1".into())),
            ("/a:b/c", "/a:b/c", Pick::Default),
            ("/a@b", "/a@b", Pick::Default),
            (&format!("/a@{digest}"), "/a", Pick::Digest(digest.clone())),
            (
                &format!("/a:v1@{digest}"),
                "/a",
                Pick::Digest(digest.clone()),
            ),
        ] {
            let place = LayoutPlace::parse(text).unwrap();
            assert_eq!((place.path, place.pick), (path.into(), pick), "{text}");
        }
        for text in ["", ":v1", "/a:", "/a@sha256:1"] {
            assert!(LayoutPlace::parse(text).is_err(), "{text}");
        }
    }
}
