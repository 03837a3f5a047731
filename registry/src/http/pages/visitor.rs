//! Who asks with a browser.

use http::HeaderValue;
use http::header::{COOKIE, HOST, ORIGIN};
use http::request::Parts;

use super::stop::Stop;
use crate::auth::sessions::{NoRandomness, Sessions, Visit};
use crate::auth::{Identity, User};
use crate::http::answer::{ApiError, value};
use crate::http::api::Api;
use crate::http::guards::Caller;

/// Who asks with a browser.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    /// Who is logged in.
    pub(super) user: Option<User>,
    visit: Visit,
    /// Whether the browser does not have the value yet.
    fresh: bool,
    /// Whether it comes by TLS, as far as anybody says.
    secure: bool,
}

impl From<NoRandomness> for Stop {
    fn from(e: NoRandomness) -> Self {
        tracing::error!(error = %e, "nobody can log in");
        let status = http::StatusCode::INTERNAL_SERVER_ERROR;
        Self::Error(ApiError::new(
            status,
            "UNKNOWN",
            "the registry failed; its log says why",
            serde_json::Value::Null,
        ))
    }
}

impl Visitor {
    /// Who sent a request, by its cookie.
    pub(super) async fn of(
        api: &Api,
        sessions: &Sessions,
        request: &Parts,
    ) -> Result<Self, NoRandomness> {
        let secure = api.base(request).starts_with("https://");
        let known = cookie(request, name(secure)).and_then(Visit::parse);
        let mut user = None;
        if let (Some(auth), Some(visit)) = (&api.auth, &known) {
            if let Some((then, password)) = sessions.user(visit) {
                user = auth.may_stay(&then, password).await;
            }
            if user.is_none() {
                sessions.end(visit);
            }
        }
        let identity = user.clone().map_or(Identity::Anonymous, Identity::User);
        Ok(Self {
            caller: Caller::of(api.auth.as_ref(), identity),
            user,
            fresh: known.is_none(),
            visit: match known {
                Some(visit) => visit,
                None => sessions.visit()?,
            },
            secure,
        })
    }

    /// The value of the browser.
    pub(super) fn visit(&self) -> &Visit {
        &self.visit
    }

    /// The cookie for a browser that does not have it.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        self.fresh.then(|| self.cookie_of(&self.visit))
    }

    /// The cookie for a value that the browser is to have from now on.
    pub(super) fn cookie_of(&self, visit: &Visit) -> HeaderValue {
        let (name, visit) = (name(self.secure), visit.as_str());
        // Only by links from elsewhere, and not by their forms, frames and images; no script has
        // it. A name with this prefix is taken from nobody but this host.
        match self.secure {
            true => value(format_args!(
                "{name}={visit}; Path=/; HttpOnly; SameSite=Lax; Secure"
            )),
            false => value(format_args!(
                "{name}={visit}; Path=/ui/; HttpOnly; SameSite=Lax"
            )),
        }
    }
}

fn name(secure: bool) -> &'static str {
    match secure {
        true => "__Host-rregistry",
        false => "rregistry",
    }
}

fn cookie<'r>(request: &'r Parts, name: &str) -> Option<&'r str> {
    let headers = request.headers.get_all(COOKIE).into_iter();
    let texts = headers.filter_map(|header| header.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Whether a request that changes something comes from a page of another site, as browsers say:
/// beside the token that forms have, so that one of the two may fail.
pub(super) fn comes_from_elsewhere(request: &Parts) -> bool {
    let text = |name: &str| request.headers.get(name)?.to_str().ok();
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return false;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    let asked = [HOST.as_str(), "x-forwarded-host"];
    !asked
        .iter()
        .any(|name| host.is_some() && text(name) == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::post("/ui/login");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_right_cookie_is_read() {
        let request = request(&[
            ("cookie", "a=1; rregistry-x=2"),
            ("cookie", "b=3;rregistry=value; c"),
        ]);
        assert_eq!(cookie(&request, "rregistry"), Some("value"));
        assert_eq!(cookie(&request, "__Host-rregistry"), None);
    }

    #[test]
    fn browsers_say_where_a_form_was() {
        for (headers, elsewhere) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("origin", "http://r:5000"), ("host", "r:5000")], false),
            (&[("origin", "https://r:5000"), ("host", "r:5000")], false),
            (&[("origin", "https://evil"), ("host", "r:5000")], true),
            (&[("origin", "null"), ("host", "r:5000")], true),
            (&[("origin", "null"), ("host", "null")], true),
        ] {
            assert_eq!(
                comes_from_elsewhere(&request(headers)),
                elsewhere,
                "{headers:?}"
            );
        }
    }
}
