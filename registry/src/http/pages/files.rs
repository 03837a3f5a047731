//! The files of an image: all of it as a container sees it, or one layer alone.

use maud::{Markup, html};
use oci::Digest;

use super::done::Done;
use super::layers::{self, Layers};
use super::parts::{crumbs, nothing, short, size};
use super::path::{self, named};
use super::stop::Stop;
use super::view::View;
use crate::contents::{Child, Kind, Placed, Tree, Waste, waste};
use crate::name::{ManifestRef, RepositoryName};

/// Names of one directory that are shown.
const MOST: usize = 2000;
/// Paths that are shown of those that waste.
const WASTED: usize = 20;
/// Repositories that are named of those with the same layer.
const SHARING: usize = 20;

pub(super) async fn page(
    view: &View<'_>,
    name: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Done, Stop> {
    let layers = match layers::of(view, name, reference).await? {
        Ok(layers) => layers,
        Err(later) => return Ok(later),
    };
    let reference = reference.to_string();
    let all = layers.all();
    let chosen = chosen(view, &layers)?;
    let whole = Tree::of(all.iter().copied());
    let lower = chosen.map(|at| Tree::of(all[..at].iter().copied()));
    let shown = match chosen.and_then(|at| Some((at, all[at]?))) {
        Some((at, listing)) => Tree::alone(at, listing),
        None => whole.clone(),
    };
    let directory = full_path(view.parameter("path"));
    let Some(children) = shown.children(directory) else {
        return Err(Stop::missing(format!(
            "There is no directory /{directory} here."
        )));
    };
    let here = Here {
        files: path::at("files", name, &reference),
        file: path::at("file", name, &reference),
        layer: view.parameter("layer"),
        directory,
    };
    let sharing = match chosen {
        Some(at) => Some(sharing(view, name, &layers.digests[at]).await?),
        None => None,
    };
    let title = format!("Files of {}", named(name, &reference));
    let text = if reference.contains(':') {
        short(&reference)
    } else {
        &reference
    };
    let content = html! {
        (crumbs(name.as_str(), &[
            (text, &path::at("image", name, &reference)),
            ("Files", ""),
        ]))
        h1 { "Files" }
        (selector(&here, &layers, chosen))
        @for problem in layers.problems() { p.error role="note" { (problem) } }
        @if let Some(sharing) = &sharing { (sharing) }
        @else if directory.is_empty() { (wasted(&layers, &whole)) }
        (way(&here))
        @if children.is_empty() {
            (nothing("Nothing is in here.", html! {}))
        } @else {
            (table(&here, &children, lower.as_ref()))
        }
    };
    Ok(Done::Page(title, content))
}

/// A path as listings have it.
pub(super) fn full_path(text: &str) -> &str {
    text.trim_matches('/')
}

/// Which page this is, for links to others like it.
struct Here<'p> {
    files: String,
    file: String,
    layer: &'p str,
    directory: &'p str,
}

impl Here<'_> {
    fn directory(&self, path: &str) -> String {
        path::with(&self.files, &[("layer", self.layer), ("path", path)])
    }

    fn file(&self, path: &str, layer: usize) -> String {
        let layer = (layer + 1).to_string();
        path::with(&self.file, &[("layer", &layer), ("path", path)])
    }
}

/// The layer that was chosen, by its place from 0; `None` for all together.
fn chosen(view: &View<'_>, layers: &Layers) -> Result<Option<usize>, Stop> {
    let text = view.parameter("layer");
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    match number.filter(|at| *at < layers.digests.len()) {
        Some(at) => Ok(Some(at)),
        None => Err(Stop::missing(format!("There is no layer {text}."))),
    }
}

fn selector(here: &Here<'_>, layers: &Layers, chosen: Option<usize>) -> Markup {
    html! {
        nav.choice aria-label="Layers" {
            a href=(here.files) aria-current=[chosen.is_none().then_some("page")] { "All layers" }
            @for (at, digest) in layers.digests.iter().enumerate() {
                @let number = (at + 1).to_string();
                a href=(path::with(&here.files, &[("layer", &number)]))
                    title=(digest) aria-current=[(chosen == Some(at)).then_some("page")] {
                    "Layer " (number)
                }
            }
        }
    }
}

/// Where in the tree this is.
fn way(here: &Here<'_>) -> Markup {
    let mut steps = vec![("/".to_owned(), here.directory(""))];
    let mut so_far = String::new();
    for part in here.directory.split('/').filter(|part| !part.is_empty()) {
        so_far = if so_far.is_empty() {
            part.to_owned()
        } else {
            format!("{so_far}/{part}")
        };
        steps.push((part.to_owned(), here.directory(&so_far)));
    }
    let last = steps.len() - 1;
    html! {
        nav.crumbs.way aria-label="Directory" {
            ol {
                @for (at, (text, href)) in steps.iter().enumerate() {
                    li {
                        @if at == last { span aria-current="page" { (text) } }
                        @else { a href=(href) { (text) } }
                    }
                }
            }
        }
    }
}

fn table(here: &Here<'_>, children: &[Child<'_>], lower: Option<&Tree<'_>>) -> Markup {
    html! {
        table.files {
            caption.hidden { "Files" }
            thead { tr {
                th scope="col" { "Name" }
                th.number scope="col" { "Size" }
                @if lower.is_some() { th scope="col" { "Change" } }
                @else { th.number.medium scope="col" { "Layer" } }
                th.medium scope="col" { "Mode" }
                th.wide scope="col" { "Owner" }
            } }
            tbody {
                @for child in children.iter().take(MOST) { (row(here, child, lower)) }
            }
        }
        @if children.len() > MOST {
            p.quiet { "The first " (MOST) " of " (children.len()) " names are shown." }
        }
    }
}

fn row(here: &Here<'_>, child: &Child<'_>, lower: Option<&Tree<'_>>) -> Markup {
    let full = match here.directory {
        "" => child.name.to_owned(),
        directory => format!("{directory}/{}", child.name),
    };
    html! {
        tr {
            th scope="row" { (label(here, child, &full)) }
            td.number { (size(child.size)) }
            @if let Some(lower) = lower { td { (change(child, lower.get(&full))) } }
            @else {
                td.number.medium { @if let Some(placed) = child.placed { (placed.layer + 1) } }
            }
            td.medium { code { @if let Some(placed) = child.placed { (mode(placed)) } } }
            td.wide {
                @if let Some(Placed { entry, .. }) = child.placed { (entry.uid) ":" (entry.gid) }
            }
        }
    }
}

fn label(here: &Here<'_>, child: &Child<'_>, full: &str) -> Markup {
    let Some(Placed { entry, layer }) = child.placed else {
        return html! { a href=(here.directory(full)) { (child.name) "/" } };
    };
    html! {
        @match entry.kind {
            Kind::Directory | Kind::Opaque => {
                a href=(here.directory(full)) { (child.name) "/" }
            }
            Kind::File | Kind::HardLink if entry.at.is_some() => {
                a href=(here.file(full, layer)) { (child.name) }
            }
            Kind::Whiteout => { del { (child.name) } }
            _ => { (child.name) }
        }
        @if let Some(target) = &entry.target {
            span.quiet { @if entry.kind == Kind::Symlink { " → " } @else { " = /" } (target) }
        }
    }
}

/// What a layer does to a path of those below it.
fn change(child: &Child<'_>, before: Option<Placed<'_>>) -> Markup {
    let Some(placed) = child.placed else {
        return html! {};
    };
    let (class, text) = match (placed.entry.kind, before) {
        (Kind::Whiteout, _) => ("removed", "removed"),
        (Kind::Opaque, Some(_)) => ("changed", "emptied first"),
        (_, None) => ("added", "added"),
        (Kind::Directory, Some(before)) if before.entry.is_directory() => return html! {},
        (_, Some(_)) => ("changed", "changed"),
    };
    html! { span.change.(class) { (text) } }
}

/// Permissions as `ls` shows them.
fn mode(placed: Placed<'_>) -> String {
    let entry = placed.entry;
    let first = match entry.kind {
        Kind::Directory | Kind::Opaque => 'd',
        Kind::Symlink => 'l',
        Kind::Whiteout => return String::new(),
        Kind::Special => '?',
        Kind::File | Kind::HardLink => '-',
    };
    let mut out = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        out.push(if bits & 4 > 0 { 'r' } else { '-' });
        out.push(if bits & 2 > 0 { 'w' } else { '-' });
        out.push(match (entry.mode & special > 0, bits & 1 > 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

fn wasted(layers: &Layers, whole: &Tree<'_>) -> Markup {
    let known: Vec<_> = layers
        .listings
        .iter()
        .filter_map(Option::as_deref)
        .collect();
    let Waste {
        paths,
        bytes,
        efficiency,
    } = waste(&known);
    let stored: u64 = known.iter().map(|listing| listing.size()).sum();
    html! {
        dl.facts {
            div { dt { "Files" } dd { (whole.len()) } }
            div { dt { "Size" } dd { (size(whole.size())) } }
            div { dt { "In all layers" } dd { (size(stored)) } }
            div { dt { "Wasted" } dd { (size(bytes)) } }
            div { dt { "Efficiency" } dd {
                (efficiency / 100) "." (format!("{:02}", efficiency % 100)) " %"
            } }
        }
        @if !paths.is_empty() {
            details {
                summary { "What is wasted, because higher layers replace or remove it" }
                table {
                    caption.hidden { "Wasted files" }
                    thead { tr {
                        th scope="col" { "Path" }
                        th.number scope="col" { "In layers" }
                        th.number scope="col" { "Bytes" }
                    } }
                    tbody {
                        @for path in paths.iter().take(WASTED) {
                            tr {
                                th scope="row" { "/" (path.path) }
                                td.number { (path.times) }
                                td.number { (size(path.bytes)) }
                            }
                        }
                    }
                }
                @if paths.len() > WASTED {
                    p.quiet { "And " (paths.len() - WASTED) " more." }
                }
            }
        }
    }
}

/// Who else has a layer, of what the caller may see.
async fn sharing(view: &View<'_>, name: &RepositoryName, digest: &Digest) -> Result<Markup, Stop> {
    let all = view.api.registry.repositories_with(digest).await?;
    let mut others: Vec<_> = all
        .into_iter()
        .filter(|other| other != name && view.visitor.caller.may_see(other.as_str()))
        .collect();
    others.sort_unstable();
    Ok(html! {
        p.full { (digest) }
        @if others.is_empty() {
            p.quiet { "No other repository that you may see has this layer." }
        } @else {
            p {
                "Also in "
                @for (at, other) in others.iter().take(SHARING).enumerate() {
                    @if at > 0 { ", " }
                    a href=(path::of("tags", other)) { (other) }
                }
                @if others.len() > SHARING { " and " (others.len() - SHARING) " more" }
                "."
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::FileEntry;

    #[test]
    fn permissions_are_shown_as_ls_does() {
        for (kind, bits, shown) in [
            (Kind::File, 0o644, "-rw-r--r--"),
            (Kind::Directory, 0o1777, "drwxrwxrwt"),
            (Kind::File, 0o4755, "-rwsr-xr-x"),
            (Kind::File, 0o2644, "-rw-r-Sr--"),
            (Kind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            let entry = FileEntry {
                path: "x".into(),
                kind,
                mode: bits,
                uid: 0,
                gid: 0,
                size: 0,
                target: None,
                content: None,
                at: None,
            };
            let entry = &entry;
            assert_eq!(mode(Placed { entry, layer: 0 }), shown);
        }
    }
}
