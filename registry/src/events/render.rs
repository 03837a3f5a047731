//! Events as they are sent: in JSON, in the words of Docker's notifications.

use oci::Digest;
use serde::Serialize;

use super::happened::{Action, Happened, Origin, Target};

/// Bytes of any text that a client chooses, in an event.
const MAX_TEXT: usize = 256;
/// Bytes of an event with references; a manifest that names more is told without them.
const MAX_EVENT: usize = 64 << 10;

/// An event as it is sent. Fields that are empty are left out, as in Docker's.
#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    timestamp: &'a str,
    action: Action,
    target: TargetFields<'a>,
    request: Request<'a>,
    actor: Actor<'a>,
    source: Source<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetFields<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_repository: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    references: &'a [oci::Descriptor],
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    addr: &'a str,
    host: &'a str,
    method: &'a str,
    useragent: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Serialize)]
struct Source<'a> {
    addr: &'a str,
    #[serde(rename = "instanceID")]
    instance_id: &'a str,
}

/// Where the event is told from: this registry and this run of it.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) addr: String,
    pub(super) id: String,
}

/// What one event has to itself, whoever is told.
pub(super) struct Stamp {
    pub(super) id: String,
    pub(super) time: String,
}

impl Stamp {
    pub(super) fn new() -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            time: jiff::Timestamp::now().to_string(),
        }
    }
}

/// An event as JSON.
pub(super) fn render(
    happened: &Happened<'_>,
    by: &Origin,
    stamp: &Stamp,
    instance: &Instance,
    with_references: bool,
) -> Result<String, serde_json::Error> {
    let repository = happened.repository;
    let base = clip(&by.base);
    let url = |kind: &str, digest: &Digest| format!("{base}/v2/{repository}/{kind}/{digest}");
    let target = TargetFields {
        media_type: clip(happened.target.media_type()),
        repository,
        ..TargetFields::default()
    };
    let target = match happened.target {
        Target::Manifest {
            digest,
            size,
            tag,
            references,
            ..
        } => TargetFields {
            digest: Some(digest),
            size: Some(size),
            length: Some(size),
            url: url("manifests", digest),
            tag,
            references: if with_references { references } else { &[] },
            ..target
        },
        Target::Blob { digest, size, from } => TargetFields {
            digest: Some(digest),
            size: Some(size),
            length: Some(size),
            from_repository: from,
            url: url("blobs", digest),
            ..target
        },
        Target::Gone(digest) => TargetFields {
            digest: Some(digest),
            ..target
        },
        Target::Tag(tag) => TargetFields {
            tag: Some(tag),
            ..target
        },
    };
    let event = serde_json::to_string(&Event {
        id: &stamp.id,
        timestamp: &stamp.time,
        action: happened.action,
        target,
        request: Request {
            id: clip(&by.id),
            addr: &by.addr,
            host: clip(&by.host),
            method: clip(&by.method),
            useragent: clip(&by.user_agent),
        },
        actor: Actor {
            name: clip(&by.actor),
        },
        source: Source {
            addr: &instance.addr,
            instance_id: &instance.id,
        },
    })?;
    if with_references && event.len() > MAX_EVENT {
        return render(happened, by, stamp, instance, false);
    }
    Ok(event)
}

/// The beginning of a text that a client chose.
fn clip(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The body of a delivery.
pub fn envelope<'a>(events: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::from("{\"events\":[");
    for (at, event) in events.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(event);
    }
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(happened: &Happened<'_>) -> Value {
        event_with(happened, false)
    }

    fn event_with(happened: &Happened<'_>, references: bool) -> Value {
        let by = Origin {
            id: "r1".into(),
            addr: "192.0.2.7:4000".into(),
            host: "registry.example".into(),
            method: "PUT".into(),
            user_agent: "é".repeat(MAX_TEXT),
            actor: "alice".into(),
            base: "https://registry.example".into(),
        };
        let stamp = Stamp {
            id: "e1".into(),
            time: "2026-01-02T03:04:05Z".into(),
        };
        let instance = Instance {
            addr: "node:5000".into(),
            id: "i1".into(),
        };
        let text = render(happened, &by, &stamp, &instance, references).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_push_is_told_in_the_words_of_the_document() {
        let digest = Digest::sha256(b"x");
        let mut event = event(&Happened {
            action: Action::Push,
            repository: "team/app",
            target: Target::Manifest {
                digest: &digest,
                media_type: "application/vnd.oci.image.manifest.v1+json",
                size: 7,
                tag: Some("v1"),
                references: &[],
            },
        });
        let agent = event["request"]["useragent"].take();
        assert_eq!(agent.as_str().unwrap().len(), MAX_TEXT);
        assert_eq!(
            event,
            json!({
                "id": "e1",
                "timestamp": "2026-01-02T03:04:05Z",
                "action": "push",
                "target": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest,
                    "size": 7,
                    "length": 7,
                    "repository": "team/app",
                    "url": format!("https://registry.example/v2/team/app/manifests/{digest}"),
                    "tag": "v1",
                },
                "request": {
                    "id": "r1",
                    "addr": "192.0.2.7:4000",
                    "host": "registry.example",
                    "method": "PUT",
                    "useragent": null,
                },
                "actor": { "name": "alice" },
                "source": { "addr": "node:5000", "instanceID": "i1" },
            })
        );
    }

    #[test]
    fn events_stay_small_whatever_clients_send() {
        let digest = Digest::sha256(b"x");
        let layer = oci::Descriptor::new(oci::MediaType::new("a/b".to_owned()), digest.clone(), 1);
        let long = "x".repeat(1 << 20);
        for (count, told) in [(10, 10), (10_000, 0)] {
            let references = vec![layer.clone(); count];
            let event = event_with(
                &Happened {
                    action: Action::Push,
                    repository: "app",
                    target: Target::Manifest {
                        digest: &digest,
                        media_type: &long,
                        size: 7,
                        tag: None,
                        references: &references,
                    },
                },
                true,
            );
            assert!(event.to_string().len() < MAX_EVENT);
            let references = event["target"]["references"].as_array();
            assert_eq!(references.map_or(0, Vec::len), told);
        }
    }

    #[test]
    fn what_went_is_named_and_no_more() {
        let digest = Digest::sha256(b"x");
        let gone = |target| {
            event(&Happened {
                action: Action::Delete,
                repository: "app",
                target,
            })["target"]
                .take()
        };
        assert_eq!(
            gone(Target::Gone(&digest)),
            json!({"digest": digest, "repository": "app"})
        );
        assert_eq!(
            gone(Target::Tag("v1")),
            json!({"repository": "app", "tag": "v1"})
        );
    }

    #[test]
    fn envelopes_hold_their_events() {
        assert_eq!(envelope(std::iter::empty()), "{\"events\":[]}");
        assert_eq!(
            envelope(["{\"id\":1}", "2"].into_iter()),
            "{\"events\":[{\"id\":1},2]}"
        );
    }
}
