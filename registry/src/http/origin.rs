//! Where a request comes from, and where it was sent to.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, USER_AGENT};
use http::request::Parts;

use super::Api;
use super::access::Caller;
use super::log::request_id;
use crate::events::{Action, Origin, RequestOrigin};
use crate::route::Route;

/// The address at the other end of a request's connection, as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Who is at the other end, where that is known.
pub(super) fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<Peer>().map(|peer| peer.0)
}

/// The host that was asked.
fn host(request: &Parts) -> Option<&str> {
    let header = request.headers.get(HOST);
    header
        .and_then(|v| v.to_str().ok())
        .or_else(|| request.uri.authority().map(|a| a.as_str()))
}

/// Where this registry is, as the settings have it; else the scheme and host that were asked, as
/// the client sees them.
pub(super) fn base(api: &Api, request: &Parts) -> String {
    if let Some(url) = &api.url {
        return url.clone();
    }
    let forwarded = request.headers.get("x-forwarded-proto");
    let scheme = if forwarded.is_some_and(|v| v == "https") {
        "https"
    } else {
        api.scheme
    };
    format!("{scheme}://{}", host(request).unwrap_or("localhost"))
}

/// What webhooks are told about a request; nothing, when none wants to hear of what it may do.
pub(super) fn of(
    api: &Api,
    caller: &Caller,
    route: &Route,
    request: &Parts,
    id: Option<&str>,
) -> RequestOrigin {
    let actions: &[Action] = match route {
        Route::GetManifest(..) | Route::GetBlob(..) => &[Action::Pull],
        Route::PutManifest(..) | Route::FinishUpload(..) => &[Action::Push],
        Route::StartUpload(..) => &[Action::Push, Action::Mount],
        Route::DeleteManifest(..) | Route::DeleteBlob(..) => &[Action::Delete],
        _ => &[],
    };
    if !actions.iter().any(|action| api.registry.tells(*action)) {
        return None;
    }
    let agent = request.headers.get(USER_AGENT);
    Some(Arc::new(Origin {
        id: id.map_or_else(|| request_id(request), str::to_owned),
        addr: peer(request).map_or_else(String::new, |addr| addr.to_string()),
        host: host(request).unwrap_or_default().to_owned(),
        method: request.method.to_string(),
        user_agent: agent
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        actor: caller.name().unwrap_or_default().to_owned(),
        base: base(api, request),
    }))
}
