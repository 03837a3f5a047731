//! What rules do to a repository: which tags never move, which would go, how much it may hold.

use maud::{Markup, html};

use super::done::Done;
use super::parts::{count, crumbs, nothing, size};
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::name::RepositoryName;
use crate::policy::Retention;
use crate::service::RulesOf;

/// Tags that are named of those that would go.
const NAMED: usize = 500;

pub(super) async fn page(view: &View<'_>, name: &RepositoryName) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let repository = registry.repository_entry(name).await?;
    let rules = registry.rules_of(name).await?;
    let content = html! {
        (crumbs(name.as_str(), &[("Rules", "")]))
        h1 { "Rules" }
        dl.facts {
            div { dt { "Size" } dd { (size(repository.bytes)) } }
            div { dt { "May hold" } dd {
                @match rules.quota { Some(quota) => (size(quota)), None => "any amount" }
            } }
            div { dt { "Never move" } dd {
                @if rules.immutable.is_empty() { "no tags" }
                @for pattern in &rules.immutable { code { (pattern) } " " }
            } }
        }
        h2 { "Retention" }
        @match &rules.retention {
            None => { (nothing("No rule takes anything from this repository.", html! {})) }
            Some(rule) => { (retention(name, rule, &rules)) }
        }
    };
    Ok(Done::Page(format!("Rules of {name}"), content))
}

fn retention(name: &RepositoryName, rule: &Retention, rules: &RulesOf) -> Markup {
    let days = |time: std::time::Duration| match time.as_secs() {
        seconds if seconds % 86400 == 0 => format!("{} days", seconds / 86400),
        seconds if seconds % 3600 == 0 => format!("{} hours", seconds / 3600),
        seconds => format!("{} minutes", seconds / 60),
    };
    html! {
        p { "The rule for " code { (rule.repository) } " keeps:" }
        ul {
            @if let Some(n) = rule.keep_newest { li { (count(n, "tag")) " pushed last" } }
            @if let Some(time) = rule.keep_pushed_within {
                li { "tags pushed within " (days(time)) }
            }
            @if let Some(time) = rule.keep_pulled_within {
                li { "tags pulled or pushed within " (days(time)) }
            }
            @if !rule.keep_tags.is_empty() {
                li { "tags called " @for tag in &rule.keep_tags { code { (tag) } " " } }
            }
            @if let Some(time) = rule.delete_untagged_after {
                li { "images without a tag, for " (days(time)) }
            }
        }
        h2 { "What would go now" }
        @if rules.tags.is_empty() && rules.manifests == 0 {
            (nothing("Nothing would go.", html! {}))
        } @else {
            p {
                (count(rules.tags.len(), "tag")) " and "
                (count(rules.manifests, "image")) " without a tag, with the next collection of \
                 garbage."
            }
            p.tags {
                @for tag in rules.tags.iter().take(NAMED) {
                    a.tag href=(path::at("image", name, tag)) { (tag) } " "
                }
                @if rules.tags.len() > NAMED {
                    span.quiet { "and " (rules.tags.len() - NAMED) " more" }
                }
            }
        }
    }
}
