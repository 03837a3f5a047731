//! Two images of a repository beside each other.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use oci::Digest;
use serde_json::Value;

use super::config::facts;
use super::done::Done;
use super::layers::{self, Layers};
use super::parts::{crumbs, nothing, size};
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::contents::{Change, Changes, Tree, difference};
use crate::name::{ManifestRef, RepositoryName};
use crate::service::Image;
use crate::units::show_size;

/// Rows that one table shows.
const MOST: usize = 1000;

pub(super) async fn page(view: &View<'_>, name: &RepositoryName) -> Result<Done, Stop> {
    let (from, to) = (view.parameter("from"), view.parameter("to"));
    let (old, new) = (reference(from)?, reference(to)?);
    let registry = &view.api.registry;
    let before = registry.image(name, &old).await?;
    let after = registry.image(name, &new).await?;
    if let Some(choice) = platforms(name, &before, &after)? {
        return Ok(choice);
    }
    let title = format!("{name}: {from} and {to}");
    let same = before.manifest.digest == after.manifest.digest;
    let content = if same {
        nothing(
            "Both are the same image.",
            html! { p.full { (before.manifest.digest) } },
        )
    } else {
        let old_layers = match layers::of(view, name, &old).await? {
            Ok(layers) => layers,
            Err(later) => return Ok(later),
        };
        let new_layers = match layers::of(view, name, &new).await? {
            Ok(layers) => layers,
            Err(later) => return Ok(later),
        };
        differences(&before, &after, &old_layers, &new_layers)
    };
    let content = html! {
        (crumbs(name.as_str(), &[("Compare", "")]))
        h1 { "What changed" }
        p.lead {
            a href=(path::at("image", name, from)) { (shown(from)) }
            " → "
            a href=(path::at("image", name, to)) { (shown(to)) }
        }
        (content)
    };
    Ok(Done::Page(title, content))
}

fn shown(reference: &str) -> &str {
    match reference.contains(':') {
        true => super::parts::short(reference),
        false => reference,
    }
}

/// What a parameter names.
fn reference(text: &str) -> Result<ManifestRef, Stop> {
    let wrong = || Stop::bad(format!("{text:?} is neither a tag nor a digest."));
    match text.contains(':') {
        true => text
            .parse::<Digest>()
            .map(ManifestRef::Digest)
            .map_err(|_| wrong()),
        false => text.parse().map(ManifestRef::Tag).map_err(|_| wrong()),
    }
}

/// Two indexes are compared by one platform that both have: a page to choose it.
fn platforms(name: &RepositoryName, before: &Image, after: &Image) -> Result<Option<Done>, Stop> {
    if before.children.is_empty() && after.children.is_empty() {
        return Ok(None);
    }
    let here = path::of("compare", name);
    let by_platform = |image: &Image| -> BTreeMap<String, String> {
        if image.children.is_empty() {
            let platform = image
                .manifest
                .platforms
                .first()
                .cloned()
                .unwrap_or_default();
            return BTreeMap::from([(platform, image.manifest.digest.clone())]);
        }
        let children = image.children.iter();
        let here = children.filter(|child| child.manifest.is_some());
        here.filter_map(|child| Some((child.platform.clone()?, child.digest.clone())))
            .collect()
    };
    let (old, new) = (by_platform(before), by_platform(after));
    let both: Vec<_> = old
        .iter()
        .filter_map(|(platform, from)| Some((platform, from, new.get(platform)?)))
        .collect();
    if let [(_, from, to)] = both.as_slice() {
        let one = path::with(&here, &[("from", from), ("to", to)]);
        return Err(Stop::Elsewhere(one));
    }
    let content = html! {
        (crumbs(name.as_str(), &[("Compare", "")]))
        h1 { "What changed" }
        @if both.is_empty() {
            (nothing("The two have no platform in common.", html! {}))
        } @else {
            p { "Which platform is to be compared?" }
            ul {
                @for (platform, from, to) in &both {
                    li { a href=(path::with(&here, &[("from", from), ("to", to)])) { (platform) } }
                }
            }
        }
    };
    Ok(Some(Done::Page(format!("{name}: compare"), content)))
}

fn differences(before: &Image, after: &Image, old: &Layers, new: &Layers) -> Markup {
    let (old_all, new_all) = (old.all(), new.all());
    let (old_tree, new_tree) = (
        Tree::of(old_all.iter().copied()),
        Tree::of(new_all.iter().copied()),
    );
    let files = difference(&old_tree, &new_tree);
    let packages = pairs(old_tree.packages(&old_all), new_tree.packages(&new_all));
    let settings = settings(before, after);
    let shared = old
        .digests
        .iter()
        .filter(|d| new.digests.contains(d))
        .count();
    html! {
        dl.facts {
            div { dt { "Size" } dd {
                (size(before.manifest.bytes)) " → " (size(after.manifest.bytes))
            } }
            div { dt { "Layers in common" } dd {
                (shared) " of " (old.digests.len()) " and " (new.digests.len())
            } }
            div { dt { "Files" } dd {
                (files.count(Change::Added)) " added, " (files.count(Change::Changed))
                " changed, " (files.count(Change::Removed)) " removed"
            } }
            div { dt { "Growth" } dd { (growth(files.growth())) } }
        }
        @for problem in old.problems().iter().chain(&new.problems()) {
            p.error role="note" { (problem) }
        }
        h2 { "Packages" }
        @if packages.is_empty() { p.quiet { "No package changed." } }
        @else { (table("Packages", "Package", &packages)) }
        h2 { "Configuration" }
        @if settings.is_empty() { p.quiet { "No setting changed." } }
        @else { (table("Settings", "Setting", &settings)) }
        h2 { "Files" }
        @if files.paths.is_empty() { p.quiet { "No file changed." } }
        @else { (changed(&files)) }
    }
}

/// What one key was and is.
struct Pair {
    key: String,
    before: Option<String>,
    after: Option<String>,
}

/// Those keys of two maps whose values are not the same.
fn pairs<K: Ord + Words, V: PartialEq + ToString>(
    old: BTreeMap<K, V>,
    new: BTreeMap<K, V>,
) -> Vec<Pair> {
    let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    let differ = keys.into_iter().filter(|key| old.get(key) != new.get(key));
    differ
        .map(|key| Pair {
            key: key.words(),
            before: old.get(key).map(ToString::to_string),
            after: new.get(key).map(ToString::to_string),
        })
        .collect()
}

/// A key in words.
trait Words {
    fn words(&self) -> String;
}

impl Words for (&str, &str) {
    fn words(&self) -> String {
        self.1.to_owned()
    }
}

impl Words for (usize, String) {
    fn words(&self) -> String {
        let group = ["", "env ", "label "].get(self.0).unwrap_or(&"");
        format!("{group}{}", self.1)
    }
}

fn settings(before: &Image, after: &Image) -> Vec<Pair> {
    let all = |image: &Image| -> BTreeMap<(usize, String), String> {
        let document = image
            .config
            .as_ref()
            .and_then(|config| config.document.as_ref());
        let facts = facts(document.unwrap_or(&Value::Null)).into_iter();
        facts
            .map(|fact| ((fact.group, fact.key), fact.value))
            .collect()
    };
    pairs(all(before), all(after))
}

fn table(caption: &str, key: &str, pairs: &[Pair]) -> Markup {
    html! {
        table.pairs {
            caption.hidden { (caption) }
            thead { tr {
                th scope="col" { (key) }
                th scope="col" { "Before" }
                th scope="col" { "After" }
            } }
            tbody {
                @for pair in pairs.iter().take(MOST) {
                    tr {
                        th scope="row" { (pair.key) }
                        td { (side(pair.before.as_deref(), "not there")) }
                        td { (side(pair.after.as_deref(), "gone")) }
                    }
                }
            }
        }
        (rest(pairs.len()))
    }
}

fn side(value: Option<&str>, none: &str) -> Markup {
    html! {
        @match value {
            Some(value) => { code { (value) } }
            None => { span.quiet { (none) } }
        }
    }
}

fn changed(files: &Changes<'_>) -> Markup {
    html! {
        table.files {
            caption.hidden { "Files" }
            thead { tr {
                th scope="col" { "Path" }
                th scope="col" { "Change" }
                th.number scope="col" { "Before" }
                th.number scope="col" { "After" }
            } }
            tbody {
                @for file in files.paths.iter().take(MOST) {
                    @let (class, word) = match file.change {
                        Change::Added => ("added", "added"),
                        Change::Changed => ("changed", "changed"),
                        Change::Removed => ("removed", "removed"),
                    };
                    tr {
                        th scope="row" { "/" (file.path) }
                        td { span.change.(class) { (word) } }
                        td.number { @if file.change != Change::Added { (size(file.before)) } }
                        td.number { @if file.change != Change::Removed { (size(file.after)) } }
                    }
                }
            }
        }
        (rest(files.paths.len()))
    }
}

fn rest(count: usize) -> Markup {
    html! {
        @if count > MOST { p.quiet { "The first " (MOST) " of " (count) " are shown." } }
    }
}

fn growth(bytes: i128) -> String {
    let size = show_size(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    match bytes {
        0 => "none".to_owned(),
        1.. => format!("+{size}"),
        _ => format!("−{size}"),
    }
}
