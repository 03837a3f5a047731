//! How each upstream is doing.

use maud::{Markup, html};

use super::done::Done;
use super::parts::{count, nothing, size, time};
use super::stop::Stop;
use super::view::View;
use crate::mirror::{MirrorState, UpstreamState};

pub(super) async fn page(view: &View<'_>) -> Result<Done, Stop> {
    view.need_operator("How upstreams are doing")?;
    let state = match &view.api.mirror {
        Some(mirror) => Some(mirror.state().await?),
        None => None,
    };
    let content = html! {
        h1 { "Mirrors" }
        @match &state {
            None => {
                (nothing("This registry mirrors no other.", html! {
                    p.quiet { "A table " code { "[[upstream]]" } " in its settings names one." }
                }))
            }
            Some(state) => { (all(state)) }
        }
    };
    Ok(Done::Page("Mirrors".to_owned(), content))
}

fn all(state: &MirrorState) -> Markup {
    html! {
        @if state.offline {
            p.error { "It is offline: no upstream is asked anything (" code { "mirror.offline" }
                ")." }
        }
        dl.facts {
            div { dt { "Served from here" } dd { (state.hits) } }
            div { dt { "Fetched" } dd { (state.misses) } }
            div { dt { "Possibly outdated" } dd { (state.stale) } }
            div { dt { "Not to be had" } dd { (state.unavailable) } }
            div { dt { "Blobs coming now" } dd { (state.fetching) } }
            @if let Some(most) = state.max_size { div { dt { "Keeps at most" } dd { (size(most)) } } }
        }
        p.quiet { "Counted since the registry was started." }
        @for upstream in &state.upstreams { (one(upstream)) }
    }
}

fn one(upstream: &UpstreamState) -> Markup {
    html! {
        h2 { code { (upstream.repository) } }
        p.quiet { (upstream.url) }
        dl.facts {
            div { dt { "State" } dd {
                @if upstream.asked { span.change.added { "asked" } }
                @else if upstream.rests_seconds == 0 { span.change.changed { "not asked" } }
                @else {
                    span.change.changed { "rests" } " for "
                    (count(upstream.rests_seconds, "second"))
                }
            } }
            @if let Some(limit) = upstream.limit {
                div { dt { "Pulls left" } dd {
                    @match upstream.remaining { Some(left) => (left), None => "?" }
                    " of " (limit)
                } }
            }
            div { dt { "Kept" } dd {
                (size(upstream.kept_bytes)) " in " (upstream.repositories)
                @if upstream.repositories == 1 { " repository" } @else { " repositories" }
            } }
            div { dt { "Fetched" } dd {
                (count(upstream.manifests, "manifest")) ", " (count(upstream.blobs, "blob")) ", "
                (size(upstream.bytes))
            } }
            div { dt { "Requests" } dd { (upstream.requests) } }
            div { dt { "Failed" } dd { (upstream.failures) } }
            div { dt { "Too many" } dd { (upstream.limited) } }
            div { dt { "Wrong" } dd { (upstream.wrong) } }
        }
        @if let Some(error) = &upstream.last_error {
            p { "It failed last " (time(upstream.last_error_at)) ": " (error) }
        }
    }
}
