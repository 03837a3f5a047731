//! Writing entries, each in the background as its step ends. What cannot be written is a warning:
//! a cache only saves work.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use client::{LayerState, PushLayer, Silent};
use oci::blob::{BlobStore, MemoryBlobs};
use oci::manifest::ManifestDocument;
use oci::media_type::{self, LayerCompression};
use oci::reference::Repository;
use oci::{ChainId, Descriptor, DiffId, Reference};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::artifact::{self, EMPTY, decode, encode};
use super::entry::{Draft, Entry, Name, Step};
use super::layout::Layout;
use super::place::{CachePlace, Mode};
use super::sources::Warn;
use crate::elsewhere::bring::copy_blob;
use crate::error::ImageError;
use crate::push::{PushProgress, push_layer, registry_blob};
use crate::service::Images;

/// A longer list of what a step takes is not shared: it has to fit into a manifest.
const MAX_FILES: usize = 1 << 20;

/// Entries that are written at the same time.
const WRITERS: usize = 8;

/// One `--cache-to`.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// Where the cache is.
    pub place: CachePlace,
    /// Which steps it gets.
    pub mode: Mode,
    /// How their layers are compressed; `None` for whatever there is.
    pub compression: Option<LayerCompression>,
}

/// All `--cache-to` but the inline one.
pub struct Targets {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    images: Images,
    all: Vec<Target>,
    warn: Warn,
    /// Who may write.
    writing: Semaphore,
}

struct Target {
    cache: CachePlace,
    /// As it is shown.
    shown: String,
    kind: Kind,
    mode: Mode,
    compression: Option<LayerCompression>,
    /// It could not be written, and is not tried again.
    down: AtomicBool,
}

enum Kind {
    Registry {
        repository: Repository,
        prefix: Option<String>,
        /// The blob without content is there.
        empty: OnceCell<()>,
    },
    Layout {
        path: PathBuf,
        prefix: Option<String>,
        /// Once it is made, with the entries that it had.
        layout: OnceCell<(Layout, HashMap<String, Descriptor>)>,
        /// Entries that its index gets when all are written.
        new: Mutex<BTreeMap<String, Descriptor>>,
    },
}

/// How an entry came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was made now, and replaces whatever a cache has.
    Made,
    /// It was there; caches that have it keep theirs.
    Found,
    /// It was found in this cache.
    Cache(CachePlace),
}

/// One entry to be written.
#[derive(Clone)]
struct Order {
    name: Name,
    draft: Draft,
    /// It was made now, and replaces whatever is there.
    made: bool,
    /// Of a step's layer only what it is.
    hollow: bool,
}

/// Tells nobody.
struct Quiet;

impl PushProgress for Quiet {
    fn layers(&self, _: &[DiffId]) {}
    fn layer(&self, _: &DiffId, _: &LayerState) {}
}

impl Targets {
    /// Nothing is written yet.
    pub fn new(images: &Images, options: &[TargetOptions], warn: Warn) -> Self {
        let all = options.iter().map(|options| {
            let (shown, kind) = match &options.place {
                CachePlace::Registry(reference) => (
                    reference.familiar(),
                    Kind::Registry {
                        repository: reference.repository().clone(),
                        prefix: reference.tag().map(str::to_owned),
                        empty: OnceCell::new(),
                    },
                ),
                CachePlace::Local { path, prefix, .. } => (
                    path.display().to_string(),
                    Kind::Layout {
                        path: path.clone(),
                        prefix: prefix.clone(),
                        layout: OnceCell::new(),
                        new: Mutex::default(),
                    },
                ),
            };
            Target {
                cache: options.place.clone(),
                shown,
                kind,
                mode: options.mode,
                compression: options.compression,
                down: AtomicBool::new(false),
            }
        });
        Self {
            shared: Arc::new(Shared {
                images: images.clone(),
                all: all.collect(),
                warn,
                writing: Semaphore::new(WRITERS),
            }),
            tasks: Mutex::default(),
        }
    }

    /// Whether there is none to write to.
    pub fn is_empty(&self) -> bool {
        self.shared.all.is_empty()
    }

    /// Begins to write an entry of a step whose layer is `in_result`, or is not: then a cache of
    /// the result's layers gets what others need to know of it, and not the layer.
    pub fn put(&self, name: &Name, draft: &Draft, in_result: bool, origin: &Origin) {
        if let Draft::Files(files) = draft {
            let size: usize = files.iter().map(|(a, b)| a.len() + b.len() + 8).sum();
            if size > MAX_FILES {
                return;
            }
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, target) in self.shared.all.iter().enumerate() {
            let there = matches!(origin, Origin::Cache(cache) if *cache == target.cache);
            let lacking = matches!(draft, Draft::Step { hollow: true, .. });
            // With all layers, or none: what lacks is of no use to a cache of all.
            if !there && (target.mode == Mode::Min || !lacking) {
                let shared = Arc::clone(&self.shared);
                let order = Order {
                    name: name.clone(),
                    draft: draft.clone(),
                    made: *origin == Origin::Made,
                    hollow: lacking || (target.mode == Mode::Min && !in_result),
                };
                tasks.spawn(async move { shared.write(index, &order).await });
            }
        }
    }

    /// Waits until everything is written.
    pub async fn finish(&self) {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        for target in &self.shared.all {
            if let Err(e) = target.close().await {
                self.shared.failed(target, &e);
            }
        }
    }
}

impl Shared {
    async fn write(&self, index: usize, order: &Order) {
        let Ok(_turn) = self.writing.acquire().await else {
            return;
        };
        let Some(target) = self.all.get(index) else {
            return;
        };
        if target.down.load(Ordering::SeqCst) {
            return;
        }
        if let Err(e) = self.try_write(target, order).await {
            self.failed(target, &e);
        }
    }

    fn failed(&self, target: &Target, error: &ImageError) {
        if !target.down.swap(true, Ordering::SeqCst) {
            let shown = &target.shown;
            (self.warn)(&format!("the cache {shown} was not written: {error}"));
        }
    }

    async fn try_write(&self, target: &Target, order: &Order) -> Result<(), ImageError> {
        // What lacks its layer does not take the place of what has it.
        if (order.hollow || !order.made) && target.has(&self.images, order).await? {
            return Ok(());
        }
        let (entry, layer) = match &order.draft {
            Draft::Files(files) => (Entry::Files(files.clone()), None),
            Draft::Step {
                diff_id, created, ..
            } if order.hollow => {
                let step = Step {
                    diff_id: diff_id.clone(),
                    created: created.clone(),
                    blob: None,
                };
                (Entry::Step(Box::new(step)), None)
            }
            Draft::Step {
                diff_id,
                chain_id,
                created,
                ..
            } => {
                let blob = self.blob(diff_id, chain_id, target.compression).await?;
                let step = Step {
                    diff_id: diff_id.clone(),
                    created: created.clone(),
                    blob: Some(artifact::oci_layer(&blob)),
                };
                (Entry::Step(Box::new(step)), Some((diff_id, blob)))
            }
        };
        let manifest = encode(&order.name, &entry).map_err(|cause| ImageError::Document {
            what: "cache entry",
            cause,
        })?;
        match &target.kind {
            Kind::Registry {
                repository,
                prefix,
                empty,
            } => {
                let tag = order.name.tag(prefix.as_deref());
                let reference = Reference::new(repository.clone(), Some(&tag));
                let reference = reference.map_err(|e| ImageError::Files(e.to_string()))?;
                if let Some((diff_id, blob)) = &layer {
                    push_layer(&self.images, &reference, diff_id, blob, &Quiet).await?;
                    let store = &self.images.store;
                    store
                        .record_blob_sources(repository, [&blob.digest])
                        .await?;
                }
                empty
                    .get_or_try_init(|| push_empty(&self.images, repository))
                    .await?;
                let client = self.images.client().await?;
                let media_type = media_type::OCI_MANIFEST.into();
                client
                    .put_manifest(&reference, Bytes::from(manifest), &media_type)
                    .await?;
            }
            Kind::Layout { prefix, new, .. } => {
                let (layout, _) = target.layout().await?;
                if let Some((diff_id, blob)) = &layer {
                    self.copy_layer(diff_id, blob, layout).await?;
                }
                let layout = layout.clone();
                let written = tokio::task::spawn_blocking(move || {
                    layout.put(EMPTY)?;
                    layout.put_manifest(&manifest)
                });
                let written = written.await??;
                let mut new = new.lock().unwrap_or_else(PoisonError::into_inner);
                new.insert(order.name.tag(prefix.as_deref()), written);
            }
        }
        Ok(())
    }

    /// A blob of a layer, made if there is none.
    async fn blob(
        &self,
        diff_id: &DiffId,
        chain_id: &ChainId,
        compression: Option<LayerCompression>,
    ) -> Result<Descriptor, ImageError> {
        let compression = compression.map(Into::into);
        let made = registry_blob(&self.images, diff_id, chain_id, compression, &Quiet);
        Ok(made.await?.blob)
    }

    async fn copy_layer(
        &self,
        diff_id: &DiffId,
        blob: &Descriptor,
        layout: &Layout,
    ) -> Result<(), ImageError> {
        let store = &self.images.store;
        if store.use_blob(&blob.digest).await?.is_none() {
            self.images.fetch_form(diff_id, blob).await?;
        }
        let (from, to) = (Arc::clone(store.blobs()), Arc::clone(&layout.blobs));
        let blob = blob.clone();
        tokio::task::spawn_blocking(move || copy_blob(&from, &to, &blob)).await??;
        Ok(())
    }
}

impl Target {
    /// Whether it has an entry already, with its layer if that is to be there.
    async fn has(&self, images: &Images, order: &Order) -> Result<bool, ImageError> {
        let name = &order.name;
        let enough = |document: &ManifestDocument| match decode(name, document) {
            Ok(Entry::Step(step)) => order.hollow || step.blob.is_some(),
            Ok(Entry::Files(_)) => true,
            Err(_) => false,
        };
        match &self.kind {
            Kind::Registry {
                repository, prefix, ..
            } => {
                let tag = name.tag(prefix.as_deref());
                let reference = Reference::new(repository.clone(), Some(&tag));
                let reference = reference.map_err(|e| ImageError::Files(e.to_string()))?;
                use client::Error;
                match images.client().await?.manifest(&reference).await {
                    Ok(found) => Ok(enough(&found.content)),
                    Err(
                        Error::ManifestNotFound { .. }
                        | Error::RepositoryNotFound { .. }
                        // Registries say so of repositories that are not there yet.
                        | Error::PullDenied { .. },
                    ) => Ok(false),
                    Err(e) => Err(e.into()),
                }
            }
            Kind::Layout { prefix, .. } => {
                let (layout, before) = self.layout().await?;
                let Some(entry) = before.get(&name.tag(prefix.as_deref())).cloned() else {
                    return Ok(false);
                };
                let layout = layout.clone();
                let read = tokio::task::spawn_blocking(move || {
                    layout.manifest(&entry.digest, Some(&entry.media_type))
                })
                .await?;
                Ok(read.is_ok_and(|document| enough(&document)))
            }
        }
    }

    /// The layout in its directory, made when it is first needed.
    async fn layout(&self) -> Result<&(Layout, HashMap<String, Descriptor>), ImageError> {
        let Kind::Layout { path, layout, .. } = &self.kind else {
            return Err(ImageError::Files("it is no folder".to_owned()));
        };
        let make = || async {
            let path = path.clone();
            let made = tokio::task::spawn_blocking(move || {
                let layout = Layout::make(&path)?;
                let before = layout.entries().map_err(|e| files(&e))?;
                let before = before.unwrap_or_default();
                Ok((layout, before))
            });
            made.await?
        };
        layout.get_or_try_init(make).await
    }

    /// Writes what comes last.
    async fn close(&self) -> Result<(), ImageError> {
        let Kind::Layout { layout, new, .. } = &self.kind else {
            return Ok(());
        };
        let new = std::mem::take(&mut *new.lock().unwrap_or_else(PoisonError::into_inner));
        let Some((layout, _)) = layout.get().filter(|_| !new.is_empty()) else {
            return Ok(());
        };
        let layout = layout.clone();
        let added = tokio::task::spawn_blocking(move || layout.add(&new)).await?;
        added.map_err(|e| files(&e))
    }
}

fn files(error: &std::io::Error) -> ImageError {
    ImageError::Files(error.to_string())
}

/// Sees to it that a repository has the blob without content.
async fn push_empty(images: &Images, repository: &Repository) -> Result<(), ImageError> {
    use std::io::Write as _;
    let memory = MemoryBlobs::default();
    let mut writer = memory.writer()?;
    writer
        .write_all(EMPTY)
        .map_err(|cause| oci::blob::BlobError::Io {
            what: "writing to memory".to_owned(),
            cause,
        })?;
    writer.commit(&oci::blob::Expected::default())?;
    let source: Arc<dyn BlobStore> = Arc::new(memory);
    let blob = PushLayer::new(artifact::empty());
    let client = images.client().await?;
    client
        .push_blob(repository, &blob, &source, &Silent)
        .await?;
    Ok(())
}
