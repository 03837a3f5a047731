//! What happens that no webhook is told of: users, tokens, settings, rules, copies of all.

use serde::Serialize;
use serde_json::{Map, Value};

use super::happened::Origin;
use super::render::Stamp;

/// Something that the audit log is told of, and no webhook.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// What happened, such as `token.make`.
    pub action: &'static str,
    /// Where; empty for nowhere in particular.
    pub repository: String,
    /// To which tag.
    pub tag: Option<String>,
    /// To which manifest.
    pub digest: Option<String>,
    /// What else is to be said of it.
    pub detail: Map<String, Value>,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    timestamp: &'a str,
    action: &'a str,
    target: Target<'a>,
    request: Request<'a>,
    actor: Actor<'a>,
    detail: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Target<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: &'a str,
    addr: &'a str,
    useragent: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    name: &'a str,
}

impl Noted {
    /// Something that happened to the registry as a whole.
    pub fn new(action: &'static str) -> Self {
        Self {
            action,
            ..Self::default()
        }
    }

    /// The same, with something else that is to be said.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }

    /// It as JSON, of the form that other events have.
    pub(super) fn render(&self, by: &Origin) -> Result<String, serde_json::Error> {
        let stamp = Stamp::new();
        serde_json::to_string(&Event {
            id: &stamp.id,
            timestamp: &stamp.time,
            action: self.action,
            target: Target {
                repository: &self.repository,
                tag: self.tag.as_deref(),
                digest: self.digest.as_deref(),
            },
            request: Request {
                id: &by.id,
                addr: &by.addr,
                useragent: &by.user_agent,
            },
            actor: Actor { name: &by.actor },
            detail: &self.detail,
        })
    }
}
