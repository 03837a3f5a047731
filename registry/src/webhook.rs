//! Deliveries: what waits for each webhook, sent in order until it is taken.
//!
//! One task a webhook. Events of what changed come from the database, where they were written
//! with the change, and leave it once they were taken: each is delivered at least once, and a
//! later one never before an earlier one. Pulls come from memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::events::{Subscriber, Subscribers, envelope};
use crate::outgoing::{OutgoingError, client, reason};
use crate::service::Registry;
use crate::stamp::Stamp;
use crate::sync::blocking;

/// What deliveries carry, as Docker calls it.
const CONTENT_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";
/// Events in one delivery at most.
const BATCH: u32 = 64;
/// How often it is looked at how many events wait.
const TRIM: Duration = Duration::from_secs(5);
/// How often it is looked at where other processes add some.
const LOOK: Duration = Duration::from_secs(1);
/// Pause after a failure, before there were enough of them to back off.
const AGAIN: Duration = Duration::from_millis(100);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// The tasks that deliver.
#[derive(Debug)]
pub struct Deliveries {
    tasks: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Deliveries {
    /// Begins to deliver what the registry's webhooks are to be told.
    ///
    /// # Errors
    /// [`OutgoingError`].
    pub async fn start(registry: &Arc<Registry>) -> Result<Self, OutgoingError> {
        let (stopping, stop) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(subscribers) = registry.subscribers() {
            forget_others(registry, subscribers).await;
            for subscriber in subscribers.all() {
                let webhook = &subscriber.webhook;
                if webhook.disabled {
                    continue;
                }
                let delivery = Delivery {
                    stamp: webhook.ca.as_deref().and_then(Stamp::of),
                    client: client(&webhook.url, webhook.ca.as_deref(), webhook.timeout)?,
                    registry: Arc::clone(registry),
                    subscriber: Arc::clone(subscriber),
                };
                tracing::info!(webhook = webhook.name, "telling a webhook");
                tasks.spawn(delivery.run(stop.clone()));
            }
        }
        Ok(Self { tasks, stopping })
    }

    /// Delivers what waits, for up to `drain`. What a webhook does not take until then stays on
    /// disk for the next start; pulls are forgotten.
    pub async fn stop(mut self, drain: Duration) {
        // Nobody listens when there is no webhook.
        let _ = self.stopping.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, all).await.is_err() {
            tracing::warn!("some webhooks were not told everything in time");
        }
        self.tasks.shutdown().await;
    }
}

/// Events for webhooks that are not configured any more will never be wanted.
async fn forget_others(registry: &Registry, subscribers: &Subscribers) {
    let waiting = match registry.waiting_events().await {
        Ok(waiting) => waiting,
        Err(e) => {
            tracing::warn!(error = %e, "what waits for webhooks cannot be read");
            return;
        }
    };
    for (webhook, events) in waiting {
        if subscribers.knows(&webhook) {
            continue;
        }
        tracing::warn!(
            webhook,
            events,
            "events for a webhook that is gone are dropped"
        );
        if let Err(e) = registry.forget_events(&webhook, i64::MAX).await {
            tracing::warn!(error = %e, "they stay");
        }
    }
}

struct Delivery {
    client: Client,
    /// What the file of certificates was when the client was made.
    stamp: Option<Stamp>,
    registry: Arc<Registry>,
    subscriber: Arc<Subscriber>,
}

/// How a try to deliver went.
enum Tried {
    /// Nothing waits.
    Nothing,
    Taken,
    Failed(String),
}

/// Why events were not taken.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    /// The webhook will not have these, now or later.
    #[error("it refused the events with {0}")]
    Refused(StatusCode),
    /// The webhook cannot be reached or fails.
    #[error("{0}")]
    Failed(String),
}

impl Delivery {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let subscriber = Arc::clone(&self.subscriber);
        let name = &subscriber.webhook.name;
        let mut failures: u32 = 0;
        let mut trimmed = Instant::now();
        loop {
            if trimmed.elapsed() >= TRIM {
                self.trim().await;
                trimmed = Instant::now();
            }
            self.follow_certificates().await;
            let stopping = *stop.borrow_and_update();
            let pause = match self.deliver(failures).await {
                Tried::Taken => {
                    if failures > 0 {
                        tracing::info!(webhook = name, failures, "the webhook answers again");
                    }
                    failures = 0;
                    continue;
                }
                Tried::Nothing => None,
                Tried::Failed(why) => {
                    failures = failures.saturating_add(1);
                    self.subscriber.failed.fetch_add(1, Relaxed);
                    let pause = self.pause(failures);
                    tracing::warn!(webhook = name, why, failures, ?pause, "a webhook fails");
                    Some(pause)
                }
            };
            // The last try was made while stopping, or nothing is left to try. A try that failed
            // when nobody had been told to stop yet was not the last one.
            if *stop.borrow_and_update() {
                if stopping || pause.is_none() {
                    return;
                }
                continue;
            }
            let resume = pause.map(|pause| Instant::now() + pause);
            // Others wake nobody here.
            let look = match self.registry.is_shared() {
                true => LOOK,
                false => TRIM,
            };
            loop {
                let due = trimmed + look;
                let until = resume.unwrap_or(due).min(due);
                tokio::select! {
                    () = self.subscriber.wake.notified(), if resume.is_none() => break,
                    () = tokio::time::sleep_until(until) => {}
                    changed = stop.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        break;
                    }
                }
                if Instant::now() >= due {
                    self.trim().await;
                    trimmed = Instant::now();
                }
                if resume.is_none_or(|resume| Instant::now() >= resume) {
                    break;
                }
            }
        }
    }

    /// Trusts other certificates once their file is another one; as before when that is of no use.
    async fn follow_certificates(&mut self) {
        if self.subscriber.webhook.ca.is_none() {
            return;
        }
        let subscriber = Arc::clone(&self.subscriber);
        let before = self.stamp;
        let made = blocking(move || {
            let webhook = &subscriber.webhook;
            let stamp = webhook.ca.as_deref().and_then(Stamp::of);
            if stamp == before {
                return Ok::<_, JoinError>(None);
            }
            let made = client(&webhook.url, webhook.ca.as_deref(), webhook.timeout);
            Ok(Some((stamp, made)))
        });
        let Ok(Some((stamp, made))) = made.await else {
            return;
        };
        self.stamp = stamp;
        match made {
            Ok(client) => self.client = client,
            Err(e) => tracing::error!(error = %e, "a webhook's certificates stay as they were"),
        }
    }

    /// How long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let webhook = &self.subscriber.webhook;
        match failures.checked_sub(webhook.threshold.max(1)) {
            None => AGAIN,
            Some(more) => webhook
                .backoff
                .saturating_mul(1_u32.checked_shl(more).unwrap_or(u32::MAX))
                .min(MAX_PAUSE.max(webhook.backoff)),
        }
    }

    /// Sends what waits, as much as goes into one delivery; one event while the webhook fails. One
    /// that it refuses again and again is dropped, so that it does not stop others with it.
    async fn deliver(&self, failures: u32) -> Tried {
        let name = &self.subscriber.webhook.name;
        let room = if failures > 0 { 1 } else { BATCH };
        let last_try = failures >= self.subscriber.webhook.threshold.max(1);
        // What changed is told by one process; what was pulled by the one that served it.
        let queued = match self.registry.leads() {
            true => self.registry.queued_events(name, room).await,
            false => Ok(Vec::new()),
        };
        let queued = match queued {
            Ok(queued) => queued,
            Err(e) => return Tried::Failed(e.to_string()),
        };
        let room = (room as usize).saturating_sub(queued.len());
        let (pulls, end) = self.subscriber.first_pulls(room);
        let count = queued.len() + pulls.len();
        if count == 0 {
            return Tried::Nothing;
        }
        let events = queued.iter().map(|q| q.event.as_str());
        let body = envelope(events.chain(pulls.iter().map(String::as_str)));
        match self.send(body).await {
            Ok(()) => {
                self.subscriber.sent.fetch_add(count as u64, Relaxed);
            }
            Err(Unsent::Refused(status)) if last_try => {
                self.subscriber.dropped.fetch_add(count as u64, Relaxed);
                tracing::warn!(webhook = name, %status, "an event that is refused is dropped");
            }
            Err(why) => return Tried::Failed(why.to_string()),
        }
        self.subscriber.forget_pulls(end);
        if let Some(last) = queued.last()
            && let Err(e) = self.registry.forget_events(name, last.id).await
        {
            // They were taken, and will be sent again.
            return Tried::Failed(e.to_string());
        }
        Tried::Taken
    }

    async fn send(&self, body: String) -> Result<(), Unsent> {
        let webhook = &self.subscriber.webhook;
        let request = self
            .client
            .post(&webhook.url)
            .header(reqwest::header::CONTENT_TYPE, CONTENT_TYPE)
            .headers(webhook.headers.to_map().map_err(Unsent::Failed)?)
            .body(body);
        let sent = request.send().await;
        let status = sent.map_err(|e| Unsent::Failed(reason(&e)))?.status();
        match status {
            // Where a redirect leads, the event was not sent.
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => Err(Unsent::Failed(format!(
                "it answered {status} to somewhere else: set url to where events are taken"
            ))),
            status if status.is_success() => Ok(()),
            // Not the webhook is wrong, but what it was sent.
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => Err(Unsent::Refused(status)),
            status => Err(Unsent::Failed(format!("it answered {status}"))),
        }
    }

    async fn trim(&self) {
        let webhook = &self.subscriber.webhook;
        match self
            .registry
            .trim_events(&webhook.name, webhook.backlog)
            .await
        {
            Ok(0) => {}
            Ok(dropped) => {
                self.subscriber.dropped.fetch_add(dropped, Relaxed);
                tracing::warn!(webhook = webhook.name, dropped, "too many events waited");
            }
            Err(e) => tracing::warn!(webhook = webhook.name, error = %e, "dropping events failed"),
        }
    }
}
