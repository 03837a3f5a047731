//! Takes over OCI image layouts: what `rregistry export`, skopeo, buildah, docker and rbuild write.
//! Docker archives, which are none, are told apart here.
//!
//! Every blob is verified. What is there already is kept, so that an import that was interrupted
//! can be started again.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oci::archive::read::ReadOptions;
use oci::archive::{ArchiveError, ImageArchive, LayoutReader};
use oci::{Descriptor, Digest, ManifestDocument};
use serde::{Deserialize, Serialize};

use super::imported::Imported;
use super::names::target;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::error::ServiceError;
use crate::service::pushing::{Push, needs};
use crate::service::state::Registry;
use crate::storage::{BlobFiles, Context, Staged, StorageError};
use crate::sync::blocking;

/// How deep indexes may be nested.
const MAX_NESTING: usize = 16;

/// What to import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportOptions {
    /// A directory or a file.
    pub layout: PathBuf,
    /// The repository that everything goes to, instead of those that names in the layout say.
    pub repository: Option<String>,
    /// Files of a directory that nobody else may write to are taken over as hard links: who writes
    /// into them damages the registry.
    #[serde(default)]
    pub link: bool,
}

/// A manifest to be put, after those before it.
#[derive(Debug)]
struct Step {
    entry: Descriptor,
    repository: RepositoryName,
    tags: Vec<Tag>,
    blobs: Vec<Digest>,
}

/// Everything of a layout, in an order in which it can be put.
#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    /// Where each manifest is among the steps; `None` for one that cannot be put.
    seen: HashMap<(RepositoryName, Digest), Option<usize>>,
    skipped: Vec<String>,
}

/// What was found.
#[derive(Debug)]
enum Read {
    Layout(LayoutReader, Plan),
    Archive(ImageArchive),
}

impl Registry {
    /// Imports a layout.
    ///
    /// # Errors
    /// [`ServiceError::Archive`] when it is none, [`ServiceError`] when the disk or the database
    /// fails or is full; single things that cannot be taken over are listed instead.
    pub async fn import_layout(
        self: &Arc<Self>,
        options: &ImportOptions,
    ) -> Result<Imported, ServiceError> {
        let given = options.repository.as_deref().map(str::parse).transpose()?;
        let (path, spool) = (options.layout.clone(), self.blobs.staging().to_owned());
        let target = given.clone();
        let read = blocking(move || {
            let options = ReadOptions::new(&spool);
            match LayoutReader::open(&path, &options) {
                Ok(layout) => {
                    let plan = plan(&layout, target.as_ref())?;
                    Ok(Read::Layout(layout, plan))
                }
                Err(ArchiveError::NotALayout { docker: true }) => {
                    Ok(Read::Archive(oci::archive::read::open(&path, &options)?))
                }
                Err(e) => Err(ServiceError::from(e)),
            }
        })
        .await?;
        let (layout, plan) = match read {
            Read::Layout(layout, plan) => (layout, plan),
            Read::Archive(archive) => return self.import_archive(archive, given.as_ref()).await,
        };
        let mut imported = Imported {
            skipped: plan.skipped,
            ..Imported::default()
        };
        let mut repositories = BTreeSet::new();
        for step in plan.steps {
            let tags = step.tags.len() as u64;
            let (name, digest) = (step.repository.clone(), step.entry.digest.clone());
            match self
                .import_step(&layout, step, options.link, &mut imported)
                .await?
            {
                Ok(()) => {
                    imported.manifests += 1;
                    imported.tags += tags;
                    repositories.insert(name);
                }
                Err(why) => imported
                    .skipped
                    .push(format!("{name}: manifest {digest}: {why}")),
            }
        }
        imported.repositories = repositories.len() as u64;
        Ok(imported)
    }

    /// The inner error is about this manifest only.
    async fn import_step(
        self: &Arc<Self>,
        layout: &LayoutReader,
        step: Step,
        link: bool,
        imported: &mut Imported,
    ) -> Result<Result<(), String>, ServiceError> {
        for digest in &step.blobs {
            let layout = layout.clone();
            let bring =
                move |files: &BlobFiles, digest: &Digest| take_from(&layout, files, digest, link);
            let brought = self
                .take_blob(&step.repository, digest, imported, bring)
                .await?;
            if let Err(why) = brought {
                return Ok(Err(format!("{digest}: {why}")));
            }
        }
        let (layout, digest) = (layout.clone(), step.entry.digest.clone());
        let read = blocking(move || Ok::<_, ServiceError>(layout.document(&digest))).await?;
        let bytes: Bytes = match read {
            Ok(Some(bytes)) => bytes.into(),
            Ok(None) => return Ok(Err("its content is missing".into())),
            Err(e) => return Ok(Err(e.to_string())),
        };
        let reference = ManifestRef::Digest(step.entry.digest);
        let push = Push {
            bytes,
            content_type: Some(step.entry.media_type),
            tags: step.tags,
            ..Push::default()
        };
        match self
            .put_manifest(&step.repository, &reference, push, &None)
            .await
        {
            Ok(_) => Ok(Ok(())),
            Err(
                e @ (ServiceError::Storage(_) | ServiceError::Meta(_) | ServiceError::Quota(_)),
            ) => Err(e),
            Err(ServiceError::ManifestBlobUnknown(missing)) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                Ok(Err(format!(
                    "the layout does not have what it needs: {}",
                    missing.join(", ")
                )))
            }
            Err(e) => Ok(Err(e.to_string())),
        }
    }
}

fn plan(layout: &LayoutReader, given: Option<&RepositoryName>) -> Result<Plan, ArchiveError> {
    let mut plan = Plan::default();
    for entry in layout.index()?.manifests {
        match target(&entry, given) {
            Ok((repository, tag)) => plan.add(layout, &entry, &repository, tag, 0),
            Err(why) => plan.skipped.push(format!("{}: {why}", entry.digest)),
        }
    }
    Ok(plan)
}

impl Plan {
    fn add(
        &mut self,
        layout: &LayoutReader,
        entry: &Descriptor,
        repository: &RepositoryName,
        tag: Option<Tag>,
        depth: usize,
    ) {
        let digest = &entry.digest;
        let key = (repository.clone(), digest.clone());
        if let Some(seen) = self.seen.get(&key) {
            // One more name of it.
            if let Some(step) = seen.and_then(|at| self.steps.get_mut(at)) {
                step.tags.extend(tag);
            }
            return;
        }
        self.seen.insert(key.clone(), None);
        let document = match document(layout, entry, depth) {
            Ok(Some(document)) => document,
            // What lists it says that it is missing, or does without.
            Ok(None) if depth > 0 => return,
            Ok(None) => {
                let line = format!("{repository}: manifest {digest}: its content is missing");
                return self.skipped.push(line);
            }
            Err(why) => {
                let line = format!("{repository}: manifest {digest}: {why}");
                return self.skipped.push(line);
            }
        };
        let (mut blobs, _) = needs(&document);
        if let ManifestDocument::Index(index) = &document {
            for child in &index.manifests {
                if child.media_type.is_manifest() || child.media_type.is_index() {
                    self.add(layout, child, repository, None, depth + 1);
                } else if matches!(layout.blob(&child.digest), Ok(Some(_))) {
                    // Build caches list layers.
                    blobs.push(child.digest.clone());
                }
            }
        }
        let mut entry = entry.clone();
        if !entry.media_type.is_manifest() && !entry.media_type.is_index() {
            entry.media_type = document.media_type();
        }
        self.seen.insert(key, Some(self.steps.len()));
        self.steps.push(Step {
            entry,
            repository: repository.clone(),
            tags: tag.into_iter().collect(),
            blobs,
        });
    }
}

fn document(
    layout: &LayoutReader,
    entry: &Descriptor,
    depth: usize,
) -> Result<Option<ManifestDocument>, String> {
    if depth > MAX_NESTING {
        return Err("indexes are nested too deep".into());
    }
    let Some(bytes) = layout.document(&entry.digest).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let given = &entry.media_type;
    let given = (given.is_manifest() || given.is_index()).then_some(given);
    ManifestDocument::parse(&bytes, given)
        .map(Some)
        .map_err(|e| e.to_string())
}

/// Takes a blob of a layout; with `link` by a hard link, when its file is surely ours.
fn take_from(
    layout: &LayoutReader,
    files: &BlobFiles,
    digest: &Digest,
    link: bool,
) -> Result<Option<Staged>, StorageError> {
    if link
        && let Some(path) = layout.path(digest)
        && is_ours(&path)
    {
        return files.link(&path, digest);
    }
    let path = Path::new("the layout");
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let mut reader = layout
        .blob(digest)
        .map_err(std::io::Error::other)
        .and_then(|found| found.ok_or_else(missing))
        .context("read", path)?;
    if let Some(file) = reader.whole_file()
        && let Some(done) = files.import_shared(file, digest)?
    {
        return Ok(done);
    }
    files.import_from(&mut reader, digest)
}

/// A plain file that nobody else can write to: otherwise a link would let them change our blob.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| {
        m.is_file() && m.uid() == rustix::process::geteuid().as_raw() && m.mode() & 0o022 == 0
    })
}
