//! One image, index or other artifact.

use maud::{Markup, html};
use oci::MediaType;
use serde_json::Value;

use super::config::{Fact, facts};
use super::done::Done;
use super::parts::{command, crumbs, digest, size, time};
use super::path::{self, named};
use super::stop::Stop;
use super::tags::platforms;
use super::view::View;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::{Child, Image, ReferrerEntry, Step};

pub(super) async fn page(
    view: &View<'_>,
    name: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Done, Stop> {
    let image = view.api.registry.image(name, reference).await?;
    let reference = reference.to_string();
    let title = named(name, &reference);
    let document = image
        .config
        .as_ref()
        .and_then(|config| config.document.as_ref());
    let signatures = signatures(view, name, &image.manifest.digest).await;
    let content = html! {
        (crumbs(name.as_str(), &[(&reference, "")]))
        h1 { (title) }
        (about(name, &image))
        (actions(view, name, &image, &reference))
        (commands(view, name, &image, &reference))
        @if !image.children.is_empty() { (children(name, &image.children)) }
        @if !image.layers.is_empty() { (layers(name, &image)) }
        @if let Some(document) = document { (settings(document)) }
        @if !image.annotations.is_empty() {
            h2 { "Annotations" }
            dl.pairs {
                @for (key, value) in &image.annotations { dt { (key) } dd { (value) } }
            }
        }
        @if !image.referrers.is_empty() || !signatures.is_empty() {
            (referrers(name, &image.referrers, image.more_referrers, &signatures))
        }
        @if image.history.iter().any(|step| step.layer.is_none()) { (history(&image.history)) }
    };
    Ok(Done::Page(title, content))
}

fn about(name: &RepositoryName, image: &Image) -> Markup {
    let manifest = &image.manifest;
    html! {
        p.full { (manifest.digest) }
        dl.facts {
            div { dt { "Size" } dd { (size(manifest.bytes)) } }
            @if !manifest.platforms.is_empty() {
                div { dt { "Platforms" } dd { (platforms(&manifest.platforms)) } }
            }
            div { dt { "Made" } dd { (time(manifest.created)) } }
            div { dt { "Pushed" } dd { (time(manifest.pushed)) } }
            div { dt { "Pulled" } dd { (time(manifest.pulled)) } }
        }
        @if let Some(subject) = &image.subject {
            p { "Refers to " (digest(subject, &path::at("image", name, subject))) }
        }
        @if !image.tags.is_empty() {
            p.tags {
                span.quiet { "Tags: " }
                @for tag in image.tags.iter().take(50) {
                    a.tag href=(path::at("image", name, tag)) { (tag) } " "
                }
                @if image.tags.len() > 50 { span.quiet { "and more" } }
            }
        }
    }
}

fn actions(view: &View<'_>, name: &RepositoryName, image: &Image, reference: &str) -> Markup {
    let by_digest = &image.manifest.digest;
    let is_tag = !reference.contains(':');
    html! {
        p.actions {
            @if !image.layers.is_empty() && !is_artifact(image) {
                a.button href=(path::at("files", name, by_digest)) { "Browse files" }
            }
            @if is_artifact(image) {
                a.button href=(path::at("document", name, by_digest)) { "Read content" }
            }
            @if is_tag { a href=(path::at("past", name, reference)) { "History of this tag" } }
            @if view.may_delete(name) {
                @if is_tag {
                    a.danger href=(path::at("remove", name, reference)) { "Delete tag" }
                }
                a.danger href=(path::at("remove", name, by_digest)) { "Delete image" }
            }
        }
    }
}

/// Whether it is something else than an image that can run.
fn is_artifact(image: &Image) -> bool {
    let kind = image.config.as_ref().map(|config| &config.media_type);
    image.subject.is_some() || kind.is_some_and(|kind| !MediaType::new(kind).is_image_config())
}

fn commands(view: &View<'_>, name: &RepositoryName, image: &Image, reference: &str) -> Markup {
    let host = view.host();
    let reference = named(format!("{host}/{name}"), reference);
    let by_digest = named(format!("{host}/{name}"), &image.manifest.digest);
    html! {
        h2 { "Commands" }
        (command(&format!("docker pull {reference}")))
        details {
            summary { "More commands" }
            (command(&format!("docker pull {by_digest}")))
            (command(&format!("podman pull {reference}")))
            (command(&format!("skopeo inspect docker://{reference}")))
            (command(&format!("rbuild pull {reference}")))
        }
    }
}

fn children(name: &RepositoryName, children: &[Child]) -> Markup {
    html! {
        h2 { "Platforms" }
        table {
            caption.hidden { "What this index lists" }
            thead { tr {
                th scope="col" { "Platform" }
                th.number scope="col" { "Size" }
                th.medium scope="col" { "Made" }
                th scope="col" { "Digest" }
            } }
            tbody {
                @for child in children {
                    tr {
                        th scope="row" {
                            @if let Some(platform) = &child.platform { (platform) }
                            @else { span.quiet { (kind(child)) } }
                        }
                        @if let Some(manifest) = &child.manifest {
                            td.number { (size(manifest.bytes)) }
                            td.medium { (time(manifest.created)) }
                            td {
                                (digest(&child.digest, &path::at("image", name, &child.digest)))
                            }
                        } @else {
                            td.number { span.quiet { "not here" } }
                            td.medium {}
                            td { span.digest title=(child.digest) {
                                (super::parts::short(&child.digest))
                            } }
                        }
                    }
                }
            }
        }
    }
}

/// What an index's entry is that runs on nothing in particular.
fn kind(child: &Child) -> &'static str {
    match child
        .annotations
        .get("vnd.docker.reference.type")
        .map(String::as_str)
    {
        Some("attestation-manifest") => "attestation",
        _ => "other",
    }
}

fn layers(name: &RepositoryName, image: &Image) -> Markup {
    let files = path::at("files", name, &image.manifest.digest);
    html! {
        h2 { "Layers" }
        table.layers {
            caption.hidden { "Layers, the lowest first" }
            thead { tr {
                th.number scope="col" { "#" }
                th scope="col" { "Made by" }
                th.number scope="col" { "Size" }
                th.wide scope="col" { "Digest" }
            } }
            tbody {
                @for (at, layer) in image.layers.iter().enumerate() {
                    @let number = (at + 1).to_string();
                    tr {
                        td.number { (number) }
                        td {
                            @match layer.instruction.as_deref() {
                                Some(text) if !text.is_empty() => {
                                    code.instruction { (instruction(text)) }
                                }
                                _ => { span.quiet { (layer.media_type) } }
                            }
                        }
                        td.number { (size(layer.bytes)) }
                        td.wide { (digest(&layer.digest, &path::with(&files, &[("layer", &number)]))) }
                    }
                }
            }
        }
    }
}

/// An instruction as its writer had it, without what builders put before it.
fn instruction(text: &str) -> &str {
    let text = text
        .strip_prefix("/bin/sh -c #(nop)")
        .unwrap_or(text)
        .trim_start();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim_end();
    text.strip_prefix("/bin/sh -c ").unwrap_or(text)
}

fn settings(document: &Value) -> Markup {
    let all = facts(document);
    html! {
        @for (title, group) in [("Configuration", 0), ("Environment", 1), ("Labels", 2)] {
            @let some: Vec<&Fact> = all.iter().filter(|fact| fact.group == group).collect();
            @if !some.is_empty() {
                h2 { (title) }
                dl.pairs {
                    @for fact in some { dt { (fact.key) } dd { code { (fact.value) } } }
                }
            }
        }
    }
}

/// Tags that are named by an image's digest, as cosign has them, with what each is.
async fn signatures(
    view: &View<'_>,
    name: &RepositoryName,
    digest: &str,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (suffix, kind) in [
        (".sig", "cosign signature"),
        (".att", "cosign attestation"),
        (".sbom", "cosign bill of materials"),
    ] {
        let text = format!("{}{suffix}", digest.replace(':', "-"));
        if let Ok(tag) = text.parse() {
            let reference = ManifestRef::Tag(tag);
            if view.api.registry.manifest(name, &reference).await.is_ok() {
                found.push((kind, text));
            }
        }
    }
    found
}

fn referrers(
    name: &RepositoryName,
    referrers: &[ReferrerEntry],
    more: bool,
    signatures: &[(&str, String)],
) -> Markup {
    html! {
        h2 { "Referrers" }
        p.quiet { "Signatures, bills of materials and whatever else refers to this image." }
        table {
            caption.hidden { "Referrers" }
            thead { tr {
                th scope="col" { "Kind" }
                th.number scope="col" { "Size" }
                th scope="col" { "Digest" }
            } }
            tbody {
                @for (kind, tag) in signatures {
                    tr {
                        th scope="row" { a href=(path::at("document", name, tag)) { (kind) } }
                        td.number {}
                        td { a href=(path::at("image", name, tag)) { "tag" } }
                    }
                }
                @for referrer in referrers {
                    tr {
                        th scope="row" {
                            a href=(path::at("document", name, &referrer.digest)) {
                                (referrer.artifact_type.as_deref().unwrap_or(&referrer.media_type))
                            }
                        }
                        td.number { (size(referrer.manifest_bytes)) }
                        td { (digest(&referrer.digest, &path::at("image", name, &referrer.digest))) }
                    }
                }
            }
        }
        @if more { p.quiet { "There are more; only the first are shown." } }
    }
}

fn history(steps: &[Step]) -> Markup {
    html! {
        details.history {
            summary { "All " (steps.len()) " steps that made it" }
            ol {
                @for step in steps {
                    li {
                        code.instruction { (instruction(&step.instruction)) }
                        @if step.layer.is_none() { " " span.quiet { "no layer" } }
                        @if !step.comment.is_empty() { " " span.quiet { (step.comment) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::instruction;

    #[test]
    fn instructions_are_shown_as_they_were_written() {
        for (text, shown) in [
            ("/bin/sh -c #(nop)  CMD [\"bash\"]", "CMD [\"bash\"]"),
            (
                "RUN /bin/sh -c apk add x # buildkit",
                "RUN /bin/sh -c apk add x",
            ),
            ("/bin/sh -c apt-get update", "apt-get update"),
            ("COPY a b # buildkit", "COPY a b"),
        ] {
            assert_eq!(instruction(text), shown);
        }
    }
}
