//! `rbuild history`

use clap::Args;
use oci::ChainId;
use oci::config::History;
use oci::{Digest, ImageConfig, Platform};
use serde_json::Value;
use store::{Image, Store};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::listing::{Format, Row};
use crate::term::style;
use crate::when;

/// `rbuild history`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild history app:v1
  rbuild history --no-trunc --format '{{.Size}}\\t{{.CreatedBy}}' app:v1")]
pub struct HistoryArgs {
    /// The image: a name, or its ID or the beginning of it
    #[arg(value_name = "IMAGE")]
    pub image: String,

    /// The platform, of an image that is there for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// Sizes and dates for humans; `-H=false` for bytes and times
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub human: bool,

    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,

    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .ID .CreatedSince .CreatedAt
    /// .CreatedBy .Size .Comment
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const HUMAN: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT: &str = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADERS: [(&str, &str); 6] = [
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];
/// How much of a command is shown, in characters.
const SHOWN: usize = 45;

/// Runs the command.
pub async fn run(app: &App, args: HistoryArgs) -> Outcome {
    let default = if args.human { HUMAN } else { EXACT };
    let format = match args.quiet {
        true => Format::parse(Some("{{.ID}}"), default)?,
        false => Format::parse(args.format.as_deref(), default)?,
    };
    let store = app.store_to_read().await?;
    let image = store
        .resolve_for(&args.image, args.platform.as_ref())
        .await?;
    let config: ImageConfig = serde_json::from_slice(&store.config(&image.id).await?)?;
    let sizes = layer_sizes(&store, &image).await?;
    let ids = ids(&store, &image).await?;
    let lines = entries(&config.history, &sizes);
    let now = when::now();
    // A table has a line for each; programs get what is there, as docker gives it.
    let one_line = format.is_table();
    let rows: Vec<Row> = lines
        .iter()
        .rev()
        .enumerate()
        .map(|(n, (entry, size))| {
            let id = match (ids.get(n), args.no_trunc) {
                (None, _) => "<missing>".to_owned(),
                (Some(id), true) => id.to_string(),
                (Some(id), false) => id.short().to_owned(),
            };
            row(entry, *size, (&id, one_line), &args, now)
        })
        .collect();
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// Its ID, and those of what it was committed on, as far as they are there.
async fn ids(store: &Store, image: &Image) -> Result<Vec<Digest>, Failure> {
    let mut ids = vec![image.id.clone()];
    while let Some(last) = ids.last()
        && let Some(parent) = store.parent(last).await?
        && store.resolve(&parent.to_string()).await.is_ok()
    {
        ids.push(parent);
    }
    Ok(ids)
}

/// Each entry with the bytes that its layer added, the oldest first.
fn entries<'h>(history: &'h [History], sizes: &[u64]) -> Vec<(&'h History, u64)> {
    let mut layers = sizes.iter();
    let mut size = |entry: &History| match entry.empty_layer {
        true => 0,
        false => layers.next().copied().unwrap_or(0),
    };
    history.iter().map(|entry| (entry, size(entry))).collect()
}

/// Bytes of each layer's files, bottom first; of its blob where it is not unpacked.
pub async fn layer_sizes(store: &Store, image: &Image) -> Result<Vec<u64>, Failure> {
    let mut sizes = Vec::new();
    for (diff_id, chain_id) in image.layers.iter().zip(ChainId::chain(&image.layers)) {
        sizes.push(match store.snapshot(&chain_id).await? {
            Some(snapshot) => snapshot.size_disk,
            None => {
                let blobs = store.layer_blobs(diff_id).await?;
                blobs.iter().map(|blob| blob.size).max().unwrap_or(0)
            }
        });
    }
    Ok(sizes)
}

fn row(
    entry: &History,
    size: u64,
    (id, one_line): (&str, bool),
    args: &HistoryArgs,
    now: i64,
) -> Row {
    let created = entry.created.as_deref();
    let by = entry.created_by.as_deref().unwrap_or_default();
    let plain = |text: &str| match one_line {
        true => text.replace(['\t', '\n', '\r'], " "),
        false => text.to_owned(),
    };
    let by = plain(by).replace('\t', " ");
    let by = match args.no_trunc {
        true => by,
        false => ellipsis(&by, SHOWN),
    };
    let size = match args.human {
        true => style::size(size),
        false => size.to_string(),
    };
    let comment = entry.comment.clone().unwrap_or_default();
    let since = match args.human {
        true => when::ago(created, now),
        false => when::rfc3339(created),
    };
    [
        ("Comment", plain(&comment)),
        ("CreatedAt", when::rfc3339(created)),
        ("CreatedBy", by),
        ("CreatedSince", since),
        ("ID", id.to_owned()),
        ("Size", size),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

/// The first characters of a text, the last of them … when some are left out.
fn ellipsis(text: &str, width: usize) -> String {
    match text.chars().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_to_the_entries_that_made_layers() {
        let entry = |empty_layer| History {
            empty_layer,
            ..History::default()
        };
        let history = [entry(false), entry(true), entry(false), entry(false)];
        let sizes: Vec<u64> = entries(&history, &[5, 7]).iter().map(|e| e.1).collect();
        assert_eq!(sizes, [5, 0, 7, 0]);
    }

    #[test]
    fn long_commands_end_in_an_ellipsis() {
        assert_eq!(ellipsis("short", 5), "short");
        assert_eq!(ellipsis("longer", 5), "long…");
        assert_eq!(ellipsis("ééééé", 5), "ééééé");
    }
}
