//! `rbuild images`

mod tree;

use std::collections::BTreeMap;

use clap::Args;
use oci::{ImageConfig, Reference};
use serde_json::Value;
use store::{Content, Store};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::{Filters, matches_path};
use crate::term::listing::{Forms, Row};
use crate::term::style;
use crate::when;

/// `rbuild images`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild images                               all of them, the newest first
  rbuild images 'app*'                        those whose name matches
  rbuild images -q -f dangling=true           IDs of images without a name
  rbuild images -f label=org.example.team -f before=app:v2
  rbuild images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Size}}'
  rbuild images --format json                 a JSON object a line")]
pub struct ImagesArgs {
    /// Only images of this name, in which * matches anything but a slash
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub reference: Option<String>,

    /// Show the images for each platform of an index too
    #[arg(short, long)]
    pub all: bool,

    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,

    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,

    /// Show digests
    #[arg(long)]
    pub digests: bool,

    /// Show the images of each index below its name, with the space that they take
    #[arg(long, conflicts_with_all = ["quiet", "format", "no_trunc", "digests"])]
    pub tree: bool,

    /// Only images for which it holds: dangling=BOOL, label=KEY[=VALUE], before=IMAGE,
    /// since=IMAGE, until=TIME or reference=PATTERN; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .ID .Repository .Tag .Digest
    /// .CreatedSince .CreatedAt .Size
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const RAW: [(&str, &str); 6] = [
    ("repository", "Repository"),
    ("tag", "Tag"),
    ("digest", "Digest"),
    ("image_id", "ID"),
    ("created_at", "CreatedAt"),
    ("virtual_size", "Size"),
];
const HEADERS: [(&str, &str); 11] = [
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Runs the command.
pub async fn run(app: &App, args: ImagesArgs) -> Outcome {
    let mut filters = Filters::parse(
        &args.filters,
        &["before", "dangling", "label", "reference", "since", "until"],
    )?;
    if let Some(reference) = &args.reference {
        filters.add("reference", reference);
    }
    let mut raw = RAW.to_vec();
    if !args.digests {
        raw.retain(|(_, column)| *column != "Digest");
    }
    let forms = Forms {
        table: if args.digests { WITH_DIGESTS } else { DEFAULT },
        id: "ID",
        raw: &raw,
    };
    let format = forms.choose(args.format.as_deref(), args.quiet)?;
    let store = app.store_to_read().await?;
    let mut rows = Vec::new();
    let digests = args.digests || format.mentions("Digest");
    let chosen = choose(&store, &filters, args.all).await?;
    if args.tree {
        let text = tree::render(&store, &chosen).await?;
        app.printer.write_out(text.as_bytes());
        return Ok(());
    }
    let now = when::now();
    for image in &chosen {
        for line in image.lines(digests) {
            rows.push(row(image, &line, args.no_trunc, now));
        }
    }
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

fn row(image: &Content, line: &store::ImageLine<'_>, no_trunc: bool, now: i64) -> Row {
    let id = match no_trunc {
        true => image.id().to_string(),
        false => image.id().short().to_owned(),
    };
    let size = style::size(image.size());
    let created = image.created();
    [
        ("Containers", "N/A".to_owned()),
        ("CreatedAt", when::local(created)),
        ("CreatedSince", when::ago(created, now)),
        ("Digest", line.digest.clone()),
        ("ID", id),
        ("Repository", line.repository.clone()),
        ("SharedSize", "N/A".to_owned()),
        ("Size", size.clone()),
        ("Tag", line.tag.to_owned()),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", size),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

/// The images and indexes that the filters let through; by `reference`, with the names that match
/// only. With `all`, images without a name that an index leads to as well.
async fn choose(store: &Store, filters: &Filters, all: bool) -> Result<Vec<Content>, Failure> {
    let mut images = store.contents(all).await?;
    if let Some(dangling) = filters.boolean("dangling")? {
        images.retain(|image| image.is_dangling() == dangling);
    }
    for (name, keep_older) in [("before", true), ("since", false)] {
        for text in filters.all(name) {
            let than = store.content(text).await?;
            let limit = when::seconds(than.created());
            images.retain(|image| {
                let created = when::seconds(image.created());
                match keep_older {
                    true => created < limit,
                    false => created > limit,
                }
            });
        }
    }
    for text in filters.all("until") {
        let limit = when::until(text).map_err(Failure::new)?;
        images.retain(|image| when::seconds(image.created()) < limit);
    }
    let labels: Vec<&str> = filters.all("label").collect();
    if !labels.is_empty() {
        let mut kept = Vec::new();
        for image in images {
            let found = labels_of(store, &image).await?;
            if labels.iter().all(|wanted| has_label(&found, wanted)) {
                kept.push(image);
            }
        }
        images = kept;
    }
    let patterns: Vec<&str> = filters.all("reference").collect();
    if !patterns.is_empty() {
        let matches = |reference: &Reference| {
            patterns
                .iter()
                .any(|pattern| matches_reference(pattern, reference))
        };
        for image in &mut images {
            image.retain_names(matches);
        }
        images.retain(|image| !image.tags().is_empty() || !image.repo_digests().is_empty());
    }
    Ok(images)
}

/// The labels of an image; an index has those of the image that stands for it.
pub(super) async fn labels_of(
    store: &Store,
    content: &Content,
) -> Result<BTreeMap<String, String>, Failure> {
    let id = match content {
        Content::Image(image) => Some(&image.id),
        Content::Index(index) => index.select(None),
    };
    let Some(id) = id else {
        return Ok(BTreeMap::new());
    };
    let config: ImageConfig = serde_json::from_slice(&store.config(id).await?)?;
    Ok(config.config.unwrap_or_default().labels)
}

pub(super) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// Whether a pattern is for a reference, with or without its tag, in its short or full form.
fn matches_reference(pattern: &str, reference: &Reference) -> bool {
    let repository = reference.repository();
    [
        reference.familiar(),
        repository.familiar(),
        reference.to_string(),
        repository.to_string(),
    ]
    .iter()
    .any(|name| matches_path(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_with_or_without_tag() {
        for (pattern, name, fits) in [
            ("app", "app:v1", true),
            ("app:v1", "app:v1", true),
            ("app:v2", "app:v1", false),
            ("app*", "app:v1", true),
            ("*:v1", "app:v1", true),
            ("docker.io/library/app", "app:v1", true),
            ("localhost:5000/*", "localhost:5000/app:v1", true),
            ("*", "localhost:5000/app:v1", false),
            ("*/*", "localhost:5000/app:v1", true),
        ] {
            let reference: Reference = name.parse().unwrap();
            assert_eq!(
                matches_reference(pattern, &reference),
                fits,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn labels_match_by_key_or_value() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (wanted, fits) in [("a", true), ("a=1", true), ("a=2", false), ("b", false)] {
            assert_eq!(has_label(&labels, wanted), fits, "{wanted}");
        }
    }
}
