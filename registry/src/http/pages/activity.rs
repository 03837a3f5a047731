//! What happened lately.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::done::Done;
use super::parts::{nothing, short, time};
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::meta::{ActivityQuery, Happening};

/// Lines of a page.
const PAGE: u32 = 100;
const HERE: &str = "/ui/activity";
/// What is shown in columns of its own, or not at all.
const KNOWN: [&str; 11] = [
    "time",
    "id",
    "action",
    "user",
    "client",
    "repository",
    "tag",
    "digest",
    "media_type",
    "request",
    "agent",
];

pub(super) async fn page(view: &View<'_>) -> Result<Done, Stop> {
    view.need_operator("What happened here")?;
    let given = |name: &str| Some(view.parameter(name).trim().to_owned()).filter(|t| !t.is_empty());
    let query = ActivityQuery {
        user: given("user"),
        repository: given("repository"),
        action: given("action"),
        before: view.parameter("before").parse().ok(),
        n: PAGE,
    };
    let found = view.api.registry.activity(&query).await?;
    let full = found.len() == PAGE as usize;
    let older = found.last().filter(|_| full).map(|last| {
        let before = last.number.to_string();
        let filter = |name| view.parameter(name);
        path::with(
            HERE,
            &[
                ("user", filter("user")),
                ("repository", filter("repository")),
                ("action", filter("action")),
                ("before", &before),
            ],
        )
    });
    let content = html! {
        h1 { "Activity" }
        form.line role="search" method="get" action=(HERE) {
            @for (name, label) in [
                ("user", "User"), ("repository", "Repository"), ("action", "Action"),
            ] {
                label for=(name) { (label) }
                input id=(name) name=(name) size="14" value=(view.parameter(name));
            }
            button type="submit" { "Show" }
        }
        @if found.is_empty() {
            (nothing("Nothing of this kind is known.", html! {
                p.quiet { "The last 20,000 changes are kept here; " code { "audit.file" }
                    " keeps all." }
            }))
        } @else { (table(&found)) }
        @if let Some(older) = older {
            p.actions { a.button href=(older) { "Older" } }
        }
    };
    Ok(Done::Page("Activity".to_owned(), content))
}

fn table(found: &[Happening]) -> Markup {
    html! {
        table {
            caption.hidden { "What happened, newest first" }
            thead { tr {
                th scope="col" { "When" }
                th scope="col" { "Action" }
                th scope="col" { "User" }
                th scope="col" { "What" }
                th.medium scope="col" { "From" }
            } }
            tbody {
                @for Happening { line, .. } in found {
                    tr {
                        td { (when(line)) }
                        th scope="row" { (filter("action", text(line, "action"))) }
                        td { (filter("user", text(line, "user"))) }
                        td { (what(line)) }
                        td.medium { (text(line, "client")) }
                    }
                }
            }
        }
    }
}

fn text<'l>(line: &'l Map<String, Value>, name: &str) -> &'l str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn when(line: &Map<String, Value>) -> Markup {
    let at = text(line, "time").parse::<jiff::Timestamp>();
    time(at.ok().map(|at| at.as_second()))
}

/// A text that leads to more of the same.
fn filter(name: &str, text: &str) -> Markup {
    html! { @if !text.is_empty() { a href=(path::with(HERE, &[(name, text)])) { (text) } } }
}

/// To what it happened, and what else is known of it.
fn what(line: &Map<String, Value>) -> Markup {
    let (name, tag, digest) = (
        text(line, "repository"),
        text(line, "tag"),
        text(line, "digest"),
    );
    let more: Vec<String> = line
        .iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            value => format!("{name}: {value}"),
        })
        .collect();
    html! {
        @if !name.is_empty() { a href=(path::of("tags", name)) { (name) } }
        @if !tag.is_empty() { ":" a href=(path::at("past", name, tag)) { (tag) } }
        @if !digest.is_empty() { " " span.digest title=(digest) { (short(digest)) } }
        @if !more.is_empty() { " " span.quiet { (more.join(", ")) } }
    }
}
