//! Repositories, tags and where they pointed, in pages.

use axum::response::Response;
use serde_json::json;

use super::handler::{bad, show};
use crate::auth::rules::Reach;
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::request::Query;
use crate::meta::{Cursor, ListQuery, Listing, RepositoryEntry, Sort};
use crate::name::RepositoryName;
use crate::service::MAX_PAGE;

/// Entries of a page when the client does not say.
const PAGE: u32 = 100;
/// What a search finds when the client does not say, and at most.
const FOUND: u32 = 25;
const MOST_FOUND: u32 = 1000;

/// Which page a request asks for.
fn list_query(query: &Query) -> Result<ListQuery, ApiError> {
    let sort = match query.get("sort") {
        None | Some("name") => Sort::Name,
        Some("time") => Sort::Time,
        Some("size") => Sort::Size,
        Some(other) => return Err(bad("sort", "name, time or size", other)),
    };
    let descending = match query.get("order") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => return Err(bad("order", "asc or desc", other)),
    };
    let after = match query.get("after").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match Cursor::parse(text) {
            None => return Err(bad("after", "what a page before had as next", text)),
            after => after,
        },
    };
    Ok(ListQuery {
        sort,
        descending,
        filter: query.get("q").unwrap_or_default().to_owned(),
        after,
        n: query.n()?.unwrap_or(PAGE).max(1),
    })
}

pub(super) async fn repositories(
    api: &Api,
    caller: &Caller,
    query: &Query,
) -> Result<Response, ApiError> {
    let page = visible(api, caller, &list_query(query)?).await?;
    let next = page.next.map(|next| next.text());
    show(&json!({ "repositories": page.entries, "next": next }))
}

/// A page of those repositories that the caller may read. By name only those within reach are
/// looked at; in other orders all are, until the page is full.
async fn visible(
    api: &Api,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Listing<RepositoryEntry>, ApiError> {
    let mut bounds: Vec<(String, String)> = match query.sort {
        Sort::Name => caller.reach().iter().map(Reach::bounds).collect(),
        Sort::Time | Sort::Size => vec![Reach::of("*").bounds()],
    };
    bounds.sort_unstable();
    if query.descending {
        bounds.sort_by(|a, b| b.1.cmp(&a.1));
    }
    let wanted = query.n as usize;
    let mut page = ListQuery {
        n: query.n.saturating_add(1),
        ..query.clone()
    };
    let mut found: Vec<(RepositoryEntry, Cursor)> = Vec::new();
    'bounds: for (first, end) in bounds {
        loop {
            // What lies before belonged to another's reach too.
            let passed = page.after.as_ref().is_some_and(|after| match query.sort {
                Sort::Name if query.descending => after.name <= first,
                Sort::Name => after.name >= end,
                Sort::Time | Sort::Size => false,
            });
            if passed {
                break;
            }
            let some = api.registry.repository_entries(&page, &first, &end).await?;
            for entry in some.entries {
                let cursor = cursor(query.sort, &entry);
                page.after = Some(cursor.clone());
                if caller.may_see(&entry.name) {
                    found.push((entry, cursor));
                }
                if found.len() > wanted {
                    break 'bounds;
                }
            }
            if some.next.is_none() {
                break;
            }
            // Few of these may be seen: a small page must not take thousands of questions.
            page.n = page.n.saturating_mul(2).min(MAX_PAGE);
        }
    }
    let more = found.len() > wanted;
    found.truncate(wanted);
    let next = found.last().filter(|_| more).map(|(_, at)| at.clone());
    Ok(Listing {
        entries: found.into_iter().map(|(entry, _)| entry).collect(),
        next,
    })
}

/// Where a page that ends with this entry goes on.
fn cursor(sort: Sort, entry: &RepositoryEntry) -> Cursor {
    let key = match sort {
        Sort::Name => 0,
        Sort::Time => entry.pushed.unwrap_or(0),
        Sort::Size => i64::try_from(entry.bytes).unwrap_or(i64::MAX),
    };
    Cursor {
        key,
        name: entry.name.clone(),
    }
}

pub(super) async fn tags(
    api: &Api,
    name: &RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let page = api.registry.tag_entries(name, &list_query(query)?).await?;
    let next = page.next.map(|next| next.text());
    show(&json!({ "name": name.as_str(), "tags": page.entries, "next": next }))
}

pub(super) async fn history(
    api: &Api,
    name: &RepositoryName,
    query: &Query,
) -> Result<Response, ApiError> {
    let n = query.n()?.unwrap_or(PAGE);
    let past = api.registry.tag_past(name, query.get("tag"), n).await?;
    show(&json!({ "name": name.as_str(), "places": past }))
}

pub(super) async fn search(
    api: &Api,
    caller: &Caller,
    query: &Query,
) -> Result<Response, ApiError> {
    let found = found(api, caller, query).await?;
    show(&json!({ "repositories": found }))
}

/// The repositories that the words of `q` find, of those that the caller may read.
pub(super) async fn found(
    api: &Api,
    caller: &Caller,
    query: &Query,
) -> Result<Vec<RepositoryEntry>, ApiError> {
    // Words come with pluses between them.
    let words = query.get("q").unwrap_or_default().replace('+', " ");
    let n = query.n()?.unwrap_or(FOUND).min(MOST_FOUND);
    let visible = |name: &str| caller.may_see(name);
    Ok(api.registry.search(&words, n as usize, visible).await?)
}
