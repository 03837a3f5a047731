//! The upstreams, and how each of them is doing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use client::upstream::{Answer, Outcome, RateLimits, UpstreamSettings};

use super::error::{SetupError, Unavailable};
use super::settings::Upstream;
use crate::clock::now;
use crate::outgoing::pause;
use crate::sync::lock;

/// How long an upstream that could not be reached is left alone.
const DOWN: Duration = Duration::from_secs(3);
/// How long one that says "too many requests", and not for how long, is left alone.
const LIMITED: Duration = Duration::from_secs(30);
/// The longest that one is left alone, whatever it says.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// One upstream.
#[derive(Debug)]
pub(super) struct Source {
    /// As it is configured.
    pub(super) settings: Upstream,
    /// How it is asked.
    pub(super) client: client::upstream::Upstream,
    state: Mutex<State>,
    /// What happened.
    pub(super) counts: Counts,
}

/// How an upstream is doing.
#[derive(Clone, Debug, Default)]
struct State {
    /// It is not asked before that, and why.
    resting: Option<(Instant, Unavailable)>,
    limit: Option<u64>,
    remaining: Option<u64>,
    /// What it failed with last, and when.
    failed: Option<(i64, String)>,
}

/// What happened with an upstream.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that were sent.
    pub(super) requests: AtomicU64,
    /// Of them, those that it did not answer, or with a 5xx.
    pub(super) failures: AtomicU64,
    /// Those that it answered with 429.
    pub(super) limited: AtomicU64,
    /// Manifests that came.
    pub(super) manifests: AtomicU64,
    /// Blobs that came.
    pub(super) blobs: AtomicU64,
    /// Bytes of blobs that came.
    pub(super) bytes: AtomicU64,
    /// Blobs that were not what their digests say.
    pub(super) wrong: AtomicU64,
}

/// What an upstream says to a question.
pub(super) enum Verdict<T> {
    Found(T),
    Missing,
    Unavailable(Unavailable),
}

impl Source {
    /// Prepares for an upstream, without asking it anything.
    pub(super) async fn open(settings: &Upstream) -> Result<Self, SetupError> {
        let credentials = settings.remote().credentials();
        let credentials = credentials.map_err(|cause| SetupError::Read {
            url: settings.url.clone(),
            path: settings.password_file.clone().unwrap_or_default(),
            cause,
        })?;
        let client = client::upstream::Upstream::new(UpstreamSettings {
            url: settings.url.clone(),
            credentials,
            ca: settings.ca.clone(),
            insecure: settings.insecure,
            user_agent: concat!("rregistry/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle_timeout: settings.timeout,
        });
        let client = client.await.map_err(|cause| SetupError::Client {
            url: settings.url.clone(),
            cause,
        })?;
        Ok(Self {
            settings: settings.clone(),
            client,
            state: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Asks, unless it is to be left alone for now.
    pub(super) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<Answer<T>, client::Error>>,
    ) -> Verdict<T> {
        if let Some(resting) = self.resting() {
            return Verdict::Unavailable(resting);
        }
        self.counts.requests.fetch_add(1, Relaxed);
        match question.await {
            Ok(answer) => self.heard(answer),
            Err(e) => {
                self.counts.failures.fetch_add(1, Relaxed);
                let why = self.unavailable(e.to_string());
                lock(&self.state).failed = Some((now(), why.why.clone()));
                tracing::warn!(
                    upstream = self.settings.url,
                    "an upstream fails: {}",
                    why.why
                );
                if is_down(&e) {
                    lock(&self.state).resting = Some((Instant::now() + DOWN, why.clone()));
                }
                Verdict::Unavailable(why)
            }
        }
    }

    fn heard<T>(&self, answer: Answer<T>) -> Verdict<T> {
        let Answer { outcome, limits } = answer;
        let mut state = lock(&self.state);
        state.limit = limits.limit.or(state.limit);
        state.remaining = limits.remaining.or(state.remaining);
        match outcome {
            Outcome::Found(found) => Verdict::Found(found),
            Outcome::Missing => Verdict::Missing,
            Outcome::Denied(cause) => {
                // Docker Hub says this of what is not there, too.
                tracing::info!(upstream = self.settings.url, "an upstream denies: {cause}");
                Verdict::Missing
            }
            Outcome::Limited(cause) => {
                self.counts.limited.fetch_add(1, Relaxed);
                let pause = asked_pause(&limits).unwrap_or(LIMITED).min(LONGEST);
                let why = Unavailable {
                    limited: true,
                    retry_after: Some(pause),
                    ..self.unavailable(cause.to_string())
                };
                tracing::warn!(
                    upstream = self.settings.url,
                    seconds = pause.as_secs(),
                    "an upstream is asked too often: {cause}"
                );
                state.resting = Some((Instant::now() + pause, why.clone()));
                state.failed = Some((now(), why.why.clone()));
                Verdict::Unavailable(why)
            }
            Outcome::Failed(cause) => {
                self.counts.failures.fetch_add(1, Relaxed);
                tracing::warn!(upstream = self.settings.url, "an upstream fails: {cause}");
                let mut why = self.unavailable(cause.to_string());
                state.failed = Some((now(), why.why.clone()));
                if let Some(pause) = asked_pause(&limits) {
                    let pause = pause.min(LONGEST);
                    why.retry_after = Some(pause);
                    state.resting = Some((Instant::now() + pause, why.clone()));
                }
                Verdict::Unavailable(why)
            }
        }
    }

    /// Why it is left alone, if it is.
    fn resting(&self) -> Option<Unavailable> {
        let mut state = lock(&self.state);
        let (until, why) = state.resting.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            state.resting = None;
            return None;
        }
        let mut why = why.clone();
        if why.retry_after.is_some() {
            why.retry_after = Some(left);
        }
        Some(why)
    }

    /// For how many seconds it is left alone.
    pub(super) fn rests_for(&self) -> u64 {
        let state = lock(&self.state);
        let until = state.resting.as_ref().map(|(until, _)| *until);
        until.map_or(0, |until| {
            until.saturating_duration_since(Instant::now()).as_secs()
        })
    }

    /// What it failed with last, and when.
    pub(super) fn last_error(&self) -> Option<(i64, String)> {
        lock(&self.state).failed.clone()
    }

    /// How many requests may be sent in a time, and how many of them are left, as it told last.
    pub(super) fn limits(&self) -> (Option<u64>, Option<u64>) {
        let state = lock(&self.state);
        (state.limit, state.remaining)
    }

    pub(super) fn unavailable(&self, why: String) -> Unavailable {
        Unavailable {
            upstream: self.settings.url.clone(),
            why,
            limited: false,
            retry_after: None,
        }
    }
}

/// Whether it could not be reached at all, as against a wrong answer.
fn is_down(error: &client::Error) -> bool {
    matches!(
        error,
        client::Error::Connect { .. } | client::Error::Transport { .. }
    )
}

/// The pause that an answer asks for.
fn asked_pause(limits: &RateLimits) -> Option<Duration> {
    pause(limits.retry_after.as_deref()?)
}
