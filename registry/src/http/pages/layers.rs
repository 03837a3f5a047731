//! What the layers of an image hold.

use std::sync::Arc;

use maud::html;
use oci::{Digest, ManifestDocument};

use super::done::Done;
use super::stop::Stop;
use super::view::View;
use crate::contents::Listing;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::{Look, ServiceError, StoredManifest};

/// Seconds after which a page that is not ready is asked for again.
const AGAIN: u32 = 3;

/// What the layers of an image hold, the lowest first; `None` for one that is not here.
pub(super) struct Layers {
    pub(super) digests: Vec<Digest>,
    pub(super) listings: Vec<Option<Arc<Listing>>>,
}

impl Layers {
    /// The same as borrowed.
    pub(super) fn all(&self) -> Vec<Option<&Listing>> {
        self.listings.iter().map(Option::as_deref).collect()
    }

    /// What is wrong with those that could not be read to their end.
    pub(super) fn problems(&self) -> Vec<String> {
        let listings = self.listings.iter().enumerate();
        listings
            .filter_map(|(at, listing)| match listing {
                None => Some(format!("Layer {} is not in this registry.", at + 1)),
                Some(listing) => {
                    let problem = listing.problem.as_ref()?;
                    Some(format!("Layer {}: {problem}.", at + 1))
                }
            })
            .collect()
    }
}

/// The layers of an image, or a page that says that they are being read.
pub(super) async fn of(
    view: &View<'_>,
    name: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Result<Layers, Done>, Stop> {
    let manifest = view.api.registry.manifest(name, reference).await?;
    let digests = layers(&manifest)?;
    let mut listings = Vec::with_capacity(digests.len());
    for (at, digest) in digests.iter().enumerate() {
        match view.api.registry.look_into(name, digest).await {
            Ok(Look::Listing(listing)) => listings.push(Some(listing)),
            Ok(Look::Reading { read, size }) => {
                return Ok(Err(reading(at, digests.len(), read, size)));
            }
            // A layer that is had from elsewhere.
            Err(ServiceError::BlobUnknown(_)) => listings.push(None),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Ok(Layers { digests, listings }))
}

/// The layers that a manifest lists.
pub(super) fn layers(manifest: &StoredManifest) -> Result<Vec<Digest>, Stop> {
    match ManifestDocument::parse(&manifest.bytes, Some(&manifest.row.media_type)) {
        Ok(ManifestDocument::Manifest(image)) => {
            Ok(image.layers.into_iter().map(|layer| layer.digest).collect())
        }
        Ok(ManifestDocument::Index(_)) => Err(Stop::bad(
            "This is an index of several images: choose one of them first.",
        )),
        Err(e) => Err(ServiceError::ManifestInvalid(e.to_string()).into()),
    }
}

/// A page for the time that reading takes.
fn reading(at: usize, all: usize, read: u64, size: u64) -> Done {
    let content = html! {
        div.notice {
            h1 { "Reading layers" }
            p { "Layer " (at + 1) " of " (all) " is looked into for the first time. This page shows \
                 what is in it as soon as that is known." }
            progress max=(size.max(1)) value=(read) aria-label="Read so far" {}
        }
    };
    Done::Again(AGAIN, "Reading layers".to_owned(), content)
}
