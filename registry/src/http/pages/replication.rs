//! How replication to and from other registries is doing.

use maud::{Markup, html};

use super::done::Done;
use super::form;
use super::parts::{count, nothing, time};
use super::stop::Stop;
use super::view::View;
use crate::http::request::Query;
use crate::replication::settings::Direction;
use crate::replication::{Progress, ReplicationError, RuleReport};
use crate::service::ServiceError;

/// Where the page is.
const PATH: &str = "/ui/replication";

pub(super) async fn page(view: &View<'_>) -> Result<Done, Stop> {
    may_see(view)?;
    let rules = match &view.api.replication {
        Some(replication) => replication.report().await.map_err(ServiceError::from)?,
        None => Vec::new(),
    };
    let content = html! {
        h1 { "Replication" }
        @if rules.is_empty() {
            (nothing("Nothing is replicated.", html! {
                p { "A " code { "[[replicate]]" } " in the settings keeps images the same at \
                     another registry." }
            }))
        }
        @for rule in &rules {
            h2 id=(rule.name) { (rule.name) }
            (facts(rule))
            @if rule.state != Progress::Disabled {
                form.actions method="post" action=(PATH) {
                    (form::token(view.sessions, view.visitor))
                    input type="hidden" name="rule" value=(rule.name);
                    button type="submit" aria-label=(format!("Compare {} now", rule.name)) {
                        "Compare now"
                    }
                }
            }
        }
    };
    Ok(Done::Page("Replication".to_owned(), content))
}

/// Lets a rule hurry.
pub(super) async fn hurry(view: &View<'_>, form: &Query) -> Result<Done, Stop> {
    may_see(view)?;
    let name = form.get("rule").unwrap_or_default();
    let hurried = match &view.api.replication {
        Some(replication) => replication.hurry(name).await,
        None => Err(ReplicationError::Unknown(name.to_owned())),
    };
    match hurried {
        Ok(()) => Ok(Done::Onward(PATH.to_owned(), None)),
        Err(ReplicationError::Meta(e)) => Err(ServiceError::from(e).into()),
        Err(e) => Err(Stop::missing(e.to_string())),
    }
}

fn may_see(view: &View<'_>) -> Result<(), Stop> {
    let caller = &view.visitor.caller;
    if caller.is_operator() {
        return Ok(());
    }
    if caller.is_anonymous() && view.can_log_in() {
        return Err(Stop::Login);
    }
    Err(Stop::denied(
        "What is replicated is for those who may do everything in this registry (a rule for all \
         repositories with admin).",
    ))
}

fn facts(rule: &RuleReport) -> Markup {
    let way = match rule.direction {
        Direction::Push => "to ",
        Direction::Pull => "from ",
    };
    html! {
        dl.facts {
            div { dt { "State" } dd { (rule.state)
                @if rule.rests > 0 { ", the other registry rests for " (count(rule.rests, "second")) }
            } }
            div { dt { "Images go" } dd { (way) (rule.url) } }
            div { dt { "Repositories" } dd {
                @for pattern in &rule.repositories { code { (pattern) } " " }
            } }
            div { dt { "Left" } dd { (rule.left)
                @if rule.failing > 0 { ", of them " (rule.failing) " that failed before" }
            } }
            div { dt { "Done last" } dd { (time(rule.succeeded)) } }
            div { dt { "Compared last" } dd { (time(rule.compared)) } }
            @if let Some(error) = &rule.error {
                div { dt { "Failed last" } dd { (time(rule.failed)) ": " (error) } }
            }
        }
    }
}
