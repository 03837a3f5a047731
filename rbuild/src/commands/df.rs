//! `rbuild df`, `system df`

mod used;

use std::collections::HashMap;

use clap::Args;
use containers::engine::Containers;
use golang::template::{Template, Types};
use oci::ChainId;
use serde_json::{Value, json};
use store::{Content, Store, Usage};

use super::history::layer_sizes;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::listing::{Format, Forms, Row};
use crate::term::style;
use crate::when;

/// `rbuild df`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild df
  rbuild df -v                    every image and every cache record
  rbuild df --format '{{.Type}}: {{.Reclaimable}}'")]
pub struct DfArgs {
    /// `table TEMPLATE`, `json`, or a Go template with the fields .Type .TotalCount .Active .Size
    /// .Reclaimable; with -v one with the lists .Images .Containers .Volumes .BuildCache
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Every image, container, volume and record of the build cache
    #[arg(short, long)]
    pub verbose: bool,
}

const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t\
                      {{.SharedSize}}\t{{.UniqueSize}}";
const IMAGE_HEADERS: [(&str, &str); 7] = [
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const RECORDS: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t\
                       {{.UsageCount}}\t{{.Description}}";
const RECORD_HEADERS: [(&str, &str); 7] = [
    ("CacheType", "CACHE TYPE"),
    ("CreatedSince", "CREATED"),
    ("Description", "DESCRIPTION"),
    ("ID", "CACHE ID"),
    ("LastUsedSince", "LAST USED"),
    ("Size", "SIZE"),
    ("UsageCount", "USAGE"),
];

const FORMS: Forms<'_> = Forms {
    table: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    id: "Type",
    raw: &[
        ("type", "Type"),
        ("total", "TotalCount"),
        ("active", "Active"),
        ("size", "Size"),
        ("reclaimable", "Reclaimable"),
    ],
};
const HEADERS: [(&str, &str); 5] = [
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

/// Runs the command.
pub async fn run(app: &App, args: DfArgs) -> Outcome {
    if args.verbose {
        return verbose(app, args.format.as_deref()).await;
    }
    let format = FORMS.choose(args.format.as_deref(), false)?;
    let store = app.store_to_read().await?;
    let usage = store.usage().await?;
    let used = used::of(&Containers::new(store)).await?;
    let rows = [
        row("Images", usage.images),
        row("Containers", used.containers),
        row("Local Volumes", used.volumes),
        row("Build Cache", usage.cache),
        row("Layers", usage.snapshots),
        row("Blobs", usage.blobs),
    ];
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

async fn verbose(app: &App, format: Option<&str>) -> Outcome {
    let store = app.store_to_read().await?;
    let now = when::now();
    let images = store.contents(false).await?;
    let mut layers = Vec::new();
    for content in &images {
        layers.push(layers_of(&store, content).await?);
    }
    let shared = shared_sizes(&layers);
    let mut rows = Vec::new();
    for (image, (shared, unique)) in images.iter().zip(shared) {
        let size = style::size(image.size());
        let common = [
            ("CreatedSince", when::ago(image.created(), now)),
            ("ID", image.id().short().to_owned()),
            ("SharedSize", style::size(shared)),
            ("Size", size),
            ("UniqueSize", style::size(unique)),
        ];
        for line in image.lines(false) {
            let names = [
                ("Repository", line.repository),
                ("Tag", line.tag.to_owned()),
            ];
            rows.push(cells(common.iter().cloned().chain(names)));
        }
    }
    let mut records: Vec<Row> = Vec::new();
    let mut cached = store.cache_list().await?;
    cached.extend(store.cache_mounts().await?);
    cached.sort_by_key(|record| record.last_used);
    for record in cached {
        let ago = |at: i64| format!("{} ago", style::duration(now - at));
        records.push(cells([
            ("CacheType", record.kind.name().to_owned()),
            ("CreatedSince", ago(record.created_at)),
            (
                "Description",
                record.description.replace(['\t', '\n', '\r'], " "),
            ),
            ("ID", record.key.short().to_owned()),
            ("LastUsedSince", ago(record.last_used)),
            ("Size", style::size(record.size)),
            ("UsageCount", record.uses.to_string()),
        ]));
    }
    let used = used::lists(&Containers::new(store)).await?;
    if let Some(format) = format {
        let template = Template::parse(if format == "json" {
            "{{json .}}"
        } else {
            format
        })?;
        let all = json!({
            "Images": rows,
            "Containers": used.containers,
            "Volumes": used.volumes,
            "BuildCache": records,
        });
        app.printer.line(template.render(&all, &Types::default())?);
        return Ok(());
    }
    let used = used.tables()?;
    let images = Format::parse(None, IMAGES)?.render(&rows, &IMAGE_HEADERS)?;
    let records = Format::parse(None, RECORDS)?.render(&records, &RECORD_HEADERS)?;
    app.printer.write_out(
        format!("Images space usage:\n\n{images}\n{used}\nBuild cache usage:\n\n{records}")
            .as_bytes(),
    );
    Ok(())
}

/// The stacks of an image, or of all images of an index, and the bytes of each layer's files.
async fn layers_of(store: &Store, content: &Content) -> Result<Vec<(ChainId, u64)>, Failure> {
    let mut images = Vec::new();
    match content {
        Content::Image(image) => images.push(image.clone()),
        Content::Index(index) => {
            for id in index.images() {
                images.extend(store.image(id).await?);
            }
        }
    }
    let mut layers: Vec<(ChainId, u64)> = Vec::new();
    for image in images {
        let sizes = layer_sizes(store, &image).await?;
        for layer in ChainId::chain(&image.layers).into_iter().zip(sizes) {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
    }
    Ok(layers)
}

/// For each image the bytes of the layers that another one has too, and of those that it alone
/// has.
fn shared_sizes(images: &[Vec<(ChainId, u64)>]) -> Vec<(u64, u64)> {
    let mut users: HashMap<&ChainId, usize> = HashMap::new();
    for (chain_id, _) in images.iter().flatten() {
        *users.entry(chain_id).or_default() += 1;
    }
    let sum = |layers: &[(ChainId, u64)], shared: bool| -> u64 {
        let is_shared = |id| users.get(id).is_some_and(|n| *n > 1);
        let chosen = layers.iter().filter(|(id, _)| is_shared(id) == shared);
        chosen.map(|(_, size)| size).sum()
    };
    let both = |layers: &Vec<_>| (sum(layers, true), sum(layers, false));
    images.iter().map(both).collect()
}

fn cells(cells: impl IntoIterator<Item = (&'static str, String)>) -> Row {
    cells
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect()
}

fn row(kind: &str, usage: Usage) -> Row {
    let mut reclaimable = style::sum(usage.reclaimable);
    if let Some(percent) = (usage.reclaimable * 100).checked_div(usage.size) {
        reclaimable.push_str(&format!(" ({percent}%)"));
    }
    cells([
        ("Active", usage.active.to_string()),
        ("Reclaimable", reclaimable),
        ("Size", style::sum(usage.size)),
        ("TotalCount", usage.total.to_string()),
        ("Type", kind.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_several_images_are_shared() {
        let [base, first, second] = [1, 2, 3].map(|n| ChainId(oci::Digest::sha256(&[n])));
        let images = [
            vec![(base.clone(), 100), (first, 5)],
            vec![(base, 100), (second, 7)],
            vec![],
        ];
        assert_eq!(shared_sizes(&images), [(100, 5), (100, 7), (0, 0)]);
    }

    #[test]
    fn shows_what_can_be_had_back() {
        let usage = Usage {
            total: 3,
            active: 1,
            size: 2000,
            reclaimable: 500,
        };
        let rows = [row("Images", usage), row("Blobs", Usage::default())];
        let table = FORMS.choose(None, false).unwrap();
        insta::assert_snapshot!(table.render(&rows, &HEADERS).unwrap(), @r"
        TYPE      TOTAL     ACTIVE    SIZE      RECLAIMABLE
        Images    3         1         2kB       500B (25%)
        Blobs     0         0         0B        0B
        ");
    }
}
