//! What webhooks are told about a request.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::request::Parts;

use crate::events::{Action, Origin, RequestOrigin};
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::request::{host, peer, request_id};
use crate::route::Route;

/// What webhooks are told about a request; nothing, when none wants to hear of what it may do.
pub(super) fn of(api: &Api, caller: &Caller, route: &Route, request: &Parts) -> RequestOrigin {
    let actions: &[Action] = match route {
        Route::GetManifest(..) | Route::GetBlob(..) => &[Action::Pull],
        Route::PutManifest(..) | Route::FinishUpload(..) => &[Action::Push],
        Route::StartUpload(..) => &[Action::Push, Action::Mount],
        Route::DeleteManifest(..) | Route::DeleteBlob(..) => &[Action::Delete],
        _ => &[],
    };
    acting(api, caller, actions, request)
}

/// What webhooks are told about a request that may do these actions; nothing, when none wants to
/// hear of them.
pub(in crate::http) fn acting(
    api: &Api,
    caller: &Caller,
    actions: &[Action],
    request: &Parts,
) -> RequestOrigin {
    if !actions.iter().any(|action| api.registry.tells(*action)) {
        return None;
    }
    let agent = request.headers.get(USER_AGENT);
    Some(Arc::new(Origin {
        id: request_id(request),
        addr: peer(request).map_or_else(String::new, |addr| addr.to_string()),
        host: host(request).unwrap_or_default().to_owned(),
        method: request.method.to_string(),
        user_agent: agent
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        actor: caller.name().unwrap_or_default().to_owned(),
        base: api.base(request),
    }))
}
