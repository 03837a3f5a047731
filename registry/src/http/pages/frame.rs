//! What is around every page.

use http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::view::View;
use super::{assets, form};

/// A whole page.
pub(super) fn page(view: &View<'_>, title: &str, content: Markup) -> Markup {
    let host = view.host();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (host) }
                link rel="stylesheet" href=(assets::style());
                link rel="icon" type="image/svg+xml" href=(assets::icon());
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header.top {
                    div.bar {
                        a.brand href="/ui/" {
                            img src=(assets::icon()) alt="" width="22" height="22";
                            span { (host) }
                        }
                        nav aria-label="Main" {
                            a href="/ui/" { "Repositories" }
                            a href="/ui/storage" { "Storage" }
                            @if view.api.has_replication() && view.visitor.caller.is_operator() {
                                a href="/ui/replication" { "Replication" }
                            }
                            @if view.visitor.caller.is_operator() {
                                a href="/ui/activity" { "Activity" }
                                @if view.api.mirror.is_some() {
                                    a href="/ui/mirrors" { "Mirrors" }
                                }
                            }
                        }
                        div.who { (who(view)) }
                    }
                }
                @if view.api.is_read_only() {
                    p.readonly role="status" {
                        "This registry is read-only for now: nothing can be pushed or deleted."
                    }
                }
                main #content tabindex="-1" { (content) }
                footer { "rregistry " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

/// Who is logged in, and the way out or in.
fn who(view: &View<'_>) -> Markup {
    html! {
        @if let Some(user) = &view.visitor.user {
            span.user { span.quiet { "Signed in as " } (user) }
            a href="/ui/tokens" { "Tokens" }
            form method="post" action="/ui/logout" {
                (form::token(view.sessions, view.visitor))
                button.plain type="submit" { "Sign out" }
            }
        } @else if view.can_log_in() {
            a href="/ui/login" { "Sign in" }
        }
    }
}

/// What is wrong, for people.
pub(super) fn wrong(status: StatusCode, message: &str) -> (String, Markup) {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::METHOD_NOT_ALLOWED => "Not possible here",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        status if status.is_server_error() => "Something failed",
        _ => "This cannot be done",
    };
    let mut letters = message.chars();
    let message: String = match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    };
    let content = html! {
        div.notice {
            p.code { (status.as_u16()) }
            h1 { (title) }
            p { (message) }
            p { a href="/ui/" { "All repositories" } }
        }
    };
    (title.to_owned(), content)
}
