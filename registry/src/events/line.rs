//! An event as a line of the audit log: one flat object.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::{Map, Value};

/// An event of Docker's notifications, as far as it is told here.
#[derive(Deserialize)]
struct Event {
    id: String,
    timestamp: String,
    action: String,
    #[serde(default)]
    target: Map<String, Value>,
    request: Request,
    actor: Actor,
    /// What only the audit log is told.
    #[serde(default)]
    detail: Map<String, Value>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: String,
    #[serde(default)]
    addr: String,
    #[serde(default)]
    useragent: String,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(default)]
    name: String,
}

/// The line of an event, and its ID; `None` when it is no event.
pub fn line(event: &str) -> Option<(String, Map<String, Value>)> {
    let event: Event = match serde_json::from_str(event) {
        Ok(event) => event,
        Err(e) => {
            tracing::error!(error = %e, "an event for the audit log is none");
            return None;
        }
    };
    let address = event.request.addr.parse::<SocketAddr>();
    let client = address.map_or(event.request.addr, |address| address.ip().to_string());
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value != "" {
            line.insert(name.to_owned(), value);
        }
    };
    let mut target = event.target;
    let mut taken = |name: &str| target.remove(name).unwrap_or(Value::Null);
    put("time", event.timestamp.into());
    put("id", event.id.clone().into());
    put("action", event.action.into());
    put("user", event.actor.name.into());
    put("client", client.into());
    put("repository", taken("repository"));
    put("tag", taken("tag"));
    put("digest", taken("digest"));
    put("from", taken("fromRepository"));
    put("media_type", taken("mediaType"));
    put("size", taken("size"));
    for (name, value) in event.detail {
        put(&name, value);
    }
    put("request", event.request.id.into());
    put("agent", event.request.useragent.into());
    Some((event.id, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_flat_object() {
        let event = serde_json::json!({
            "id": "e1", "timestamp": "2026-01-02T03:04:05Z", "action": "push",
            "target": {"repository": "app", "tag": "v1", "url": "http://x/v2/app/manifests/v1"},
            "request": {"id": "r", "addr": "192.0.2.7:4000", "useragent": "a\nb"},
            "actor": {"name": "alice"}, "source": {"addr": "node"},
            "detail": {"reason": "retention", "none": null},
        });
        let (id, flat) = line(&event.to_string()).unwrap();
        assert_eq!(id, "e1");
        assert_eq!(
            Value::Object(flat).to_string(),
            "{\"time\":\"2026-01-02T03:04:05Z\",\"id\":\"e1\",\"action\":\"push\",\
             \"user\":\"alice\",\"client\":\"192.0.2.7\",\"repository\":\"app\",\"tag\":\"v1\",\
             \"reason\":\"retention\",\"request\":\"r\",\"agent\":\"a\\nb\"}"
        );
        assert_eq!(line("{}"), None);
    }
}
