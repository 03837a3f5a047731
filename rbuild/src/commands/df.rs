//! `rbuild df`, `system df`

use clap::Args;
use serde_json::Value;
use store::Usage;

use crate::app::App;
use crate::failure::Outcome;
use crate::term::listing::{Format, Row};
use crate::term::style;

/// `rbuild df`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild df
  rbuild df --format '{{.Type}}: {{.Reclaimable}}'")]
pub struct DfArgs {
    /// `table TEMPLATE`, `json`, or a Go template with the fields .Type .TotalCount .Active .Size
    /// .Reclaimable
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADERS: [(&str, &str); 5] = [
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

/// Runs the command.
pub async fn run(app: &App, args: DfArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref(), DEFAULT)?;
    let usage = app.store_to_read().await?.usage().await?;
    let rows = [
        row("Images", usage.images),
        row("Build Cache", usage.cache),
        row("Layers", usage.snapshots),
        row("Blobs", usage.blobs),
    ];
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

fn row(kind: &str, usage: Usage) -> Row {
    let mut reclaimable = style::size(usage.reclaimable);
    if let Some(percent) = (usage.reclaimable * 100).checked_div(usage.size) {
        reclaimable.push_str(&format!(" ({percent}%)"));
    }
    [
        ("Active", usage.active.to_string()),
        ("Reclaimable", reclaimable),
        ("Size", style::size(usage.size)),
        ("TotalCount", usage.total.to_string()),
        ("Type", kind.to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_can_be_had_back() {
        let usage = Usage {
            total: 3,
            active: 1,
            size: 2000,
            reclaimable: 500,
        };
        let rows = [row("Images", usage), row("Blobs", Usage::default())];
        let table = Format::parse(None, DEFAULT).unwrap();
        insta::assert_snapshot!(table.render(&rows, &HEADERS).unwrap(), @r"
        TYPE      TOTAL     ACTIVE    SIZE      RECLAIMABLE
        Images    3         1         2kB       500B (25%)
        Blobs     0         0         0B        0B
        ");
    }
}
