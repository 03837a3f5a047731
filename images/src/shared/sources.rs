//! Looking entries up. Nothing here fails a build: what cannot be read is a miss and a warning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use oci::manifest::ManifestDocument;
use oci::{Descriptor, ImageConfig, Platform, Reference};
use tokio::sync::OnceCell;

use super::artifact::decode;
use super::entry::{Entry, Malformed, Name};
use super::inline::Inline;
use super::layout::Layout;
use super::place::CachePlace;
use crate::elsewhere::Place;
use crate::pull::check_config;
use crate::service::Images;

/// Media type of the configuration of BuildKit's own caches.
const BUILDKIT: &str = "application/vnd.buildkit.cacheconfig.v0";

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
    Registry(Reference, OnceCell<Option<Box<ImageCache>>>),
    Layout(
        Layout,
        Option<String>,
        OnceCell<HashMap<String, Descriptor>>,
    ),
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
                CachePlace::Local(path, prefix) => (
                    path.display().to_string(),
                    Kind::Layout(Layout::at(path), prefix.clone(), OnceCell::new()),
                ),
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
            Kind::Layout(layout, prefix, entries) => {
                let found = ask_layout(layout, prefix.as_deref(), entries, name).await;
                found.map(|found| {
                    found.map(|entry| Answer {
                        entry,
                        place: Place::Layout(layout.blobs.clone()),
                        cache: Some(source.cache.clone()),
                    })
                })
            }
        };
        match answer {
            Ok(answer) => answer,
            Err(Trouble::Entry(cause)) => {
                let (shown, tag) = (&source.shown, name.tag(None));
                (self.warn)(&format!(
                    "the entry {tag} of the cache {shown} is none: {cause}"
                ));
                None
            }
            Err(Trouble::Cache(cause)) => {
                if !source.down.swap(true, Ordering::SeqCst) {
                    let shown = &source.shown;
                    (self.warn)(&format!("the cache {shown} is left out: {cause}"));
                }
                None
            }
        }
    }

    async fn ask_registry(
        &self,
        source: &Source,
        reference: &Reference,
        image: &OnceCell<Option<Box<ImageCache>>>,
        name: &Name,
    ) -> Result<Option<Answer>, Trouble> {
        let repository = reference.repository();
        let place = Place::Repository(repository.clone());
        let image = image.get_or_try_init(|| self.image_cache(source, reference));
        if let Some(image) = image.await? {
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

    /// The cache in the image of this very name, if there is an image and it has one.
    async fn image_cache(
        &self,
        source: &Source,
        reference: &Reference,
    ) -> Result<Option<Box<ImageCache>>, Trouble> {
        match self.find_image_cache(reference).await {
            Ok(Some(Found::Cache(image))) => Ok(Some(image)),
            Ok(Some(Found::BuildKits)) => {
                let shown = &source.shown;
                (self.warn)(&format!(
                    "the cache {shown} is BuildKit's own, which is not read; steps that rbuild \
                     wrote beside it are"
                ));
                Ok(None)
            }
            Ok(None) => Ok(None),
            Err(Trouble::Entry(cause)) => {
                let shown = &source.shown;
                (self.warn)(&format!("the cache in the image {shown} is none: {cause}"));
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn find_image_cache(&self, reference: &Reference) -> Result<Option<Found>, Trouble> {
        let client = self.images.client().await?;
        let top = match client.manifest(reference).await {
            Ok(top) => top,
            Err(error) => return trouble(error).map_or(Ok(None), Err),
        };
        let kind = BUILDKIT.into();
        let resolved = match top.content {
            ManifestDocument::Index(index) => {
                if index.manifests.iter().any(|m| m.media_type.is_same(&kind)) {
                    return Ok(Some(Found::BuildKits));
                }
                match client.resolve(reference, &self.platform).await {
                    Ok(resolved) => resolved.manifest,
                    Err(error) => return trouble(error).map_or(Ok(None), Err),
                }
            }
            ManifestDocument::Manifest(manifest) => manifest,
        };
        if resolved.config.media_type.is_same(&kind) {
            return Ok(Some(Found::BuildKits));
        }
        if check_config(reference, &resolved).is_err() {
            return Ok(None);
        }
        let wanted = &resolved.config;
        let bytes = client.fetch_blob(reference.repository(), wanted, wanted.size);
        let bytes = match bytes.await {
            Ok(bytes) => bytes,
            Err(error) => return trouble(error).map_or(Ok(None), Err),
        };
        let config: ImageConfig = match serde_json::from_slice(&bytes) {
            Ok(config) => config,
            Err(_) => return Ok(None),
        };
        let found = Inline::read(&config)?.map(|inline| {
            Found::Cache(Box::new(ImageCache {
                inline,
                config,
                layers: resolved.layers,
            }))
        });
        Ok(found)
    }
}

/// What an image of a cache's name turned out to be.
enum Found {
    Cache(Box<ImageCache>),
    BuildKits,
}

async fn ask_layout(
    layout: &Layout,
    prefix: Option<&str>,
    entries: &OnceCell<HashMap<String, Descriptor>>,
    name: &Name,
) -> Result<Option<Entry>, Trouble> {
    let failed = |e: &dyn std::fmt::Display| Trouble::Cache(e.to_string());
    let read = || async {
        let layout = layout.clone();
        let read = tokio::task::spawn_blocking(move || layout.entries()).await;
        read.map_err(|e| failed(&e))?.map_err(|e| failed(&e))
    };
    let entries = entries.get_or_try_init(read).await?;
    let Some(entry) = entries.get(&name.tag(prefix)).cloned() else {
        return Ok(None);
    };
    let reader = layout.clone();
    let document = tokio::task::spawn_blocking(move || reader.manifest(&entry));
    let document = document.await.map_err(|e| failed(&e))??;
    Ok(Some(decode(name, &document)?))
}
