//! What an artifact says: bills of materials as tables of packages, signatures and statements as
//! they are, other JSON in lines.

use maud::{Markup, html};
use oci::{Descriptor, ManifestDocument};
use serde_json::Value;

use super::done::Done;
use super::parts::{count, crumbs, nothing, short, size};
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::ServiceError;

/// Bytes of a document that is read.
const MOST: u64 = 32 << 20;
/// Documents of one artifact that are shown.
const DOCUMENTS: usize = 8;
/// Packages that are shown of one document.
const PACKAGES: usize = 2000;
/// Letters of a document that is shown as it is.
const LETTERS: usize = 64 << 10;

pub(super) async fn page(
    view: &View<'_>,
    name: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let manifest = registry.manifest(name, reference).await?;
    let document = ManifestDocument::parse(&manifest.bytes, Some(&manifest.row.media_type));
    let ManifestDocument::Manifest(artifact) =
        document.map_err(|e| ServiceError::ManifestInvalid(e.to_string()))?
    else {
        return Err(Stop::bad(
            "An index has no content of its own: choose one of its entries.",
        ));
    };
    let mut parts = Vec::new();
    for layer in artifact.layers.iter().take(DOCUMENTS) {
        parts.push(part(view, name, layer).await?);
    }
    let digest = manifest.row.digest.to_string();
    let kind = artifact
        .artifact_type
        .as_ref()
        .unwrap_or(&artifact.config.media_type);
    let content = html! {
        (crumbs(name.as_str(), &[
            (short(&digest), &path::at("image", name, &digest)),
            ("Content", ""),
        ]))
        h1 { "Content" }
        p.full { (kind.as_str()) }
        @if let Some(subject) = &artifact.subject {
            @let subject = subject.digest.to_string();
            p { "Refers to " (super::parts::digest(&subject, &path::at("image", name, &subject))) }
        }
        @if !artifact.annotations.is_empty() {
            dl.pairs {
                @for (key, value) in &artifact.annotations { dt { (key) } dd { (value) } }
            }
        }
        @if parts.is_empty() { (nothing("It has no content.", html! {})) }
        @for part in &parts { (part) }
    };
    Ok(Done::Page(
        format!("Content of {}", short(&digest)),
        content,
    ))
}

/// One of an artifact's blobs.
async fn part(view: &View<'_>, name: &RepositoryName, layer: &Descriptor) -> Result<Markup, Stop> {
    let title = layer.annotations.get("org.opencontainers.image.title");
    let title = title.map_or(layer.media_type.as_str(), String::as_str);
    let body = if layer.size > MOST {
        html! { p.quiet { "It is too large to be shown." } }
    } else {
        let read = view
            .api
            .registry
            .content_inside(name, &layer.digest, 0, MOST)
            .await;
        match read {
            Ok(bytes) => show(&bytes),
            Err(ServiceError::BlobUnknown(_)) => html! { p.quiet { "It is not here." } },
            Err(e) => return Err(e.into()),
        }
    };
    Ok(html! {
        h2 { (title) " " span.quiet { (size(layer.size)) } }
        (body)
    })
}

/// One package of a bill of materials.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    license: String,
}

fn show(bytes: &[u8]) -> Markup {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => raw(text),
            _ => html! { p.quiet { "This is no text." } },
        };
    };
    let document = statement(document);
    match packages(&document) {
        Some((form, packages)) => bill(&form, &packages),
        None => raw(&serde_json::to_string_pretty(&document).unwrap_or_default()),
    }
}

/// What a statement about an image says, out of its envelope (DSSE), and a bill of materials out
/// of the statement (in-toto).
fn statement(document: Value) -> Value {
    use base64::Engine;
    let payload = document["payload"].as_str().and_then(|text| {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    let document = payload.unwrap_or(document);
    let predicate = &document["predicate"];
    match packages(predicate).is_some() {
        true => predicate.clone(),
        false => document,
    }
}

/// The packages of a bill of materials, with the name of its form; `None` when it is none.
fn packages(document: &Value) -> Option<(String, Vec<Package>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (form, list) = if let Some(version) = document["spdxVersion"].as_str() {
        (
            version.replace("SPDX-", "SPDX "),
            document["packages"].as_array()?,
        )
    } else if document["bomFormat"] == "CycloneDX" {
        let version = text(&document["specVersion"]);
        (
            format!("CycloneDX {version}"),
            document["components"].as_array()?,
        )
    } else {
        return None;
    };
    let mut packages: Vec<Package> = list
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            version: match package["versionInfo"].as_str() {
                Some(version) => version.to_owned(),
                None => text(&package["version"]),
            },
            license: license(package),
        })
        .collect();
    packages.sort_unstable();
    packages.dedup();
    Some((form, packages))
}

fn license(package: &Value) -> String {
    let said = |name: &str| {
        package[name]
            .as_str()
            .filter(|text| !matches!(*text, "NOASSERTION" | "NONE"))
    };
    if let Some(text) = said("licenseConcluded").or_else(|| said("licenseDeclared")) {
        return text.to_owned();
    }
    let all = package["licenses"].as_array().into_iter().flatten();
    let names = all.filter_map(|one| {
        let license = &one["license"];
        let name = license["id"].as_str().or_else(|| license["name"].as_str());
        name.or_else(|| one["expression"].as_str())
    });
    names.collect::<Vec<_>>().join(", ")
}

fn bill(form: &str, packages: &[Package]) -> Markup {
    html! {
        p { (form) ", " (count(packages.len(), "package")) }
        table {
            caption.hidden { "Packages" }
            thead { tr {
                th scope="col" { "Package" }
                th scope="col" { "Version" }
                th.medium scope="col" { "License" }
            } }
            tbody {
                @for package in packages.iter().take(PACKAGES) {
                    tr {
                        th scope="row" { (package.name) }
                        td { (package.version) }
                        td.medium { (package.license) }
                    }
                }
            }
        }
        @if packages.len() > PACKAGES { p.quiet { "The first " (PACKAGES) " are shown." } }
    }
}

fn raw(text: &str) -> Markup {
    let end = text
        .char_indices()
        .nth(LETTERS)
        .map_or(text.len(), |(at, _)| at);
    html! {
        pre.text tabindex="0" { (&text[..end]) }
        @if end < text.len() { p.quiet { "Only the beginning is shown." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(document: &Value) -> Option<(String, Vec<String>)> {
        let (form, packages) = packages(document)?;
        let packages = packages.into_iter();
        let lines = packages.map(|p| format!("{} {} {}", p.name, p.version, p.license));
        Some((form, lines.collect()))
    }

    #[test]
    fn bills_of_materials_are_read() {
        let spdx = json!({
            "spdxVersion": "SPDX-2.3",
            "packages": [
                {"name": "zlib", "versionInfo": "1.3", "licenseConcluded": "NOASSERTION",
                 "licenseDeclared": "Zlib"},
                {"name": "bash", "versionInfo": "5.2", "licenseConcluded": "GPL-3.0-or-later"},
                {"name": 7},
            ],
        });
        let packages = [" ", "bash 5.2 GPL-3.0-or-later", "zlib 1.3 Zlib"].map(str::to_owned);
        let mut expected = packages.to_vec();
        expected[0] = "  ".to_owned();
        assert_eq!(shown(&spdx), Some(("SPDX 2.3".to_owned(), expected)));
        let cyclone = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5",
            "components": [{"name": "musl", "version": "1.2", "licenses": [
                {"license": {"id": "MIT"}}, {"expression": "BSD-3-Clause"}]}],
        });
        let packages = vec!["musl 1.2 MIT, BSD-3-Clause".to_owned()];
        assert_eq!(
            shown(&cyclone),
            Some(("CycloneDX 1.5".to_owned(), packages))
        );
        assert_eq!(shown(&json!({"a": 1})), None);
        // As attestations carry them.
        let statement_of =
            json!({"_type": "https://in-toto.io/Statement/v1", "predicate": cyclone});
        assert_eq!(statement(statement_of), cyclone);
        use base64::Engine;
        let payload = base64::engine::general_purpose::STANDARD.encode("{\"b\":2}");
        assert_eq!(statement(json!({ "payload": payload })), json!({"b": 2}));
    }
}
