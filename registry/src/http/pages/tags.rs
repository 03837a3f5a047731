//! A repository's tags.

use maud::{Markup, html};

use super::done::Done;
use super::parts::{self, command, crumbs, nothing, size, sorted, time};
use super::path;
use super::repositories::order;
use super::stop::Stop;
use super::unfetched::Unfetched;
use super::view::View;
use crate::meta::{Cursor, ListQuery, Listing, RepositoryEntry, TagEntry};
use crate::name::RepositoryName;
use crate::policy::is_companion;
use crate::service::ServiceError;

/// Tags in a page.
const PAGE: u32 = 100;

pub(super) async fn page(view: &View<'_>, name: &RepositoryName) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let filter = view.parameter("q").trim();
    let unfetched = Unfetched::of(view, name, filter).await?;
    let repository = match registry.repository_entry(name).await {
        Err(ServiceError::NameUnknown(_)) if unfetched.as_ref().is_some_and(|u| !u.is_empty()) => {
            nothing_here(name)
        }
        found => found?,
    };
    let asked = view.parameter("sort");
    // Whoever comes without a wish wants to see what is new.
    let (sort, order) = order(
        if asked.is_empty() { "time" } else { asked },
        view.parameter("order"),
    );
    let query = ListQuery {
        sort,
        descending: order.1,
        filter: filter.to_owned(),
        after: Cursor::parse(view.parameter("after")),
        n: PAGE,
    };
    let list = match registry.tag_entries(name, &query).await {
        // As above: all there is is elsewhere.
        Err(ServiceError::NameUnknown(_)) if unfetched.is_some() => Listing {
            entries: Vec::new(),
            next: None,
        },
        found => found?,
    };
    let here = path::of("tags", name);
    let href = |key: &str, descending: bool| {
        let order = if descending { "desc" } else { "asc" };
        path::with(&here, &[("q", filter), ("sort", key), ("order", order)])
    };
    let more = list.next.as_ref().map(|next| {
        let after = next.text();
        let way = if order.1 { "desc" } else { "asc" };
        path::with(
            &here,
            &[
                ("q", filter),
                ("sort", order.0),
                ("order", way),
                ("after", &after),
            ],
        )
    });
    let content = html! {
        (crumbs(name.as_str(), &[]))
        (head(view, name, &repository))
        div.head {
            h2 { "Tags" }
            form.search role="search" method="get" action=(here) {
                label.hidden for="q" { "Search tags" }
                input #q type="search" name="q" value=(filter) placeholder="Search tags";
                button type="submit" { "Search" }
            }
        }
        @if list.entries.is_empty() {
            (nothing(
                match (filter.is_empty(), &unfetched) {
                    (true, None) => "No tags.",
                    (true, Some(_)) => "No tag has been fetched yet.",
                    (false, None) => "No tag has this in its name.",
                    (false, Some(_)) => "No tag that has been fetched has this in its name.",
                },
                html! { @if !filter.is_empty() { p { a href=(here) { "Show all tags" } } } },
            ))
        } @else {
            table {
                caption.hidden { "Tags" }
                thead { tr {
                    (sorted("Tag", "name", order, href, ""))
                    (sorted("Size", "size", order, href, "number"))
                    th.medium scope="col" { "Platforms" }
                    (sorted("Pushed", "time", order, href, "medium"))
                    th.wide scope="col" { "Pulled" }
                    th.wide scope="col" { "Digest" }
                } }
                tbody { @for tag in &list.entries { (row(name, tag)) } }
            }
        }
        @if let Some(more) = more { p.more { a.button href=(more) { "Next page" } } }
        @if let Some(unfetched) = &unfetched { (unfetched.part(view, name, filter)) }
        @if list.entries.len() > 1 { (compare(name, &list.entries)) }
    };
    Ok(Done::Page(name.to_string(), content))
}

/// A mirrored repository of which nothing was pulled yet.
fn nothing_here(name: &RepositoryName) -> RepositoryEntry {
    RepositoryEntry {
        name: name.to_string(),
        description: String::new(),
        tags: 0,
        bytes: 0,
        pushed: None,
        pulled: None,
    }
}

fn head(view: &View<'_>, name: &RepositoryName, repository: &RepositoryEntry) -> Markup {
    let host = view.host();
    html! {
        h1 { (name) }
        @if !repository.description.is_empty() { p.lead { (repository.description) } }
        dl.facts {
            div { dt { "Tags" } dd { (repository.tags) } }
            div { dt { "Size" } dd { (size(repository.bytes)) } }
            div { dt { "Pushed" } dd { (time(repository.pushed)) } }
            div { dt { "Pulled" } dd { (time(repository.pulled)) } }
        }
        (command(&format!("docker pull {host}/{name}")))
        p.actions {
            a href=(path::of("rules", name)) { "Rules" }
            @if view.may_delete(name) {
                a.danger href=(path::of("remove", name)) { "Delete repository" }
            }
        }
    }
}

fn row(name: &RepositoryName, tag: &TagEntry) -> Markup {
    let manifest = &tag.manifest;
    html! {
        tr class=[is_companion(&tag.name).then_some("companion")] {
            th scope="row" {
                a href=(path::at("image", name, &tag.name)) { (tag.name) }
                @if tag.signed { " " span.badge { "signed" } }
            }
            td.number { (size(manifest.bytes)) }
            td.medium { (platforms(&manifest.platforms)) }
            td.medium { (time(tag.tagged)) }
            td.wide { (time(manifest.pulled)) }
            td.wide {
                (parts::digest(&manifest.digest, &path::at("image", name, &manifest.digest)))
            }
        }
    }
}

/// Platforms, as many as fit.
pub(super) fn platforms(all: &[String]) -> Markup {
    html! {
        @for platform in all.iter().take(4) { span.platform { (platform) } " " }
        @if all.len() > 4 { span.quiet title=(all.join(", ")) { "and " (all.len() - 4) " more" } }
        @if all.is_empty() { span.quiet { "—" } }
    }
}

fn compare(name: &RepositoryName, tags: &[TagEntry]) -> Markup {
    html! {
        h2 { "Compare two tags" }
        form.line method="get" action=(path::of("compare", name)) {
            datalist #tags { @for tag in tags { option value=(tag.name) {} } }
            label for="from" { "From" }
            input #from name="from" list="tags" required value=(tags[1].name);
            label for="to" { "to" }
            input #to name="to" list="tags" required value=(tags[0].name);
            button type="submit" { "Compare" }
        }
    }
}
