//! How each upstream is doing, for people.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::sources::Source;
use super::whole::Mirror;
use crate::pattern::matches;
use crate::service::ServiceError;
use crate::units::rfc3339;

/// The mirror as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MirrorState {
    /// Whether no upstream is asked anything.
    pub offline: bool,
    /// Manifests and blobs that were served from here.
    pub hits: u64,
    /// Those that an upstream was asked for.
    pub misses: u64,
    /// Those that were served from here although they may be outdated.
    pub stale: u64,
    /// Those that nobody had who answered.
    pub unavailable: u64,
    /// Blobs that come now.
    pub fetching: u64,
    /// Bytes of all mirrored repositories together, at most.
    pub max_size: Option<u64>,
    /// Each upstream, in the order in which they are asked.
    pub upstreams: Vec<UpstreamState>,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamState {
    /// The repositories that it answers for, as a pattern.
    pub repository: String,
    /// Where it is.
    pub url: String,
    /// Whether it is asked now; it rests after it failed, or said that it is asked too often.
    pub asked: bool,
    /// For how many seconds it still rests.
    pub rests_seconds: u64,
    /// What it failed with last.
    pub last_error: Option<String>,
    /// When that was.
    #[serde(with = "rfc3339")]
    pub last_error_at: Option<i64>,
    /// Pulls that it allows in its time, as it told last.
    pub limit: Option<u64>,
    /// Those of them that are left.
    pub remaining: Option<u64>,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Those that it did not answer, or with a 5xx.
    pub failures: u64,
    /// Those that it answered with 429.
    pub limited: u64,
    /// Manifests that came.
    pub manifests: u64,
    /// Blobs that came.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs that were not what their digests say.
    pub wrong: u64,
    /// Repositories here that it answers for.
    pub repositories: u64,
    /// Bytes that they show.
    pub kept_bytes: u64,
}

impl Mirror {
    /// How all of it is doing.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn state(&self) -> Result<MirrorState, ServiceError> {
        let offline = self.settings.offline;
        let told = self.sources.iter().map(|source| told(source, offline));
        let mut upstreams: Vec<UpstreamState> = told.collect();
        for kept in self.registry.usage_report().await?.repositories {
            // What a later one answers for as well, the first one is asked for.
            let first = upstreams
                .iter_mut()
                .find(|upstream| matches(&upstream.repository, &kept.name));
            if let Some(upstream) = first {
                upstream.repositories += 1;
                upstream.kept_bytes += kept.bytes;
            }
        }
        let counts = &self.counts;
        Ok(MirrorState {
            offline,
            hits: of(&counts.hits),
            misses: of(&counts.misses),
            stale: of(&counts.stale),
            unavailable: of(&counts.failed),
            fetching: self.fetches.len() as u64,
            max_size: self.settings.max_size,
            upstreams,
        })
    }
}

fn of(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

/// What an upstream is known by itself.
fn told(source: &Source, offline: bool) -> UpstreamState {
    let counts = &source.counts;
    let (limit, remaining) = source.limits();
    let (last_error_at, last_error) = source.last_error().unzip();
    let rests_seconds = source.rests_for();
    UpstreamState {
        repository: source.settings.repository.clone(),
        url: source.settings.url.clone(),
        asked: rests_seconds == 0 && !offline,
        rests_seconds,
        last_error,
        last_error_at,
        limit,
        remaining,
        requests: of(&counts.requests),
        failures: of(&counts.failures),
        limited: of(&counts.limited),
        manifests: of(&counts.manifests),
        blobs: of(&counts.blobs),
        bytes: of(&counts.bytes),
        wrong: of(&counts.wrong),
        repositories: 0,
        kept_bytes: 0,
    }
}
