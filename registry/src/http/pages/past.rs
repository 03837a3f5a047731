//! Where a tag pointed, and the way back.

use maud::{Markup, html};
use oci::MediaType;

use super::form;
use super::handler::Done;
use super::parts::{crumbs, digest, nothing, time};
use super::path::{self, named};
use super::stop::Stop;
use super::view::View;
use crate::auth::rules::Access;
use crate::events::Action;
use crate::http::request::Query;
use crate::http::v2::origin;
use crate::meta::PastTag;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::{Push, ServiceError};

pub(super) async fn page(view: &View<'_>, name: &RepositoryName, tag: &Tag) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let reference = ManifestRef::Tag(tag.clone());
    let current = match registry.manifest(name, &reference).await {
        Ok(manifest) => Some(manifest.row.digest.to_string()),
        Err(ServiceError::ManifestUnknown { .. }) => None,
        Err(e) => return Err(e.into()),
    };
    let past = registry.past_of_tag(name, tag).await?;
    let may_push = view.visitor.caller.may(name.as_str(), Access::Push);
    let image = path::at("image", name, tag.as_str());
    let title = format!("History of {}", named(name, tag.as_str()));
    let content = html! {
        (crumbs(name.as_str(), &[(tag.as_str(), &image), ("History", "")]))
        h1 { (title) }
        p {
            @match &current {
                Some(current) => {
                    "It points to " (digest(current, &path::at("image", name, current))) "."
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
    past: &[PastTag],
    may_push: bool,
) -> Markup {
    html! {
        table {
            caption.hidden { "Where it pointed before" }
            thead { tr {
                th scope="col" { "Image" }
                th.medium scope="col" { "From" }
                th scope="col" { "Until" }
                th scope="col" { span.hidden { "Restore" } }
            } }
            tbody {
                @for entry in past {
                    @let to = entry.digest.to_string();
                    tr {
                        th scope="row" {
                            @if entry.there { (digest(&to, &path::at("image", name, &to))) }
                            @else { span.digest title=(to) { (super::parts::short(&to)) } }
                        }
                        td.medium { (time(Some(entry.since))) }
                        td { (time(Some(entry.until))) }
                        td {
                            @if !entry.there { span.quiet { "the image is gone" } }
                            @else if may_push {
                                form method="post" action=(path::at("past", name, tag.as_str())) {
                                    (form::token(view.sessions, view.visitor))
                                    input type="hidden" name="digest" value=(to);
                                    button type="submit"
                                        aria-label=(format!("Restore {}", super::parts::short(&to))) {
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
    let digest = digest
        .parse()
        .map_err(|_| Stop::bad("This is no digest."))?;
    let registry = &view.api.registry;
    let manifest = match registry.manifest(name, &ManifestRef::Digest(digest)).await {
        Ok(manifest) => manifest,
        Err(ServiceError::ManifestUnknown { .. }) => {
            return Err(Stop::missing(
                "The image that the tag pointed to is gone: push it again to go back to it.",
            ));
        }
        Err(e) => return Err(e.into()),
    };
    let by = origin::acting(
        view.api,
        &view.visitor.caller,
        &[Action::Push],
        view.request,
    );
    let push = Push {
        bytes: manifest.bytes.clone(),
        content_type: Some(MediaType::new(manifest.row.media_type.as_str())),
        ..Push::default()
    };
    let reference = ManifestRef::Tag(tag.clone());
    registry.put_manifest(name, &reference, push, &by).await?;
    Ok(Done::Onward(path::at("image", name, tag.as_str()), None))
}
