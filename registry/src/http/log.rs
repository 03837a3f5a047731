//! The access log: one line a request, as text or JSON, to standard output.

use std::io::Write;

use http::header::USER_AGENT;
use http::request::Parts;
use serde_json::json;

use super::request::{peer, request_id, shown};
use crate::metrics::Answered;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccessLog {
    pub(super) json: bool,
}

/// A line that waits for its answer.
#[derive(Debug)]
pub(super) struct Line {
    /// The request's ID: the client's, else a new one.
    pub(super) id: String,
    client: String,
    method: String,
    path: String,
    agent: String,
    json: bool,
}

impl AccessLog {
    /// Begins the line of a request that came.
    pub(super) fn begin(self, request: &Parts) -> Line {
        let agent = request.headers.get(USER_AGENT);
        Line {
            id: request_id(request),
            client: shown(peer(request)),
            method: request.method.to_string(),
            path: request
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            agent: agent
                .and_then(|v| v.to_str().ok())
                .unwrap_or("-")
                .to_owned(),
            json: self.json,
        }
    }
}

impl Line {
    /// Writes the line, once the request is answered.
    pub(super) fn end(self, answered: Answered, user: &str, code: &str) {
        // A log that nobody reads any more is no reason to stop serving.
        let _ = std::io::stdout()
            .lock()
            .write_all(self.render(answered, user, code).as_bytes());
    }

    fn render(&self, answered: Answered, user: &str, code: &str) -> String {
        let time = jiff::Timestamp::now();
        let micros = answered.time.as_micros();
        let Line {
            id,
            method,
            path,
            agent,
            client,
            ..
        } = self;
        if self.json {
            let line = json!({
                "time": time.to_string(),
                "id": id,
                "client": client,
                "user": user,
                "method": method,
                "path": path,
                "route": answered.label,
                "status": answered.status,
                "code": code,
                "received": answered.received,
                "sent": answered.sent,
                "micros": u64::try_from(micros).unwrap_or(u64::MAX),
                "agent": agent,
            });
            return format!("{line}\n");
        }
        let user = if user.bytes().all(|b| b.is_ascii_graphic()) {
            user.to_owned()
        } else {
            format!("{user:?}")
        };
        // Quoted, so that nothing a client sends can look like another line.
        format!(
            "{time:.3} {id} {client} {user} {method} {path:?} {status} {code} {sent} {micros}us {agent:?}\n",
            status = answered.status,
            sent = answered.sent,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_hold_one_request_whatever_it_sends() {
        let request = http::Request::get("/v2/app/tags/list?n=1")
            .header("x-request-id", "abc-1")
            .header("user-agent", "evil\" 200 \"x")
            .extension(crate::http::request::Peer(([192, 0, 2, 7], 4000).into()))
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let answered = Answered {
            label: "tags",
            status: 404,
            time: Duration::from_micros(120),
            sent: 9,
            received: 0,
        };
        let text =
            AccessLog { json: false }
                .begin(&request)
                .render(answered, "alice", "NAME_UNKNOWN");
        assert!(
            text.ends_with(
                " abc-1 192.0.2.7:4000 alice GET \"/v2/app/tags/list?n=1\" 404 NAME_UNKNOWN 9 120us \"evil\\\" 200 \\\"x\"\n"
            ),
            "{text}"
        );
        let text =
            AccessLog { json: true }
                .begin(&request)
                .render(answered, "alice", "NAME_UNKNOWN");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["status"], 404);
        assert_eq!(line["code"], "NAME_UNKNOWN");
        assert_eq!(line["agent"], "evil\" 200 \"x");
    }

    #[test]
    fn ids_that_could_harm_are_replaced() {
        for id in ["", "a b", &"x".repeat(65)] {
            let request = http::Request::get("/")
                .header("x-request-id", id)
                .body(())
                .unwrap();
            let line = AccessLog { json: false }.begin(&request.into_parts().0);
            assert_eq!(line.id.len(), 36, "{id}");
        }
    }
}
