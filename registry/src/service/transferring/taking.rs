//! A repository that an import finds elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;
use oci::manifest::MAX_MANIFEST_SIZE;

use super::imported::Imported;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::pushing::Push;
use crate::service::state::Registry;
use crate::storage::{BlobFiles, Staged, StorageError};
use crate::sync::blocking;

/// Where an import finds content by its digest.
pub(super) trait Source: fmt::Debug + Send + Sync + 'static {
    /// Brings a blob among the files of a store; `None` when it is not what its digest says.
    fn bring(&self, files: &BlobFiles, digest: &Digest) -> Result<Option<Staged>, StorageError>;

    /// Opens content to be read.
    fn open(&self, digest: &Digest) -> Result<Box<dyn io::Read + '_>, StorageError>;
}

/// One repository, as it is elsewhere.
#[derive(Debug)]
pub(super) struct Elsewhere {
    /// What it is called, and will be here.
    pub(super) name: RepositoryName,
    /// Layers and configurations.
    pub(super) layers: Vec<Digest>,
    /// Manifests, each with its tags.
    pub(super) manifests: BTreeMap<Digest, Vec<Tag>>,
}

impl Registry {
    /// Takes over a repository. What is there already is kept.
    pub(super) async fn take_repository(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        from: Elsewhere,
        imported: &mut Imported,
    ) -> Result<(), ServiceError> {
        imported.repositories += 1;
        let name = &from.name;
        for digest in &from.layers {
            let source = Arc::clone(source);
            let bring = move |files: &BlobFiles, digest: &Digest| source.bring(files, digest);
            if let Err(why) = self.take_blob(name, digest, imported, bring).await? {
                imported
                    .skipped
                    .push(format!("{name}: layer {digest}: {why}"));
            }
        }
        // Indexes need their manifests first, whatever the order in which they are found.
        let mut waiting = from.manifests;
        loop {
            let before = waiting.len();
            let mut refused = BTreeMap::new();
            let mut reasons = Vec::new();
            for (digest, tags) in std::mem::take(&mut waiting) {
                let taken = self
                    .take_manifest(source, name, &digest, tags.clone())
                    .await?;
                match taken {
                    Ok(()) => {
                        imported.manifests += 1;
                        imported.tags += tags.len() as u64;
                    }
                    Err(why) => {
                        reasons.push(format!("{name}: manifest {digest}: {why}"));
                        refused.insert(digest, tags);
                    }
                }
            }
            if refused.is_empty() {
                return Ok(());
            }
            if refused.len() == before {
                imported.skipped.extend(reasons);
                return Ok(());
            }
            waiting = refused;
        }
    }

    /// The inner error is about this manifest only.
    async fn take_manifest(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        repository: &RepositoryName,
        digest: &Digest,
        tags: Vec<Tag>,
    ) -> Result<Result<(), String>, ServiceError> {
        let bytes: Bytes = match read(source, digest).await {
            Ok(Some(bytes)) => bytes.into(),
            Ok(None) => return Ok(Err("it is too large".into())),
            Err(StorageError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                return Ok(Err("its content is missing".into()));
            }
            Err(e) => return Err(e.into()),
        };
        let reference = ManifestRef::Digest(digest.clone());
        let push = Push {
            bytes,
            tags,
            ..Push::default()
        };
        match self.put_manifest(repository, &reference, push, &None).await {
            Ok(_) => Ok(Ok(())),
            Err(
                e @ (ServiceError::Storage(_) | ServiceError::Meta(_) | ServiceError::Quota(_)),
            ) => Err(e),
            Err(e) => Ok(Err(e.to_string())),
        }
    }
}

/// A manifest's content; `None` when it is too large for one.
async fn read(source: &Arc<dyn Source>, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
    let (source, digest) = (Arc::clone(source), digest.clone());
    blocking(move || {
        let most = MAX_MANIFEST_SIZE as u64;
        let mut bytes = Vec::new();
        let read = source.open(&digest)?.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|cause| StorageError::Io {
            what: "read",
            path: digest.to_string().into(),
            cause,
        })?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    })
    .await
}
