//! To a provider and back: logging in where somebody else knows who people are.

use super::done::Done;
use super::login;
use super::path::onward;
use super::stop::Stop;
use super::view::View;
use crate::auth::{Auth, LoginError};
use crate::http::request::address;

/// Where browsers come back to, below where the registry is.
const BACK: &str = "/ui/callback";

/// Where a provider sends browsers back to.
fn back(view: &View<'_>) -> String {
    format!("{}{BACK}", view.api.base(view.request))
}

fn auth<'v>(view: &View<'v>) -> Result<&'v Auth, Stop> {
    let auth = view.api.auth.as_deref();
    auth.ok_or_else(|| Stop::missing("Nobody needs to sign in here."))
}

/// Sends a browser to a provider.
pub(super) async fn leave(view: &View<'_>, name: &str) -> Result<Done, Stop> {
    let auth = auth(view)?;
    if view.visitor.user.is_some() {
        let next = onward(view.parameter("next"));
        return Err(Stop::Elsewhere(next.to_owned()));
    }
    let next = onward(view.parameter("next"));
    let begun = view.sessions.leave(view.visitor.visit(), name, next)?;
    match auth.leave(&begun, &back(view)).await {
        Ok(url) => Ok(Done::Onward(url, None)),
        Err(LoginError::Unknown) => {
            Err(Stop::missing("There is no such provider to sign in with."))
        }
        Err(e) => failed(view, name, &e),
    }
}

/// Logs in who comes back from there.
pub(super) async fn arrive(view: &View<'_>) -> Result<Done, Stop> {
    let auth = auth(view)?;
    let state = view.parameter("state");
    let Some(begun) = view.sessions.arrive(view.visitor.visit(), state) else {
        let why = "This sign-in is too old, or was begun in another browser. Please begin again.";
        return login::page(view, Some(("", why)));
    };
    let code = view.parameter("code");
    if code.is_empty() {
        let why = view.parameter("error");
        tracing::info!(provider = begun.provider, error = ?why, "a sign-in was not finished");
        return login::page(view, Some(("", "The sign-in was not finished.")));
    }
    match auth.arrive(&begun, code, &back(view)).await {
        Ok(user) => login::admit(view, user, None, &begun.next),
        Err(LoginError::Stranger) => {
            let client = address(view.request);
            tracing::warn!(%client, provider = begun.provider, "refused: no [[oidc]] takes the user");
            Err(Stop::denied(
                "You are known where you signed in, but no rule of this registry lets you in. Ask \
                 whoever runs it.",
            ))
        }
        Err(e) => failed(view, &begun.provider, &e),
    }
}

fn failed(view: &View<'_>, provider: &str, e: &LoginError) -> Result<Done, Stop> {
    tracing::error!(provider, error = %e, "nobody can be logged in by a provider");
    let why = "Signing in there failed; the registry's log says why.";
    login::page(view, Some(("", why)))
}
