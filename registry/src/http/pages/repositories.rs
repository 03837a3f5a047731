//! All repositories that whoever asks may see.

use maud::{Markup, html};

use super::done::Done;
use super::parts::{self, nothing, size, sorted, time};
use super::path::{self, ROOT};
use super::stop::Stop;
use super::view::View;
use crate::meta::{Cursor, ListQuery, RepositoryEntry, Sort};

/// Repositories in a page.
const PAGE: usize = 50;
/// Rows that are looked at in one page for those that may be seen.
const LOOKS: u32 = 20;

pub(super) async fn page(view: &View<'_>) -> Result<Done, Stop> {
    let caller = &view.visitor.caller;
    if caller.is_anonymous() && caller.reach().is_empty() && view.can_log_in() {
        return Err(Stop::Login);
    }
    let filter = view.parameter("q").trim();
    let (sort, order) = order(view.parameter("sort"), view.parameter("order"));
    let mut query = ListQuery {
        sort,
        descending: order.1,
        filter: filter.to_owned(),
        after: Cursor::parse(view.parameter("after")),
        n: PAGE as u32,
    };
    let first_page = query.after.is_none();
    let mut found: Vec<RepositoryEntry> = Vec::new();
    let mut looks = 0;
    let next = loop {
        let page = view
            .api
            .registry
            .repository_entries(&query, "", "~")
            .await?;
        let may_see = |entry: &RepositoryEntry| caller.may_see(&entry.name);
        found.extend(page.entries.into_iter().filter(may_see));
        looks += 1;
        match page.next {
            Some(next) if found.len() < PAGE && looks < LOOKS => query.after = Some(next),
            next => break next,
        }
        // Few of these may be seen.
        query.n = query.n.saturating_mul(2).min(1000);
    };
    let href = |key: &str, descending: bool| {
        let order = if descending { "desc" } else { "asc" };
        path::with(ROOT, &[("q", filter), ("sort", key), ("order", order)])
    };
    let more = next.map(|next| {
        let order_text = if order.1 { "desc" } else { "asc" };
        let after = next.text();
        path::with(
            ROOT,
            &[
                ("q", filter),
                ("sort", order.0),
                ("order", order_text),
                ("after", &after),
            ],
        )
    });
    let content = html! {
        div.head {
            h1 { "Repositories" }
            (search(filter, order))
        }
        @if found.is_empty() && more.is_none() {
            (empty(view, filter, first_page))
        } @else {
            table {
                caption.hidden { "Repositories" }
                thead { tr {
                    (sorted("Name", "name", order, href, ""))
                    th.number.wide scope="col" { "Tags" }
                    (sorted("Size", "size", order, href, "number"))
                    (sorted("Pushed", "time", order, href, "medium"))
                    th.wide scope="col" { "Pulled" }
                } }
                tbody {
                    @for entry in &found { (row(entry)) }
                }
            }
        }
        @if let Some(more) = more { p.more { a.button href=(more) { "Next page" } } }
    };
    Ok(Done::Page("Repositories".to_owned(), content))
}

/// How a list is sorted: for the database, and as parameters say it.
pub(super) fn order(sort: &str, order: &str) -> (Sort, (&'static str, bool)) {
    let (by, key) = match sort {
        "size" => (Sort::Size, "size"),
        "time" => (Sort::Time, "time"),
        _ => (Sort::Name, "name"),
    };
    let descending = match order {
        "desc" => true,
        "asc" => false,
        _ => key != "name",
    };
    (by, (key, descending))
}

fn search(filter: &str, (sort, descending): (&str, bool)) -> Markup {
    html! {
        form.search role="search" method="get" action=(ROOT) {
            label.hidden for="q" { "Search repositories" }
            input #q type="search" name="q" value=(filter) placeholder="Search by name";
            input type="hidden" name="sort" value=(sort);
            input type="hidden" name="order" value=(if descending { "desc" } else { "asc" });
            button type="submit" { "Search" }
        }
    }
}

fn row(entry: &RepositoryEntry) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href=(path::of("tags", &entry.name)) { (entry.name) }
                @if !entry.description.is_empty() { p.about { (entry.description) } }
            }
            td.number.wide { (entry.tags) }
            td.number { (size(entry.bytes)) }
            td.medium { (time(entry.pushed)) }
            td.wide { (time(entry.pulled)) }
        }
    }
}

fn empty(view: &View<'_>, filter: &str, first_page: bool) -> Markup {
    let host = view.host();
    html! {
        @if !filter.is_empty() {
            (nothing("No repository has this in its name.", html! {
                p { a href=(ROOT) { "Show all repositories" } }
            }))
        } @else if !first_page {
            (nothing("There are no more repositories.", html! {}))
        } @else {
            (nothing("There is nothing here yet.", html! {
                p { "Push a first image:" }
                (parts::command(&format!(
                    "docker tag IMAGE {host}/NAME:TAG\ndocker push {host}/NAME:TAG")))
            }))
        }
    }
}
