//! In and out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::done::Done;
use super::form;
use super::path::{self, ROOT, onward};
use super::stop::Stop;
use super::view::View;
use crate::auth::{BadCredentials, Identity, User};
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
    let auth = view.api.auth.as_ref();
    let providers = auth.map_or_else(Vec::new, |auth| auth.providers());
    let content = html! {
        div.narrow {
            h1 { "Sign in" }
            @if !why.is_empty() {
                p.error role="alert" #wrong { (why) }
            }
            @for (name, title) in &providers {
                p.actions {
                    a.button href=(path::with(&format!("/ui/login/{name}"), &[("next", next)])) {
                        "Sign in with " (title)
                    }
                }
            }
            @if auth.is_some_and(|auth| auth.has_passwords()) {
                (passwords(view, user, next, !why.is_empty()))
            }
        }
    };
    Ok(Done::Page("Sign in".to_owned(), content))
}

/// The form for user and password.
fn passwords(view: &View<'_>, user: &str, next: &str, wrong: bool) -> Markup {
    html! {
        p.quiet { "With the user and password of " code { "docker login" } "." }
        form.stack method="post" action=(path::with("/ui/login", &[("next", next)])) {
            (form::token(view.sessions, view.visitor))
            label for="user" { "User" }
            input #user name="user" autocomplete="username" autocapitalize="none"
                spellcheck="false" required value=(user)
                aria-describedby=[wrong.then_some("wrong")];
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password"
                required;
            button.main type="submit" { "Sign in" }
        }
    }
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
            if !user.proof().is_personal() {
                return page(view, Some((&user, wrong)));
            }
            let stamp = auth.password_stamp(&user);
            admit(view, user, stamp, view.parameter("next"))
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

/// Lets a browser in as somebody who proved it, and has it go on to `next`.
pub(super) fn admit(
    view: &View<'_>,
    user: User,
    password: Option<[u8; 32]>,
    next: &str,
) -> Result<Done, Stop> {
    // What the browser had until now is worth nothing from now on.
    view.sessions.end(view.visitor.visit());
    let visit = view.sessions.begin(user, password)?;
    let cookie = view.visitor.cookie_of(&visit);
    Ok(Done::Onward(onward(next).to_owned(), Some(cookie)))
}

/// Logs out whoever is logged in.
pub(super) fn leave(view: &View<'_>) -> Result<Done, Stop> {
    view.sessions.end(view.visitor.visit());
    let visit = view.sessions.visit()?;
    let cookie = view.visitor.cookie_of(&visit);
    Ok(Done::Onward(ROOT.to_owned(), Some(cookie)))
}
