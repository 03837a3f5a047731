//! In and out.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::html;

use super::done::Done;
use super::form;
use super::path::{self, ROOT, onward};
use super::stop::Stop;
use super::view::View;
use crate::auth::{BadCredentials, Identity, Proof};
use crate::http::guards::access::unavailable;
use crate::http::guards::throttle;
use crate::http::request::{Query, address};

/// The page that asks for user and password; what was wrong with those before.
pub(super) fn page(view: &View<'_>, wrong: Option<(&str, &str)>) -> Result<Done, Stop> {
    if view.visitor.user.is_some() {
        return Err(Stop::Elsewhere(onward(view.parameter("next")).to_owned()));
    }
    if !view.can_log_in() {
        return Err(Stop::missing(match &view.api.auth {
            None => "Nobody needs to sign in here: this registry is open to all.",
            Some(_) => {
                "Users of this registry are known to a token server, and cannot sign in here."
            }
        }));
    }
    let (user, why) = wrong.unwrap_or_default();
    let next = onward(view.parameter("next"));
    let content = html! {
        div.narrow {
            h1 { "Sign in" }
            p.quiet { "With the user and password of " code { "docker login" } "." }
            @if !why.is_empty() {
                p.error role="alert" #wrong { (why) }
            }
            form.stack method="post" action=(path::with("/ui/login", &[("next", next)])) {
                (form::token(view.sessions, view.visitor))
                label for="user" { "User" }
                input #user name="user" autocomplete="username" autocapitalize="none"
                    spellcheck="false" required value=(user)
                    aria-describedby=[(!why.is_empty()).then_some("wrong")];
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password"
                    required;
                button.main type="submit" { "Sign in" }
            }
        }
    };
    Ok(Done::Page("Sign in".to_owned(), content))
}

/// Logs somebody in whose password is right.
pub(super) async fn enter(view: &View<'_>, form: &Query) -> Result<Done, Stop> {
    let Some(auth) = view.api.auth.as_ref().filter(|auth| auth.has_passwords()) else {
        return page(view, None);
    };
    let (user, password) = (
        form.get("user").unwrap_or_default(),
        form.get("password").unwrap_or_default(),
    );
    let wrong = "User or password is wrong.";
    if user.is_empty() || user.contains(':') {
        return page(view, Some((user, wrong)));
    }
    let pair = STANDARD.encode(format!("{user}:{password}"));
    let header = format!("Basic {pair}");
    match auth.login(Some(&header), address(view.request)).await {
        Ok(Identity::User(user)) => {
            // A token, of whatever kind, is for programs: it ends by itself.
            let own = *user.proof() == Proof::Password;
            let stamp = auth.password_stamp(&user).filter(|_| own);
            let Some(stamp) = stamp else {
                return page(view, Some((&user, wrong)));
            };
            // What the browser had until now is worth nothing from now on.
            view.sessions.end(view.visitor.visit());
            let visit = view.sessions.begin(Arc::from(&*user), stamp)?;
            let cookie = view.visitor.cookie_of(&visit);
            let next = onward(view.parameter("next")).to_owned();
            Ok(Done::Onward(next, Some(cookie)))
        }
        Err(BadCredentials::Unavailable) => Err(unavailable().into()),
        Err(BadCredentials::Wait(time)) => {
            let why = "too many wrong passwords: wait a while, then try again";
            Err(throttle::too_many(why, time).refused().into())
        }
        Ok(Identity::Anonymous) | Err(BadCredentials::Wrong) => {
            let client = address(view.request);
            tracing::warn!(%client, ?user, "refused: a password on the web page is wrong");
            page(view, Some((user, wrong)))
        }
    }
}

/// Logs out whoever is logged in.
pub(super) fn leave(view: &View<'_>) -> Result<Done, Stop> {
    view.sessions.end(view.visitor.visit());
    let visit = view.sessions.visit()?;
    let cookie = view.visitor.cookie_of(&visit);
    Ok(Done::Onward(ROOT.to_owned(), Some(cookie)))
}
