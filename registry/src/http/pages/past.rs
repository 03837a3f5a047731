//! Where a tag pointed, and the way back.

use maud::{Markup, html};
use oci::Digest;

use super::done::Done;
use super::form;
use super::parts::{crumbs, digest, nothing, short, time};
use super::path::{self, named};
use super::stop::Stop;
use super::view::View;
use crate::auth::rules::Access;
use crate::events::Action;
use crate::http::request::Query;
use crate::http::v2::origin;
use crate::meta::TagPast;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::ServiceError;

/// Places that are shown; no more are known.
const PLACES: u32 = 10;

pub(super) async fn page(view: &View<'_>, name: &RepositoryName, tag: &Tag) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let reference = ManifestRef::Tag(tag.clone());
    let current = match registry.manifest(name, &reference).await {
        Ok(manifest) => Some(manifest.row.digest.to_string()),
        Err(ServiceError::ManifestUnknown { .. }) => None,
        Err(e) => return Err(e.into()),
    };
    let by = registry.tag_pushed_by(name, tag).await?;
    let mut past = Vec::new();
    for place in registry.tag_past(name, Some(tag.as_str()), PLACES).await? {
        let there = match place.digest.parse().map(ManifestRef::Digest) {
            Ok(reference) => registry.manifest(name, &reference).await.is_ok(),
            Err(_) => false,
        };
        past.push((place, there));
    }
    let may_push = view.visitor.caller.may(name.as_str(), Access::Push);
    let image = path::at("image", name, tag.as_str());
    let title = format!("History of {}", named(name, tag.as_str()));
    let content = html! {
        (crumbs(name.as_str(), &[(tag.as_str(), &image), ("History", "")]))
        h1 { (title) }
        p {
            @match &current {
                Some(current) => {
                    "It points to " (digest(current, &path::at("image", name, current)))
                    @if let Some(by) = &by { ", pushed by " (by) }
                    "."
                }
                None => { "There is no such tag now." }
            }
        }
        @if past.is_empty() {
            (nothing("It pointed nowhere else before.", html! {
                p.quiet { "Ten places of the last thirty days are kept." }
            }))
        } @else {
            (table(view, name, tag, &past, may_push))
            p.quiet { "Ten places of the last thirty days are kept." }
        }
    };
    Ok(Done::Page(title, content))
}

fn table(
    view: &View<'_>,
    name: &RepositoryName,
    tag: &Tag,
    past: &[(TagPast, bool)],
    may_push: bool,
) -> Markup {
    html! {
        table {
            caption.hidden { "Where it pointed before" }
            thead { tr {
                th scope="col" { "Image" }
                th.medium scope="col" { "Pushed by" }
                th.medium scope="col" { "From" }
                th scope="col" { "Until" }
                th scope="col" { span.hidden { "Restore" } }
            } }
            tbody {
                @for (place, there) in past {
                    @let to = &place.digest;
                    tr {
                        th scope="row" {
                            @if *there { (digest(to, &path::at("image", name, to))) }
                            @else {
                                span.digest title=(to) { (short(to)) }
                                span.quiet { " deleted since" }
                            }
                        }
                        td.medium { @if let Some(by) = &place.pushed_by { (by) } }
                        td.medium { (time(place.since)) }
                        td {
                            (time(place.until))
                            @if let Some(by) = &place.deleted_by {
                                span.quiet { ", deleted by " (by) }
                            } @else if place.deleted {
                                span.quiet { ", deleted" }
                            }
                        }
                        td {
                            @if may_push {
                                form method="post" action=(path::at("past", name, tag.as_str())) {
                                    (form::token(view.sessions, view.visitor))
                                    input type="hidden" name="digest" value=(to);
                                    button type="submit"
                                        aria-label=(format!("Restore {}", short(to))) {
                                        "Restore"
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Points a tag to where it was before.
pub(super) async fn restore(
    view: &View<'_>,
    name: &RepositoryName,
    tag: &Tag,
    form: &Query,
) -> Result<Done, Stop> {
    view.need(name, Access::Push)?;
    let digest = form.get("digest").unwrap_or_default();
    let digest: Digest = digest
        .parse()
        .map_err(|_| Stop::bad("This is no digest."))?;
    let registry = &view.api.registry;
    let by = origin::acting(
        view.api,
        &view.visitor.caller,
        &[Action::Push],
        view.request,
    );
    let restored = registry
        .undelete(name, Some(tag), Some(&digest), &by)
        .await?;
    let why = restored.into_iter().find_map(|restored| restored.failed);
    match why {
        Some(why) => Err(Stop::missing(format!(
            "The tag stays as it is, for what it pointed to is not all here any more: {why}."
        ))),
        None => Ok(Done::Onward(path::at("image", name, tag.as_str()), None)),
    }
}
