//! Personal tokens: what programs log in with for a person.

use std::sync::Arc;

use maud::{Markup, html};

use super::done::Done;
use super::form;
use super::parts::{command, nothing, time};
use super::stop::Stop;
use super::view::View;
use crate::auth::personal::{PersonalError, end};
use crate::auth::{Auth, OwnToken, TokensError, User};
use crate::clock::now;
use crate::http::admin::note;
use crate::http::request::Query;

/// How long a token may be good for, and how that is called.
const TIMES: [(&str, &str); 4] = [
    ("30d", "30 days"),
    ("90d", "90 days"),
    ("365d", "one year"),
    ("never", "no end"),
];

/// Who is logged in; others are asked who they are.
fn person<'v>(view: &View<'v>) -> Result<(&'v Arc<Auth>, &'v User), Stop> {
    match (&view.api.auth, &view.visitor.user) {
        (Some(auth), Some(user)) => Ok((auth, user)),
        (Some(_), None) if view.can_log_in() => Err(Stop::Login),
        _ => Err(Stop::missing(
            "Nobody signs in here, so that nobody needs a personal token.",
        )),
    }
}

/// The page of somebody's tokens, with one that was just made.
pub(super) async fn page(view: &View<'_>, made: Option<&str>) -> Result<Done, Stop> {
    let (auth, user) = person(view)?;
    let tokens = auth.tokens(Some(user)).await.map_err(stop)?;
    let host = view.host();
    let content = html! {
        h1 { "Personal tokens" }
        p { "A personal token is a password for one program, which can be revoked alone." }
        @if let Some(text) = made {
            h2 { "Your new token" }
            p { "Copy it now: it is not shown again." }
            (command(text))
            p { "It is the password for:" }
            (command(&format!("docker login -u {user} {host}")))
        }
        h2 { "Make one" }
        form.line method="post" action="/ui/tokens" {
            (form::token(view.sessions, view.visitor))
            label for="note" { "What for" }
            input #note name="note" maxlength="200" required;
            label for="expires" { "Good for" }
            select #expires name="expires" {
                @for (value, text) in TIMES {
                    option value=(value) selected[value == "365d"] { (text) }
                }
            }
            button.main type="submit" { "Make token" }
        }
        h2 { "Your tokens" }
        @if tokens.is_empty() { (nothing("You have no tokens.", html! {})) }
        @else { (table(view, &tokens)) }
    };
    Ok(Done::Page("Personal tokens".to_owned(), content))
}

fn table(view: &View<'_>, tokens: &[OwnToken]) -> Markup {
    html! {
        table {
            caption.hidden { "Your tokens" }
            thead { tr {
                th scope="col" { "What for" }
                th.medium scope="col" { "ID" }
                th.medium scope="col" { "Made" }
                th scope="col" { "Ends" }
                th scope="col" { span.hidden { "Revoke" } }
            } }
            tbody {
                @for token in tokens {
                    @let name = if token.note.is_empty() { &token.id } else { &token.note };
                    tr {
                        th scope="row" { (name) }
                        td.medium { code { (token.id) } }
                        td.medium { (time(token.created)) }
                        td { (ends(token.expires)) }
                        td {
                            form method="post" action="/ui/tokens" {
                                (form::token(view.sessions, view.visitor))
                                input type="hidden" name="revoke" value=(token.id);
                                button type="submit" aria-label=(format!("Revoke {name}")) {
                                    "Revoke"
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn ends(at: Option<i64>) -> Markup {
    let Some(at) = at else {
        return html! { "never" };
    };
    let exact = jiff::Timestamp::from_second(at).unwrap_or_default();
    let day = exact.strftime("%Y-%m-%d").to_string();
    html! {
        time datetime=(exact) title=(exact) { (day) }
        @if at <= now() { span.quiet { " over" } }
    }
}

/// Makes a token, or revokes one.
pub(super) async fn change(view: &View<'_>, form: &Query) -> Result<Done, Stop> {
    let (auth, user) = person(view)?;
    let caller = &view.visitor.caller;
    if let Some(id) = form.get("revoke") {
        let gone = auth.revoke_token(id, Some(user)).await.map_err(stop)?;
        note(view.api, caller, view.request, "token.revoke", &gone).await;
        return Ok(Done::Onward("/ui/tokens".to_owned(), None));
    }
    let expires = form.get("expires").unwrap_or("365d");
    let expires = end(expires, now()).map_err(|e| stop(e.into()))?;
    let purpose = form.get("note").unwrap_or_default();
    let made = auth.make_token(user, purpose, expires).await;
    let (text, made) = made.map_err(stop)?;
    note(view.api, caller, view.request, "token.make", &made).await;
    page(view, Some(&text)).await
}

fn stop(e: TokensError) -> Stop {
    match e {
        TokensError::Personal(PersonalError::Unknown(_)) => {
            Stop::missing("There is no such token any more.")
        }
        TokensError::Nobody => Stop::missing("Nobody signs in here."),
        TokensError::Program => Stop::denied("A personal token is made by a person."),
        TokensError::Personal(
            why @ (PersonalError::Note | PersonalError::Time(_) | PersonalError::Many),
        ) => Stop::bad(format!("{why}.")),
        TokensError::Personal(why) => {
            tracing::error!(error = %why, "personal tokens cannot be changed");
            Stop::bad("The tokens could not be changed; the registry's log says why.")
        }
    }
}
