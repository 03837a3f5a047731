//! Which repository a request is about where other registries are mirrored, and what cannot be done
//! there.

use std::sync::Arc;

use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use serde_json::{Value, json};

use super::{access, throttle};
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::http::request::Query;
use crate::mirror::{Meant, Mirror, MirrorError, Stale, Unavailable};
use crate::name::RepositoryName;
use crate::route::Route;

/// The route that is meant, and the mirror that is to be asked where this registry has nothing.
///
/// # Errors
/// A query that is none, and what the registry fails with.
pub(in crate::http) async fn meant(
    api: &Api,
    route: Route,
    request: &Parts,
) -> Result<(Route, Option<Arc<Mirror>>), ApiError> {
    let (Some(mirror), Some(asked)) = (&api.mirror, read(&route)) else {
        return Ok((route, None));
    };
    let query = Query::of(request)?;
    let meant = mirror.meant(asked, query.get("ns"));
    let name = match meant {
        Meant::Own => return Ok((route, None)),
        Meant::Mirrored(name) => name,
        Meant::Hostless(name) => {
            // Who pushes asks whether a blob is here already: elsewhere does not count.
            let pushes =
                request.method == http::Method::HEAD && matches!(route, Route::GetBlob(..));
            if pushes || is_own(api, asked, &route, request).await? {
                return Ok((route, None));
            }
            name
        }
    };
    Ok((renamed(route, name), Some(Arc::clone(mirror))))
}

/// Whether there is a repository of that name that the caller may read. Whoever may not learns
/// nothing of it.
async fn is_own(
    api: &Api,
    name: &RepositoryName,
    route: &Route,
    request: &Parts,
) -> Result<bool, ApiError> {
    if !api.registry.has_repository(name).await? {
        return Ok(false);
    }
    let let_in = access::authorize(api, route, request, &mut None).await;
    Ok(let_in.is_ok())
}

/// Refuses what would change a mirrored repository by other means than its upstream.
pub(in crate::http) fn refuse_push(api: &Api, route: &Route) -> Result<(), ApiError> {
    let (Some(mirror), Some(name)) = (&api.mirror, written(route)) else {
        return Ok(());
    };
    if !mirror.is_mirrored(name) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UNSUPPORTED",
        format!(
            "{name} is mirrored from another registry ([[upstream]]) and cannot be pushed to; push \
             under another name"
        ),
        json!({ "name": name.as_str() }),
    )
    .with_header(ALLOW, HeaderValue::from_static("GET, HEAD, DELETE")))
}

/// The scopes of a token, and with each name without a host the one under which it is mirrored:
/// clients that take us for another registry do not know that one.
pub(in crate::http) fn with_mirrored(api: &Api, scope: &str) -> String {
    let mut scopes = scope.to_owned();
    let Some(mirror) = &api.mirror else {
        return scopes;
    };
    for one in scope.split(' ') {
        let name = one.strip_prefix("repository:");
        let name = name.and_then(|rest| Some(rest.rsplit_once(':')?.0));
        if let Some(mirrored) = name.and_then(|name| mirror.hostless(name)) {
            scopes.push_str(&format!(" repository:{mirrored}:pull"));
        }
    }
    scopes
}

/// An answer that may be outdated says so (RFC 9111, section 5.5, as caches have long done it).
pub(in crate::http) fn warning(stale: Stale) -> HeaderValue {
    HeaderValue::from_static(match stale {
        Stale::Asking => "110 rregistry \"Response is Stale\"",
        Stale::Unanswered => "111 rregistry \"Revalidation Failed\"",
    })
}

/// The repository of a route that reads one.
fn read(route: &Route) -> Option<&RepositoryName> {
    match route {
        Route::GetManifest(name, _)
        | Route::GetBlob(name, _)
        | Route::Referrers(name, _)
        | Route::ListTags(name) => Some(name),
        _ => None,
    }
}

/// The repository of a route that adds to one.
fn written(route: &Route) -> Option<&RepositoryName> {
    match route {
        Route::PutManifest(name, _)
        | Route::StartUpload(name)
        | Route::AppendUpload(name, _)
        | Route::FinishUpload(name, _) => Some(name),
        _ => None,
    }
}

fn renamed(route: Route, name: RepositoryName) -> Route {
    match route {
        Route::GetManifest(_, reference) => Route::GetManifest(name, reference),
        Route::GetBlob(_, digest) => Route::GetBlob(name, digest),
        Route::Referrers(_, digest) => Route::Referrers(name, digest),
        Route::ListTags(_) => Route::ListTags(name),
        other => other,
    }
}

impl From<MirrorError> for ApiError {
    fn from(e: MirrorError) -> Self {
        match e {
            MirrorError::Service(e) => e.into(),
            MirrorError::Unavailable(why) => unavailable(&why),
        }
    }
}

fn unavailable(why: &Unavailable) -> ApiError {
    if why.limited {
        let wait = why.retry_after.unwrap_or_default();
        return throttle::too_many(&why.to_string(), wait);
    }
    let status = StatusCode::BAD_GATEWAY;
    let error = ApiError::new(status, "UNAVAILABLE", why.to_string(), Value::Null);
    match why.retry_after {
        Some(wait) => {
            let seconds = HeaderValue::from(wait.as_secs().max(1));
            error.with_header(RETRY_AFTER, seconds)
        }
        None => error,
    }
}
