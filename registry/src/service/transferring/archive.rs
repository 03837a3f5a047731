//! Takes over docker archives, which have no manifests: those are made here.
//!
//! Layers stay as they are stored, usually plain tars; their digests are their diff IDs then.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use oci::archive::{ArchivedImage, ArchivedLayer, IMAGE_NAME, ImageArchive};
use oci::digest::Hashing;
use oci::layer::compression::Encoding;
use oci::{Descriptor, Digest, Manifest, MediaType, media_type};

use super::imported::Imported;
use super::names::target;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::pushing::Push;
use crate::service::state::Registry;
use crate::storage::{BlobFiles, Context};
use crate::sync::blocking;

/// How an image is to be described.
#[derive(Debug)]
struct Described {
    layers: Vec<Descriptor>,
    media_type: MediaType,
    manifest: Bytes,
}

impl Registry {
    /// Imports the images of a docker archive.
    ///
    /// # Errors
    /// As [`Registry::import_layout`].
    pub(super) async fn import_archive(
        self: &Arc<Self>,
        archive: ImageArchive,
        given: Option<&RepositoryName>,
    ) -> Result<Imported, ServiceError> {
        let mut imported = Imported::default();
        let mut repositories = BTreeSet::new();
        for image in archive.images {
            let id = Digest::sha256(&image.config);
            let targets = match targets(&image, given) {
                Ok(targets) => targets,
                Err(why) => {
                    imported.skipped.push(format!("image {id}: {why}"));
                    continue;
                }
            };
            for (name, tag) in targets {
                let tags = u64::from(tag.is_some());
                match self.import_image(&image, &name, tag, &mut imported).await? {
                    Ok(()) => {
                        imported.manifests += 1;
                        imported.tags += tags;
                        repositories.insert(name);
                    }
                    Err(why) => imported.skipped.push(format!("{name}: image {id}: {why}")),
                }
            }
        }
        imported.repositories = repositories.len() as u64;
        Ok(imported)
    }

    /// The inner error is about this image only.
    async fn import_image(
        self: &Arc<Self>,
        image: &ArchivedImage,
        repository: &RepositoryName,
        tag: Option<Tag>,
        imported: &mut Imported,
    ) -> Result<Result<(), String>, ServiceError> {
        let source = image.clone();
        let described = blocking(move || Ok::<_, ServiceError>(describe(&source))).await?;
        let described = match described {
            Ok(described) => described,
            Err(why) => return Ok(Err(why)),
        };
        for (descriptor, layer) in described.layers.iter().zip(&image.layers) {
            let layer = layer.clone();
            let bring = move |files: &BlobFiles, digest: &Digest| {
                let mut reader = layer
                    .open()
                    .map_err(io::Error::other)
                    .context("read", "the archive".as_ref())?;
                files.import_from(&mut reader, digest)
            };
            let digest = &descriptor.digest;
            let brought = self.take_blob(repository, digest, imported, bring).await?;
            if let Err(why) = brought {
                return Ok(Err(format!("{digest}: {why}")));
            }
        }
        let config = image.config.clone();
        let bring = move |files: &BlobFiles, digest: &Digest| {
            files.import_from(&mut config.as_slice(), digest)
        };
        let id = Digest::sha256(&image.config);
        if let Err(why) = self.take_blob(repository, &id, imported, bring).await? {
            return Ok(Err(why));
        }
        let digest = ManifestRef::Digest(Digest::sha256(&described.manifest));
        let push = Push {
            bytes: described.manifest,
            content_type: Some(described.media_type),
            tags: tag.into_iter().collect(),
            ..Push::default()
        };
        match self.put_manifest(repository, &digest, push, &None).await {
            Ok(_) => Ok(Ok(())),
            Err(
                e @ (ServiceError::Storage(_) | ServiceError::Meta(_) | ServiceError::Quota(_)),
            ) => Err(e),
            Err(e) => Ok(Err(e.to_string())),
        }
    }
}

/// Where an image goes: to every name that it has, or to the repository that was given.
fn targets(
    image: &ArchivedImage,
    given: Option<&RepositoryName>,
) -> Result<Vec<(RepositoryName, Option<Tag>)>, String> {
    let mut targets = Vec::new();
    let unnamed = || Descriptor::new(media_type::OCI_MANIFEST, Digest::empty(), 0);
    let mut entries: Vec<Descriptor> = image
        .references
        .iter()
        .map(|reference| {
            let mut entry = unnamed();
            entry
                .annotations
                .insert(IMAGE_NAME.to_owned(), reference.to_string());
            entry
        })
        .collect();
    if entries.is_empty() {
        entries.push(unnamed());
    }
    for entry in entries {
        targets.push(target(&entry, given)?);
    }
    Ok(targets)
}

fn describe(image: &ArchivedImage) -> Result<Described, String> {
    let layers = image
        .layers
        .iter()
        .map(layer)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some((media_type, bytes)) = &image.manifest {
        return Ok(Described {
            layers,
            media_type: media_type.clone(),
            manifest: bytes.clone().into(),
        });
    }
    let id = Digest::sha256(&image.config);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, id, image.config.len() as u64),
        layers: layers.clone(),
        subject: None,
        annotations: Default::default(),
    };
    Ok(Described {
        layers,
        media_type: media_type::OCI_MANIFEST.into(),
        manifest: serde_json::to_vec(&manifest)
            .map_err(|e| e.to_string())?
            .into(),
    })
}

fn layer(layer: &ArchivedLayer) -> Result<Descriptor, String> {
    let diff_id = &layer.diff_id;
    let media_type = layer
        .media_type()
        .ok_or_else(|| format!("layer {diff_id} is compressed in a way that no registry serves"))?;
    let digest = match &layer.descriptor {
        Some(descriptor) => descriptor.digest.clone(),
        None if layer.compression == Encoding::None => diff_id.digest().clone(),
        None => {
            let mut hashing = Hashing::new(layer.open().map_err(|e| e.to_string())?);
            io::copy(&mut hashing, &mut io::sink()).map_err(|e| e.to_string())?;
            hashing.finish().1
        }
    };
    Ok(Descriptor::new(media_type, digest, layer.size))
}
