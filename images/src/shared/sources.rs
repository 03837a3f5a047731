//! Looking entries up. Nothing here fails a build: what cannot be read is a miss and a warning.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use oci::manifest::ManifestDocument;
use oci::{Descriptor, Digest, ImageConfig, MediaType, Platform, Reference};
use tokio::sync::OnceCell;

use super::artifact::decode;
use super::buildkit::{self, BuildKitCache};
use super::entry::{Entry, Malformed, Name};
use super::inline::Inline;
use super::layout::Layout;
use super::place::CachePlace;
use crate::elsewhere::Place;
use crate::pull::check_config;
use crate::service::Images;

/// The most bytes of a document that is read whole: some hundred thousand records.
const MAX_DOCUMENT: u64 = 64 << 20;

/// Told of what deserves attention. Called from any thread: it must not block.
pub type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// All `--cache-from`, asked at once; the first that has an entry counts.
pub struct Sources {
    images: Images,
    platform: Platform,
    all: Vec<Source>,
    warn: Warn,
}

/// One cache.
struct Source {
    cache: CachePlace,
    /// As it is shown.
    shown: String,
    kind: Kind,
    /// It could not be reached, and is not asked again.
    down: AtomicBool,
}

enum Kind {
    Registry(Reference, OnceCell<AtName>),
    Layout(Local),
}

/// A layout in a directory.
struct Local {
    layout: Layout,
    /// What the tags of our entries begin with, and the tag of what BuildKit wrote.
    prefix: Option<String>,
    /// The manifest of what BuildKit wrote, where it is named.
    digest: Option<Digest>,
    entries: OnceCell<HashMap<String, Descriptor>>,
    buildkit: OnceCell<Option<Arc<BuildKitCache>>>,
}

/// What the very name of a cache leads to.
#[derive(Default)]
struct AtName {
    /// The steps of an image that we made.
    image: Option<Box<ImageCache>>,
    /// What BuildKit wrote, to an image or by itself.
    buildkit: Option<Arc<BuildKitCache>>,
}

/// The cache in an image.
struct ImageCache {
    inline: Inline,
    config: ImageConfig,
    layers: Vec<Descriptor>,
}

/// What a cache knows.
pub struct Answer {
    /// The entry.
    pub entry: Entry,
    /// Where a step's layer is.
    pub place: Place,
    /// The cache, where the entry stands by itself and not in an image.
    pub cache: Option<CachePlace>,
}

/// Why there is no answer.
enum Trouble {
    /// This entry is none.
    Entry(Malformed),
    /// The cache cannot be asked.
    Cache(String),
}

impl From<Malformed> for Trouble {
    fn from(cause: Malformed) -> Self {
        Self::Entry(cause)
    }
}

impl From<crate::ImageError> for Trouble {
    fn from(cause: crate::ImageError) -> Self {
        Self::Cache(cause.to_string())
    }
}

/// Which trouble it is that a registry makes, if any.
fn trouble(error: client::Error) -> Option<Trouble> {
    use client::Error;
    match error {
        Error::ManifestNotFound { .. }
        | Error::RepositoryNotFound { .. }
        | Error::NoPlatform { .. } => None,
        Error::Manifest { .. }
        | Error::Schema1 { .. }
        | Error::DigestMismatch { .. }
        | Error::SizeMismatch { .. }
        | Error::TooLarge { .. } => Some(Trouble::Entry(Malformed(error.to_string()))),
        error => Some(Trouble::Cache(error.to_string())),
    }
}

impl Sources {
    /// Nothing is asked yet. Images are looked into for `platform`.
    pub fn new(images: &Images, places: &[CachePlace], platform: &Platform, warn: Warn) -> Self {
        let source = |place: &CachePlace| {
            let (shown, kind) = match place {
                CachePlace::Registry(reference) => (
                    reference.familiar(),
                    Kind::Registry(reference.clone(), OnceCell::new()),
                ),
                CachePlace::Local {
                    path,
                    prefix,
                    digest,
                } => {
                    let local = Local {
                        layout: Layout::at(path),
                        prefix: prefix.clone(),
                        digest: digest.clone(),
                        entries: OnceCell::new(),
                        buildkit: OnceCell::new(),
                    };
                    (path.display().to_string(), Kind::Layout(local))
                }
            };
            Source {
                cache: place.clone(),
                shown,
                kind,
                down: AtomicBool::new(false),
            }
        };
        Self {
            images: images.clone(),
            platform: platform.clone(),
            all: places.iter().map(source).collect(),
            warn,
        }
    }

    /// Whether there is none to ask.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the first cache that has it knows of a name, and where a step's layer is then.
    pub async fn get(&self, name: &Name) -> Option<Answer> {
        let asked = self.all.iter().map(|source| self.ask(source, name));
        let mut answers: FuturesOrdered<_> = asked.collect();
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn ask(&self, source: &Source, name: &Name) -> Option<Answer> {
        if source.down.load(Ordering::SeqCst) {
            return None;
        }
        let answer = match &source.kind {
            Kind::Registry(reference, image) => {
                self.ask_registry(source, reference, image, name).await
            }
            Kind::Layout(local) => {
                let found = local.ask(name).await;
                found.map(|found| {
                    found.map(|entry| Answer {
                        entry,
                        place: Place::Layout(local.layout.blobs.clone()),
                        cache: Some(source.cache.clone()),
                    })
                })
            }
        };
        match answer {
            Ok(answer) => answer,
            Err(trouble) => {
                let what = format!("the entry {} of the cache", name.tag(None));
                self.tell(source, trouble, &what);
                None
            }
        }
    }

    async fn ask_registry(
        &self,
        source: &Source,
        reference: &Reference,
        at_name: &OnceCell<AtName>,
        name: &Name,
    ) -> Result<Option<Answer>, Trouble> {
        let repository = reference.repository();
        let place = Place::Repository(repository.clone());
        let at_name = at_name.get_or_try_init(|| self.at_name(source, reference));
        if let Some(image) = &at_name.await?.image {
            let diff_ids = &image.config.rootfs.diff_ids;
            let found = image.inline.get(name, diff_ids, &image.layers);
            return Ok(found.map(|entry| Answer {
                entry,
                place,
                cache: None,
            }));
        }
        let tag = name.tag(reference.tag());
        let tagged = Reference::new(repository.clone(), Some(&tag));
        let tagged = tagged.map_err(|e| Trouble::Cache(e.to_string()))?;
        let client = self.images.client().await?;
        match client.manifest(&tagged).await {
            Ok(found) => Ok(Some(Answer {
                entry: decode(name, &found.content)?,
                place,
                cache: Some(source.cache.clone()),
            })),
            Err(error) => trouble(error).map_or(Ok(None), Err),
        }
    }

    /// The caches that BuildKit wrote, in their order.
    pub async fn buildkits(&self) -> Vec<Arc<BuildKitCache>> {
        let mut found = Vec::new();
        for source in &self.all {
            if source.down.load(Ordering::SeqCst) {
                continue;
            }
            let buildkit = match &source.kind {
                Kind::Registry(reference, at_name) => {
                    let at_name = at_name.get_or_try_init(|| self.at_name(source, reference));
                    at_name.await.map(|at_name| at_name.buildkit.clone())
                }
                Kind::Layout(local) => match local.buildkit().await {
                    // Told of once: what is no cache of BuildKit's may still hold our entries.
                    Err(trouble @ Trouble::Entry(_)) => {
                        self.tell(source, trouble, "BuildKit's cache in");
                        let _ = local.buildkit.set(None);
                        Ok(None)
                    }
                    found => found,
                },
            };
            match buildkit {
                Ok(buildkit) => found.extend(buildkit),
                Err(trouble) => self.tell(source, trouble, "the cache"),
            }
        }
        found
    }

    /// Tells of what went wrong; a cache that cannot be asked is told of once.
    fn tell(&self, source: &Source, trouble: Trouble, what: &str) {
        let shown = &source.shown;
        match trouble {
            Trouble::Entry(cause) => (self.warn)(&format!("{what} {shown} is none: {cause}")),
            Trouble::Cache(cause) => {
                if !source.down.swap(true, Ordering::SeqCst) {
                    (self.warn)(&format!("the cache {shown} is left out: {cause}"));
                }
            }
        }
    }

    /// What is at this very name, if there is anything of use.
    async fn at_name(&self, source: &Source, reference: &Reference) -> Result<AtName, Trouble> {
        match self.find_at_name(reference).await {
            Err(trouble @ Trouble::Entry(_)) => {
                self.tell(source, trouble, "the cache in the image");
                Ok(AtName::default())
            }
            found => found,
        }
    }

    async fn find_at_name(&self, reference: &Reference) -> Result<AtName, Trouble> {
        let client = self.images.client().await?;
        let top = match client.manifest(reference).await {
            Ok(top) => top,
            Err(error) => return trouble(error).map_or(Ok(AtName::default()), Err),
        };
        let resolved = match top.content {
            ManifestDocument::Index(index) => {
                if let Some(parts) = buildkit::parts_of_index(&index) {
                    return self.buildkit_at(reference, parts).await;
                }
                match client.resolve(reference, &self.platform).await {
                    Ok(resolved) => resolved.manifest,
                    Err(error) => return trouble(error).map_or(Ok(AtName::default()), Err),
                }
            }
            ManifestDocument::Manifest(manifest) => manifest,
        };
        if let Some(parts) = buildkit::parts_of_manifest(&resolved) {
            return self.buildkit_at(reference, parts).await;
        }
        if check_config(reference, &resolved).is_err() {
            return Ok(AtName::default());
        }
        let Some(bytes) = self.fetch(reference, &resolved.config).await? else {
            return Ok(AtName::default());
        };
        let config: ImageConfig = match serde_json::from_slice(&bytes) {
            Ok(config) => config,
            Err(_) => return Ok(AtName::default()),
        };
        let layers = resolved.layers;
        let mut at_name = AtName::default();
        if let Some(field) = config.other.get(buildkit::FIELD) {
            let place = Place::Repository(reference.repository().clone());
            let parts = (config.rootfs.diff_ids.as_slice(), layers.as_slice());
            let read = BuildKitCache::parse_inline(field, parts, place)?;
            at_name.buildkit = Some(Arc::new(read));
        }
        at_name.image = Inline::read(&config)?.map(|inline| {
            Box::new(ImageCache {
                inline,
                config,
                layers,
            })
        });
        Ok(at_name)
    }

    /// A cache that BuildKit wrote by itself.
    async fn buildkit_at(
        &self,
        reference: &Reference,
        (config, layers): (Descriptor, Vec<Descriptor>),
    ) -> Result<AtName, Trouble> {
        let Some(bytes) = self.fetch(reference, &config).await? else {
            return Ok(AtName::default());
        };
        let place = Place::Repository(reference.repository().clone());
        let read = BuildKitCache::parse(&bytes, &layers, place)?;
        Ok(AtName {
            image: None,
            buildkit: Some(Arc::new(read)),
        })
    }

    /// A small blob, verified.
    async fn fetch(
        &self,
        reference: &Reference,
        wanted: &Descriptor,
    ) -> Result<Option<bytes::Bytes>, Trouble> {
        if wanted.size > MAX_DOCUMENT {
            let text = format!("its document has {} bytes", wanted.size);
            return Err(Malformed(text).into());
        }
        let client = self.images.client().await?;
        let bytes = client.fetch_blob(reference.repository(), wanted, wanted.size);
        match bytes.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => trouble(error).map_or(Ok(None), Err),
        }
    }
}

impl Local {
    /// The entry of a name.
    async fn ask(&self, name: &Name) -> Result<Option<Entry>, Trouble> {
        let Some(entry) = self.entries().await?.get(&name.tag(self.prefix.as_deref())) else {
            return Ok(None);
        };
        let entry = self.manifest(&entry.digest, Some(&entry.media_type));
        Ok(Some(decode(name, &entry.await?)?))
    }

    /// All that has a tag.
    async fn entries(&self) -> Result<&HashMap<String, Descriptor>, Trouble> {
        let entries = || async {
            let layout = self.layout.clone();
            let read = tokio::task::spawn_blocking(move || layout.entries());
            let entries = read.await.map_err(cannot)?.map_err(cannot)?;
            entries.ok_or_else(|| cannot(format!("no {}", self.layout.index().display())))
        };
        self.entries.get_or_try_init(entries).await
    }

    async fn manifest(
        &self,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<ManifestDocument, Trouble> {
        let (layout, digest) = (self.layout.clone(), digest.clone());
        let media_type = media_type.cloned();
        let read = move || layout.manifest(&digest, media_type.as_ref());
        let read = tokio::task::spawn_blocking(read);
        Ok(read.await.map_err(cannot)??)
    }

    /// What BuildKit wrote there, if it did.
    async fn buildkit(&self) -> Result<Option<Arc<BuildKitCache>>, Trouble> {
        let found = self.buildkit.get_or_try_init(|| self.find_buildkit());
        found.await.cloned()
    }

    async fn find_buildkit(&self) -> Result<Option<Arc<BuildKitCache>>, Trouble> {
        let top = match &self.digest {
            Some(digest) => self.manifest(digest, None).await?,
            None => {
                let tag = self.prefix.as_deref().unwrap_or("latest");
                let Some(entry) = self.entries().await?.get(tag) else {
                    return Ok(None);
                };
                self.manifest(&entry.digest, Some(&entry.media_type))
                    .await?
            }
        };
        let parts = match top {
            ManifestDocument::Index(index) => buildkit::parts_of_index(&index),
            ManifestDocument::Manifest(manifest) => buildkit::parts_of_manifest(&manifest),
        };
        let Some((config, layers)) = parts else {
            return Ok(None);
        };
        let layout = self.layout.clone();
        let bytes =
            tokio::task::spawn_blocking(move || layout.document(&config.digest, MAX_DOCUMENT));
        let bytes = bytes.await.map_err(cannot)??;
        let place = Place::Layout(self.layout.blobs.clone());
        let read = BuildKitCache::parse(&bytes, &layers, place)?;
        Ok(Some(Arc::new(read)))
    }
}

/// The trouble of a cache that cannot be read at all.
fn cannot(cause: impl std::fmt::Display) -> Trouble {
    Trouble::Cache(cause.to_string())
}
