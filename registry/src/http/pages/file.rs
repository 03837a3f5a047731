//! A file of an image, as text.

use maud::{Markup, html};

use super::done::Done;
use super::files::full_path;
use super::layers;
use super::parts::{crumbs, short, size};
use super::path;
use super::stop::Stop;
use super::view::View;
use crate::name::{ManifestRef, RepositoryName};
use crate::service::Look;

/// Bytes of a file that are shown.
const MOST: u64 = 256 << 10;

pub(super) async fn page(
    view: &View<'_>,
    name: &RepositoryName,
    reference: &ManifestRef,
) -> Result<Done, Stop> {
    let registry = &view.api.registry;
    let manifest = registry.manifest(name, reference).await?;
    let digests = layers::layers(&manifest)?;
    let layer = view.parameter("layer");
    let at = layer.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    let Some(digest) = at.and_then(|at| digests.get(at)) else {
        return Err(Stop::missing(format!("There is no layer {layer:?}.")));
    };
    let wanted = full_path(view.parameter("path"));
    let missing = || Stop::missing(format!("There is no file /{wanted} in layer {layer}."));
    let Look::Listing(listing) = registry.look_into(name, digest).await? else {
        let files = path::at("files", name, &reference.to_string());
        return Err(Stop::Elsewhere(path::with(&files, &[("layer", layer)])));
    };
    let entry = listing.get(wanted).ok_or_else(missing)?;
    let (offset, length) = entry.at.ok_or_else(missing)?;
    let bytes = registry
        .content_inside(name, digest, offset, length.min(MOST))
        .await?;
    let reference = reference.to_string();
    let files = path::at("files", name, &reference);
    let parent = wanted.rsplit_once('/').map_or("", |(parent, _)| parent);
    let shown = if reference.contains(':') {
        short(&reference)
    } else {
        &reference
    };
    let content = html! {
        (crumbs(name.as_str(), &[
            (shown, &path::at("image", name, &reference)),
            ("Files", &path::with(&files, &[("path", parent)])),
            (wanted.rsplit('/').next().unwrap_or_default(), ""),
        ]))
        h1.path { "/" (wanted) }
        p.quiet { (size(length)) ", from layer " (layer) }
        (body(&bytes, length))
    };
    Ok(Done::Page(format!("/{wanted}"), content))
}

/// Text as text; of anything else its first bytes.
fn body(bytes: &[u8], length: u64) -> Markup {
    let whole = bytes.len() as u64 == length;
    // The end may be in the middle of a letter.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(e) if !whole && e.error_len().is_none() => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let text = text.filter(|text| !text.contains('\0'));
    html! {
        @match text {
            Some("") => { p.quiet { "It is empty." } }
            Some(text) => { pre.text tabindex="0" { (text) } }
            None => {
                p.quiet { "This is no text. Its first bytes:" }
                pre.text tabindex="0" { (dump(&bytes[..bytes.len().min(512)])) }
            }
        }
        @if !whole && text.is_some() {
            p.quiet { "The first " (size(MOST)) " are shown." }
        }
    }
}

/// Bytes as `hexdump -C` shows them.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (at, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |byte: &u8| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        };
        let letters: String = line.iter().map(letter).collect();
        out.push_str(&format!(
            "{:08x}  {:<47}  |{letters}|\n",
            at * 16,
            hex.join(" ")
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_files_is_text() {
        let html = |bytes: &[u8], length| body(bytes, length).into_string();
        let shown = html(b"<script>alert(1)</script>", 25);
        assert!(
            shown.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{shown}"
        );
        // Cut in the middle of a letter.
        assert!(html(&"aä".as_bytes()[..2], 3).contains(">a<"));
        assert!(html(b"a\xff", 2).contains("61 ff"));
        assert!(html(b"", 0).contains("empty"));
        assert_eq!(
            dump(b"ELF\x01"),
            "00000000  45 4c 46 01                                      |ELF.|\n"
        );
    }
}
