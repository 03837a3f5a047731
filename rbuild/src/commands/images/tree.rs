//! `rbuild images --tree`: the images of an index below its name, in docker 28's columns.

use std::io::IsTerminal as _;

use oci::Digest;
use store::{Content, Store, StoredIndex};

use crate::failure::Failure;
use crate::term::style;

/// Between columns.
const SPACING: &str = "   ";
/// Columns after the first: what they are called, and their widths, which are docker's too.
const COLUMNS: [(&str, usize); 4] = [
    ("ID", 12),
    ("DISK USAGE", 10),
    ("CONTENT SIZE", 12),
    ("EXTRA", 5),
];
/// The first column is not narrower than its title.
const TITLE: &str = "IMAGE";

/// A line: what is called so, and what is known of it.
struct Line {
    name: String,
    /// `None` for further names of one image.
    known: Option<Known>,
}

struct Known {
    id: Digest,
    /// Bytes of unpacked files.
    disk: u64,
    /// Bytes of blobs: compressed layers, configurations and manifests.
    content: u64,
}

/// All lines, for a terminal or a pipe. Nothing runs here, so that nothing is in use.
///
/// # Errors
/// The store's.
pub async fn render(store: &Store, images: &[Content]) -> Result<String, Failure> {
    let mut blocks = Vec::new();
    for image in images {
        blocks.push(block(store, image).await?);
    }
    let names = blocks
        .iter()
        .flatten()
        .map(|line| line.name.chars().count());
    let width = names.max().unwrap_or(0).max(TITLE.len());
    let mut out = header(width, std::io::stdout().is_terminal());
    for block in blocks {
        let several = block.len() > 1;
        for line in &block {
            out.push_str(&shown(line, width));
        }
        if several {
            out.push('\n');
        }
    }
    Ok(out.trim_end_matches('\n').to_owned() + "\n")
}

fn header(width: usize, bold: bool) -> String {
    let style = |text: String| match bold {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text,
    };
    let mut out = style(format!("{TITLE:width$}"));
    for (title, width) in COLUMNS {
        out.push_str(SPACING);
        out.push_str(&style(format!("{title:width$}")));
    }
    out.push('\n');
    out
}

fn shown(line: &Line, width: usize) -> String {
    let mut out = format!("{:width$}", line.name);
    if let Some(known) = &line.known {
        let [id, disk, content, extra] = COLUMNS.map(|(_, width)| width);
        out.push_str(&format!(
            "{SPACING}{:id$}{SPACING}{:>disk$}{SPACING}{:>content$}{SPACING}{:extra$}",
            known.id.short(),
            style::size(known.disk),
            style::size(known.content),
            ""
        ));
    }
    out.push('\n');
    out
}

/// The lines of an image or index: each of its names, and below them what an index lists.
async fn block(store: &Store, image: &Content) -> Result<Vec<Line>, Failure> {
    let lines = image.lines(false);
    let mut names: Vec<String> = Vec::new();
    for line in &lines {
        names.push(match line.tag {
            "<none>" => line.repository.clone(),
            tag => format!("{}:{tag}", line.repository),
        });
    }
    let mut content = 0;
    let mut below = Vec::new();
    match image {
        Content::Image(image) => content = blobs_of(store, &image.id).await?,
        Content::Index(index) => {
            below = listed(store, index).await?;
            let sizes = below.iter().filter_map(|line| line.known.as_ref());
            content += sizes.map(|known| known.content).sum::<u64>() + index.document_size;
        }
    }
    let last = names.pop().unwrap_or_default();
    let mut block: Vec<Line> = names
        .into_iter()
        .map(|name| Line { name, known: None })
        .collect();
    block.push(Line {
        name: last,
        known: Some(Known {
            id: image.id().clone(),
            disk: image.size(),
            content,
        }),
    });
    block.extend(below);
    Ok(block)
}

/// The images of an index by their platforms, those too that are not here.
async fn listed(store: &Store, index: &StoredIndex) -> Result<Vec<Line>, Failure> {
    let known = |platform: &oci::Platform| platform.os != "unknown";
    let entries: Vec<_> = index
        .entries
        .iter()
        .filter_map(|entry| Some((entry, entry.manifest.platform.as_ref()?)))
        .filter(|(_, platform)| known(platform))
        .collect();
    let mut lines = Vec::new();
    for (n, (entry, platform)) in entries.iter().enumerate() {
        let branch = if n + 1 == entries.len() {
            "└─"
        } else {
            "├─"
        };
        let (mut disk, mut content) = (0, 0);
        if let Some(id) = &entry.image
            && let Some(image) = store.image(id).await?
        {
            disk = image.size;
            content = blobs_of(store, id).await?;
        }
        lines.push(Line {
            name: format!("{branch} {platform}"),
            known: Some(Known {
                id: entry.manifest.digest.clone(),
                disk,
                content,
            }),
        });
    }
    Ok(lines)
}

/// Bytes of an image's blobs that are here: its configuration, its manifest, and layers that were
/// compressed or came so.
async fn blobs_of(store: &Store, id: &Digest) -> Result<u64, Failure> {
    let Some(image) = store.image(id).await? else {
        return Ok(0);
    };
    let mut blobs = vec![id.clone()];
    blobs.extend(image.manifest.map(|manifest| manifest.digest));
    for layer in &image.layers {
        let of = store.layer_blobs(layer).await?;
        blobs.extend(of.into_iter().map(|blob| blob.digest));
    }
    blobs.sort_unstable();
    blobs.dedup();
    let mut size = 0;
    for blob in &blobs {
        size += store.use_blob(blob).await?.unwrap_or(0);
    }
    Ok(size)
}
