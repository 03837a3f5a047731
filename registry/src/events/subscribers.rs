//! The webhooks, what waits for each in memory, and their counters.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::config::Webhook;
use super::happened::{Action, Happened, Origin, Target};
use super::noted::Noted;
use super::render::{Instance, Stamp, render};
use crate::sync::lock;

/// An event for a webhook, to be kept until it is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The webhook's name.
    pub webhook: Arc<str>,
    /// The event, as JSON.
    pub event: String,
}

/// What events for the audit log wait under: no webhook can have that name.
pub const AUDIT: &str = ":audit";

/// What events that people look at are told under.
pub const ACTIVITY: &str = ":activity";

/// All webhooks, and the audit log.
#[derive(Debug)]
pub struct Subscribers {
    all: Vec<Arc<Subscriber>>,
    /// Whether all that changes is noted; woken when something is.
    audit: Option<Notify>,
    /// Whether it is kept for people to look at.
    activity: bool,
    instance: Instance,
}

/// One webhook.
#[derive(Debug)]
pub struct Subscriber {
    /// As configured.
    pub webhook: Webhook,
    name: Arc<str>,
    /// Pulls change nothing, so that nothing on disk has to tell of them.
    pulls: Mutex<Pulls>,
    /// Something is there to be sent.
    pub(crate) wake: Notify,
    /// Events that were delivered.
    pub(crate) sent: AtomicU64,
    /// Deliveries that failed, and were tried again.
    pub(crate) failed: AtomicU64,
    /// Events that were given up.
    pub(crate) dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Pulls {
    events: VecDeque<String>,
    /// How many have left the queue: the number of the first one in it.
    gone: u64,
}

impl Subscriber {
    fn pulls(&self) -> MutexGuard<'_, Pulls> {
        lock(&self.pulls)
    }

    fn pulled(&self, event: String) {
        let mut pulls = self.pulls();
        if pulls.events.len() >= self.webhook.backlog as usize {
            pulls.events.pop_front();
            pulls.gone += 1;
            self.dropped.fetch_add(1, Relaxed);
        }
        pulls.events.push_back(event);
    }

    /// Up to `n` pulls, and the number after the last of them.
    pub(crate) fn first_pulls(&self, n: usize) -> (Vec<String>, u64) {
        let pulls = self.pulls();
        let first: Vec<String> = pulls.events.iter().take(n).cloned().collect();
        let end = pulls.gone + first.len() as u64;
        (first, end)
    }

    /// Pulls before number `end` were delivered.
    pub(crate) fn forget_pulls(&self, end: u64) {
        let mut pulls = self.pulls();
        while pulls.gone < end && pulls.events.pop_front().is_some() {
            pulls.gone += 1;
        }
    }
}

impl Subscribers {
    /// The webhooks of a configuration; none when it has none. `addr` says where events come from.
    pub fn new(webhooks: &[Webhook], addr: String) -> Option<Arc<Self>> {
        (!webhooks.is_empty()).then(|| Self::of(webhooks, addr, false, false))
    }

    /// The same; all that changes is kept for people to look at, and with `audit` told to the
    /// audit log too.
    pub fn with_activity(webhooks: &[Webhook], addr: String, audit: bool) -> Option<Arc<Self>> {
        Some(Self::of(webhooks, addr, audit, true))
    }

    fn of(webhooks: &[Webhook], addr: String, audit: bool, activity: bool) -> Arc<Self> {
        let subscriber = |webhook: &Webhook| {
            Arc::new(Subscriber {
                name: webhook.name.as_str().into(),
                webhook: webhook.clone(),
                pulls: Mutex::default(),
                wake: Notify::new(),
                sent: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            })
        };
        Arc::new(Self {
            all: webhooks.iter().map(subscriber).collect(),
            audit: audit.then(Notify::new),
            activity,
            instance: Instance {
                addr,
                id: uuid::Uuid::new_v4().to_string(),
            },
        })
    }

    /// Each of them.
    pub fn all(&self) -> &[Arc<Subscriber>] {
        &self.all
    }

    /// Whether anybody wants to hear of this action.
    pub fn hear(&self, action: Action) -> bool {
        let audited = (self.audit.is_some() || self.activity) && action != Action::Pull;
        audited || self.all.iter().any(|s| s.webhook.hears(action))
    }

    /// Whether what waits under this name is for somebody.
    pub fn knows(&self, name: &str) -> bool {
        let audited = self.audit.is_some() && name == AUDIT;
        audited || self.all.iter().any(|s| s.webhook.name == name)
    }

    /// Woken when the audit log may have something to be told; `None` where there is none.
    pub fn audit(&self) -> Option<&Notify> {
        self.audit.as_ref()
    }

    /// Who is to be told what.
    pub fn notices(&self, by: &Origin, happened: &[Happened<'_>]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for happened in happened {
            // Of an image that came its blobs tell nothing.
            let shown = self.activity && !matches!(happened.target, Target::Blob { .. });
            if (self.audit.is_some() || shown) && happened.action != Action::Pull {
                let event = render(happened, by, &Stamp::new(), &self.instance, false);
                self.note(&mut notices, event, shown);
            }
            self.tell(by, happened, |subscriber, event| {
                notices.push(Notice {
                    webhook: Arc::clone(&subscriber.name),
                    event,
                });
            });
        }
        notices
    }

    /// What the audit log is told, and nobody else.
    pub fn noted(&self, by: &Origin, noted: &[Noted]) -> Vec<Notice> {
        let mut notices = Vec::new();
        for noted in noted {
            self.note(&mut notices, noted.render(by), self.activity);
        }
        notices
    }

    fn note(
        &self,
        notices: &mut Vec<Notice>,
        event: Result<String, serde_json::Error>,
        shown: bool,
    ) {
        let event = match event {
            Ok(event) => event,
            Err(e) => {
                tracing::error!(error = %e, "an event could not be written");
                return;
            }
        };
        let told = [(shown, ACTIVITY), (self.audit.is_some(), AUDIT)];
        for (_, name) in told.into_iter().filter(|(told, _)| *told) {
            let (webhook, event) = (name.into(), event.clone());
            notices.push(Notice { webhook, event });
        }
    }

    /// Queues a pull, in memory.
    pub fn pulled(&self, by: &Origin, happened: &Happened<'_>) {
        self.tell(by, happened, |subscriber, event| {
            subscriber.pulled(event);
            subscriber.wake.notify_one();
        });
    }

    fn tell(
        &self,
        by: &Origin,
        happened: &Happened<'_>,
        mut told: impl FnMut(&Subscriber, String),
    ) {
        let mut stamp = None;
        for subscriber in self.all.iter().filter(|s| s.webhook.wants(happened)) {
            let stamp = stamp.get_or_insert_with(Stamp::new);
            let references = subscriber.webhook.include_references;
            match render(happened, by, stamp, &self.instance, references) {
                Ok(event) => told(subscriber, event),
                Err(e) => tracing::error!(error = %e, "an event could not be written"),
            }
        }
    }

    /// Something was written that somebody may have to be told.
    pub fn wake(&self) {
        for subscriber in &self.all {
            subscriber.wake.notify_one();
        }
        if let Some(audit) = &self.audit {
            audit.notify_one();
        }
    }

    /// Adds counters to `/metrics`; `waiting` says how many events wait on disk, by webhook.
    pub fn render(&self, out: &mut String, waiting: &[(String, u64)]) {
        let on_disk = |name: &str| {
            let found = waiting.iter().find(|(webhook, _)| webhook == name);
            found.map_or(0, |(_, count)| *count)
        };
        if self.audit.is_some() {
            let help = "Events that wait to be written to the audit log.";
            let _ = writeln!(out, "# HELP rregistry_audit_events_pending {help}");
            let _ = writeln!(out, "# TYPE rregistry_audit_events_pending gauge");
            let _ = writeln!(out, "rregistry_audit_events_pending {}", on_disk(AUDIT));
        }
        if self.all.is_empty() {
            return;
        }
        type Value<'a> = &'a dyn Fn(&Subscriber) -> u64;
        let pending: Value<'_> = &|s| on_disk(&s.webhook.name) + s.pulls().events.len() as u64;
        let rows: [(&str, &str, &str, Value<'_>); 4] = [
            (
                "webhook_events_pending",
                "gauge",
                "Events that wait to be delivered.",
                pending,
            ),
            (
                "webhook_events_sent_total",
                "counter",
                "Events delivered.",
                &|s| s.sent.load(Relaxed),
            ),
            (
                "webhook_deliveries_failed_total",
                "counter",
                "Deliveries that failed and are tried again.",
                &|s| s.failed.load(Relaxed),
            ),
            (
                "webhook_events_dropped_total",
                "counter",
                "Events given up because too many waited.",
                &|s| s.dropped.load(Relaxed),
            ),
        ];
        for (name, kind, help, value) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP rregistry_{name} {help}");
            let _ = writeln!(out, "# TYPE rregistry_{name} {kind}");
            for subscriber in &self.all {
                let (webhook, value) = (&subscriber.webhook.name, value(subscriber));
                let _ = writeln!(out, "rregistry_{name}{{webhook=\"{webhook}\"}} {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Target;
    use oci::Digest;

    fn subscribers(settings: &str) -> Arc<Subscribers> {
        let text = format!("name = \"a\"\nurl = \"http://x.example/\"\n{settings}");
        let webhook: Webhook = toml::from_str(&text).unwrap();
        Subscribers::new(&[webhook], "node:5000".into()).unwrap()
    }

    #[test]
    fn too_many_pulls_push_the_oldest_out() {
        let subscribers = subscribers("backlog = 2");
        let digest = Digest::sha256(b"x");
        let pull = |repository| {
            let target = Target::Blob {
                digest: &digest,
                size: 1,
                from: None,
            };
            subscribers.pulled(
                &Origin::default(),
                &Happened {
                    action: Action::Pull,
                    repository,
                    target,
                },
            );
        };
        let subscriber = &subscribers.all()[0];
        let waiting = || -> Vec<String> {
            let (events, _) = subscriber.first_pulls(10);
            events
                .iter()
                .map(|e| {
                    let event: serde_json::Value = serde_json::from_str(e).unwrap();
                    event["target"]["repository"].as_str().unwrap().to_owned()
                })
                .collect()
        };
        pull("one");
        pull("two");
        let (_, end) = subscriber.first_pulls(2);
        // While those two are being sent, one of them is pushed out.
        pull("three");
        assert_eq!(waiting(), ["two", "three"]);
        subscriber.forget_pulls(end);
        assert_eq!(waiting(), ["three"]);
        let mut text = String::new();
        subscribers.render(&mut text, &[("a".into(), 4), ("b".into(), 9)]);
        for line in [
            "rregistry_webhook_events_pending{webhook=\"a\"} 5",
            "rregistry_webhook_events_dropped_total{webhook=\"a\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn all_are_told_of_one_event_by_one_id() {
        let webhook = |name: &str| -> Webhook {
            toml::from_str(&format!("name = \"{name}\"\nurl = \"http://x.example/\"")).unwrap()
        };
        let subscribers =
            Subscribers::new(&[webhook("a"), webhook("b")], "node:5000".into()).unwrap();
        let digest = Digest::sha256(b"x");
        let notices = subscribers.notices(
            &Origin::default(),
            &[Happened {
                action: Action::Delete,
                repository: "app",
                target: Target::Gone(&digest),
            }],
        );
        assert_eq!((&*notices[0].webhook, &*notices[1].webhook), ("a", "b"));
        assert_eq!(notices[0].event, notices[1].event);
    }
}
