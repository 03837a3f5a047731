//! What is to be deleted, with all that would go, before anything does.

use maud::{Markup, html};

use super::done::Done;
use super::form;
use super::parts::{crumbs, size};
use super::path::{self, named};
use super::stop::Stop;
use super::view::View;
use crate::auth::rules::Access;
use crate::events::Action;
use crate::http::v2::origin;
use crate::meta::Precondition;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::Preview;

/// Tags that are named of those that would go.
const NAMED: usize = 50;

pub(super) async fn page(
    view: &View<'_>,
    name: &RepositoryName,
    reference: Option<&ManifestRef>,
) -> Result<Done, Stop> {
    allowed(view, name)?;
    let registry = &view.api.registry;
    let preview = match reference {
        Some(reference) => registry.preview_manifest(name, reference).await?,
        None => registry.preview_repository(name).await?,
    };
    let text = reference.map(ToString::to_string).unwrap_or_default();
    let kind = match reference {
        None => "repository",
        Some(ManifestRef::Tag(_)) => "tag",
        Some(ManifestRef::Digest(_)) => "image",
    };
    let (what, here, back) = match reference {
        None => (
            name.to_string(),
            path::of("remove", name),
            path::of("tags", name),
        ),
        Some(_) => (
            named(name, &text),
            path::at("remove", name, &text),
            path::at("image", name, &text),
        ),
    };
    let title = format!("Delete the {kind} {what}?");
    let content = html! {
        (crumbs(name.as_str(), &[("Delete", "")]))
        h1 { "Delete this " (kind) "?" }
        p.full { (what) }
        (going(&preview, reference))
        @if let Some(why) = &preview.refused {
            p.error role="note" { "It cannot be deleted: " (why) "." }
            p.actions { a.button href=(back) { "Back" } }
        } @else {
            form.actions method="post" action=(here) {
                (form::token(view.sessions, view.visitor))
                button.danger type="submit" { "Delete" }
                a.button href=(back) { "Keep it" }
            }
        }
    };
    Ok(Done::Page(title, content))
}

fn going(preview: &Preview, reference: Option<&ManifestRef>) -> Markup {
    let going = &preview.going;
    html! {
        @if let Some(ManifestRef::Tag(_)) = reference {
            p { "Only the tag goes: the image stays, without it, until rules or you delete it." }
        } @else {
            p { "Nobody can pull it from then on." }
            dl.facts {
                div { dt { "Tags" } dd { (going.tag_count) } }
                div { dt { "Images" } dd { (going.manifest_count) } }
                div { dt { "Blobs" } dd { (going.blob_count) } }
                div { dt { "Size" } dd { (size(going.bytes)) } }
                div { dt { "Freed" } dd { (size(going.freed_bytes)) } }
            }
            p.quiet {
                "Space is freed by the next collection of garbage; what other repositories have \
                 as well stays."
            }
            @if !going.tags.is_empty() {
                h2 { "Tags that go" }
                p.tags {
                    @for tag in going.tags.iter().take(NAMED) { span.tag { (tag) } " " }
                    @if going.tag_count > NAMED as u64 {
                        span.quiet { "and " (going.tag_count - NAMED as u64) " more" }
                    }
                }
            }
        }
    }
}

fn allowed(view: &View<'_>, name: &RepositoryName) -> Result<(), Stop> {
    view.need(name, Access::Delete)?;
    match view.api.delete_enabled {
        true => Ok(()),
        false => Err(Stop::denied(
            "Deleting is disabled in this registry (delete.enabled).",
        )),
    }
}

/// Does it.
pub(super) async fn remove(
    view: &View<'_>,
    name: &RepositoryName,
    reference: Option<&ManifestRef>,
) -> Result<Done, Stop> {
    allowed(view, name)?;
    let by = origin::acting(
        view.api,
        &view.visitor.caller,
        &[Action::Delete],
        view.request,
    );
    let registry = &view.api.registry;
    let Some(reference) = reference else {
        registry.delete_repository(name, &by).await?;
        return Ok(Done::Onward(path::ROOT.to_owned(), None));
    };
    registry
        .delete_manifest(name, reference, Precondition::default(), &by)
        .await?;
    Ok(Done::Onward(path::of("tags", name), None))
}
