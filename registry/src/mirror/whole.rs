//! The mirror itself.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::error::{SetupError, Unavailable};
use super::fetches::Fetches;
use super::flights::Flights;
use super::memory::{Listed, Memory};
use super::names::{Meant, Names};
use super::settings::MirrorSettings;
use super::sources::Source;
use crate::name::RepositoryName;
use crate::service::Registry;

/// Lists of tags that are remembered at most: some have tens of thousands.
const LISTS: usize = 128;

/// A mirror of other registries.
#[derive(Debug)]
pub struct Mirror {
    pub(super) registry: Arc<Registry>,
    pub(super) settings: MirrorSettings,
    pub(super) names: Names,
    pub(super) sources: Vec<Arc<Source>>,
    /// When each tag was last known to be what the upstream has; and whether it could not be asked
    /// since.
    pub(super) looked: Memory<bool>,
    /// Upstreams' lists of tags, by repository.
    pub(super) lists: Memory<Listed>,
    /// What upstreams do not have.
    pub(super) missing: Memory<()>,
    /// Blobs that did not come from an upstream.
    pub(super) troubles: Memory<Trouble>,
    pub(super) flights: Flights<Result<bool, Failed>>,
    pub(super) fetches: Arc<Fetches>,
    pub(super) counts: Counts,
}

/// What was served how.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// From here.
    pub(super) hits: AtomicU64,
    /// From an upstream.
    pub(super) misses: AtomicU64,
    /// From here, although it may be outdated.
    pub(super) stale: AtomicU64,
    /// Not at all, for no upstream answered.
    pub(super) failed: AtomicU64,
    /// Manifests that were let go.
    pub(super) evicted: AtomicU64,
    /// Bytes that were let go.
    pub(super) evicted_bytes: AtomicU64,
}

/// What went wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It broke off.
    Broken,
    /// It was something else.
    Wrong,
}

/// Why shared work failed.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    /// No upstream answers.
    Unavailable(Unavailable),
    /// This registry failed; the log says how.
    Here(Arc<str>),
}

impl Mirror {
    /// A mirror of the upstreams of these settings; `None` when there are none. None is asked
    /// anything yet.
    ///
    /// # Errors
    /// [`SetupError`].
    pub async fn open(
        settings: &MirrorSettings,
        registry: &Arc<Registry>,
    ) -> Result<Option<Arc<Self>>, SetupError> {
        if settings.upstreams.is_empty() {
            return Ok(None);
        }
        let mut sources = Vec::new();
        for upstream in &settings.upstreams {
            sources.push(Arc::new(Source::open(upstream).await?));
        }
        Ok(Some(Arc::new(Self {
            registry: Arc::clone(registry),
            names: Names::new(&settings.upstreams),
            settings: settings.clone(),
            sources,
            looked: Memory::default(),
            lists: Memory::of(LISTS),
            missing: Memory::default(),
            troubles: Memory::default(),
            flights: Flights::default(),
            fetches: Arc::default(),
            counts: Counts::default(),
        })))
    }

    /// What a request means by a name.
    pub fn meant(&self, name: &RepositoryName, ns: Option<&str>) -> Meant {
        self.names.meant(name, ns)
    }

    /// Whether a repository is mirrored, and so not to be pushed to.
    pub fn is_mirrored(&self, name: &RepositoryName) -> bool {
        self.names.is_mirrored(name.as_str())
    }

    /// Where a name without a host is mirrored, if it is.
    pub fn hostless(&self, name: &str) -> Option<RepositoryName> {
        self.names.hostless(name)
    }

    /// The upstreams that answer for a name, in order, each with the name there.
    pub(super) fn sources_of(&self, name: &RepositoryName) -> Vec<(Arc<Source>, String)> {
        let answering = self.names.answering(name.as_str());
        answering
            .into_iter()
            .map(|(at, path)| (Arc::clone(&self.sources[at]), path))
            .collect()
    }
}
