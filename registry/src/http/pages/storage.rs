//! How much is stored, and what of it nobody needs.

use std::time::Duration;

use maud::{Markup, html};

use super::done::Done;
use super::parts::size;
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::meta::{ListQuery, Sort};
use crate::service::{CollectOptions, UsageReport};

/// The largest repositories that are shown.
const LARGEST: u32 = 20;

pub(super) async fn page(view: &View<'_>) -> Result<Done, Stop> {
    view.need_operator("How much this registry stores")?;
    let registry = &view.api.registry;
    let usage = registry.usage().await?;
    let report = registry.usage_report().await?;
    let largest = ListQuery {
        sort: Sort::Size,
        descending: true,
        n: LARGEST,
        ..ListQuery::default()
    };
    let largest = registry.repository_entries(&largest, "", "~").await?;
    let garbage = match view.parameter("garbage") {
        "" => None,
        _ => Some(
            registry
                .collect(CollectOptions {
                    grace: view.api.gc_grace,
                    dry_run: true,
                    every_file: false,
                })
                .await?,
        ),
    };
    let content = html! {
        h1 { "Storage" }
        dl.facts {
            div { dt { "Stored" } dd { (size(usage.bytes)) } }
            div { dt { "Repositories" } dd { (usage.repositories) } }
            div { dt { "Tags" } dd { (usage.tags) } }
            div { dt { "Manifests" } dd { (usage.manifests) } }
            div { dt { "Blobs" } dd { (usage.blobs) } }
        }
        (quotas(&report))
        h2 { "Garbage" }
        @match garbage {
            None => {
                p { "What nothing needs is collected while the registry serves. "
                    (grace(view.api.gc_grace)) }
                p.actions {
                    a.button href="/ui/storage?garbage=show" { "Show what would go now" }
                }
            }
            Some(found) => {
                p { "The next collection would take:" }
                dl.facts {
                    div { dt { "Tags, by rule" } dd { (found.tags.len()) } }
                    div { dt { "Images, by rule" } dd { (found.manifests.len()) } }
                    div { dt { "Blobs" } dd { (found.blob_count) } }
                    div { dt { "Size" } dd { (size(found.bytes)) } }
                    div { dt { "Files nobody knows" } dd { (found.orphan_count) } }
                    div { dt { "Empty repositories" } dd { (found.repository_count) } }
                }
            }
        }
        @if !largest.entries.is_empty() {
            h2 { "Largest repositories" }
            table {
                caption.hidden { "Largest repositories" }
                thead { tr {
                    th scope="col" { "Name" }
                    th.number.medium scope="col" { "Tags" }
                    th.number scope="col" { "Size" }
                } }
                tbody {
                    @for entry in &largest.entries {
                        tr {
                            th scope="row" {
                                a href=(path::of("tags", &entry.name)) { (entry.name) }
                            }
                            td.number.medium { (entry.tags) }
                            td.number { (size(entry.bytes)) }
                        }
                    }
                }
            }
        }
    };
    Ok(Done::Page("Storage".to_owned(), content))
}

fn grace(time: Duration) -> String {
    format!(
        "What came within the last {} hours stays.",
        time.as_secs().div_ceil(3600)
    )
}

fn quotas(report: &UsageReport) -> Markup {
    let limited: Vec<(String, u64, u64)> = report
        .quota
        .map(|quota| ("everything".to_owned(), report.bytes, quota))
        .into_iter()
        .chain(report.together.iter().map(|rule| {
            (
                format!("{} together", rule.repository),
                rule.bytes,
                rule.quota,
            )
        }))
        .chain(report.repositories.iter().filter_map(|repository| {
            Some((repository.name.clone(), repository.bytes, repository.quota?))
        }))
        .collect();
    html! {
        @if !limited.is_empty() {
            h2 { "Quotas" }
            table {
                caption.hidden { "Quotas" }
                thead { tr {
                    th scope="col" { "Of" }
                    th scope="col" { "Used" }
                    th.number scope="col" { "Bytes" }
                    th.number scope="col" { "Limit" }
                } }
                tbody {
                    @for (name, used, limit) in limited.iter().take(200) {
                        tr {
                            th scope="row" { (name) }
                            td { meter min="0" max=(limit) value=(used) aria-label=(name) {
                                (used) " of " (limit)
                            } }
                            td.number { (size(*used)) }
                            td.number { (size(*limit)) }
                        }
                    }
                }
            }
        }
    }
}
