//! Clients that want too much are told to wait.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::request::Parts;
use serde_json::{Value, json};

use crate::http::answer::{ApiError, value};
use crate::http::api::Api;
use crate::http::request::address;
use crate::limits::{Client, Slot};
use crate::route::Route;

/// What a client that has too many uploads waits before it asks again.
const SOON: Duration = Duration::from_secs(1);

/// Whom a request is counted for: the user, else the address.
pub(in crate::http) fn client(request: &Parts, user: Option<&str>) -> Client {
    match user {
        Some(user) => Client::User(user.into()),
        None => Client::at(address(request)),
    }
}

/// Counts a request; refuses it when the client has made too many.
pub(in crate::http) fn request(
    api: &Api,
    request: &Parts,
    user: Option<&str>,
) -> Result<(), ApiError> {
    let Some(rates) = &api.throttle.rates else {
        return Ok(());
    };
    rates
        .take(client(request, user), Instant::now())
        .map_err(|wait| refuse_request(api, wait))
}

fn refuse_request(api: &Api, wait: Duration) -> ApiError {
    api.metrics.limited.requests.fetch_add(1, Relaxed);
    too_many("too many requests", wait)
}

/// Counts a password that is not known to be right for the address it comes from, and refuses it
/// where that has tried too often: before it is looked at, so that guessing gets nowhere and costs
/// nothing, however many guesses come at once. Whether one was counted.
pub(in crate::http) fn password(api: &Api, request: &Parts) -> Result<bool, ApiError> {
    let (Some(rates), Some(auth)) = (&api.throttle.rates, &api.auth) else {
        return Ok(false);
    };
    let header = request.headers.get(AUTHORIZATION);
    let Some(header) = header.and_then(|header| header.to_str().ok()) else {
        return Ok(false);
    };
    if !auth.would_try(header) {
        return Ok(false);
    }
    rates
        .take(client(request, None), Instant::now())
        .map(|()| true)
        .map_err(|wait| refuse_request(api, wait))
}

/// Counts a request whose password was counted already (see [`password`]): for the user, when it
/// was right.
pub(in crate::http) fn authenticated(
    api: &Api,
    request: &Parts,
    user: Option<&str>,
    counted: bool,
) -> Result<(), ApiError> {
    match (&api.throttle.rates, counted, user) {
        (Some(_), true, None) => Ok(()),
        (Some(rates), true, Some(_)) => {
            rates.give_back(&client(request, None));
            self::request(api, request, user)
        }
        _ => self::request(api, request, user),
    }
}

/// The right to send a body for an upload, held while it comes; refuses one too many.
pub(in crate::http) fn upload(
    api: &Api,
    route: &Route,
    request: &Parts,
    user: Option<&str>,
    empty: bool,
) -> Result<Option<Slot<Client>>, ApiError> {
    let Some(uploads) = &api.throttle.uploads else {
        return Ok(None);
    };
    // Opening and closing a session sends nothing.
    if empty {
        return Ok(None);
    }
    if !matches!(
        route,
        Route::StartUpload(..) | Route::AppendUpload(..) | Route::FinishUpload(..)
    ) {
        return Ok(None);
    }
    match uploads.open(client(request, user)) {
        Some(slot) => Ok(Some(slot)),
        None => {
            api.metrics.limited.uploads.fetch_add(1, Relaxed);
            Err(too_many("too many uploads at once", SOON))
        }
    }
}

pub(in crate::http) fn too_many(message: &str, wait: Duration) -> ApiError {
    // In whole seconds, as the header has it; never too early.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TOOMANYREQUESTS",
        message,
        json!({ "retry_after": seconds }),
    )
    .with_header(RETRY_AFTER, value(seconds))
}

/// The answer to a body that came too slowly.
pub(in crate::http) fn too_slow(api: &Api) -> ApiError {
    api.metrics.limited.bodies.fetch_add(1, Relaxed);
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "UNKNOWN",
        "the request's body came too slowly; what came of an upload is kept",
        Value::Null,
    )
}
