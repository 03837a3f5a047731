//! `rbuild volume ls`

use clap::Args;
use containers::engine::Volume;
use serde_json::Value;

use crate::app::App;
use crate::commands::container::has_label;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::term::listing::{self, Forms, Row};

/// `rbuild volume ls`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild volume ls -q -f dangling=true          those that no container uses
  rbuild volume ls --format '{{.Name}}: {{.Mountpoint}}'")]
pub struct LsArgs {
    /// Only volumes for which it holds: dangling=BOOL, driver, label or name; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .Name .Driver .Scope .Mountpoint
    /// .Labels
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Print only names
    #[arg(short, long)]
    pub quiet: bool,
}

const FORMS: Forms<'_> = Forms {
    table: "table {{.Driver}}\t{{.Name}}",
    id: "Name",
    raw: &[("name", "Name"), ("driver", "Driver")],
};
const HEADERS: [(&str, &str); 10] = [
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];

/// Runs the command.
pub async fn run(app: &App, args: LsArgs) -> Outcome {
    let filters = read(&args.filters, &["dangling", "driver", "label", "name"])?;
    let dangling = dangling(&filters)?;
    let format = FORMS.choose(args.format.as_deref(), args.quiet)?;
    let containers = app.containers_to_read().await?;
    let volumes = containers.volumes().await?;
    let chosen = volumes.iter().filter(|volume| {
        dangling.is_none_or(|wanted| volume.users.is_empty() == wanted) && takes(&filters, volume)
    });
    let rows: Vec<Row> = chosen.map(row).collect();
    app.printer
        .write_out(format.render(&rows, &HEADERS)?.as_bytes());
    Ok(())
}

/// Filters, with docker's sentence about others.
pub(super) fn read(texts: &[String], known: &[&str]) -> Result<Filters, Failure> {
    for text in texts {
        if let Some((key, _)) = text.split_once('=')
            && !known.contains(&key.trim().to_lowercase().as_str())
        {
            return Err(Failure::new(format!("invalid filter '{key}'")));
        }
    }
    Filters::parse(texts, known)
}

fn dangling(filters: &Filters) -> Result<Option<bool>, Failure> {
    filters.boolean("dangling").map_err(|_| {
        let values: Vec<&str> = filters.all("dangling").collect();
        Failure::new(format!("invalid filter 'dangling=[{}]'", values.join(" ")))
    })
}

/// Whether a volume is among those wanted: of each kind one has to hold, of labels all.
fn takes(filters: &Filters, volume: &Volume) -> bool {
    let any = |key: &str, holds: &dyn Fn(&str) -> bool| {
        let mut wanted = filters.all(key).peekable();
        wanted.peek().is_none() || wanted.any(holds)
    };
    any("name", &|part| volume.name.contains(part))
        && any("driver", &|driver| driver == "local")
        && filters
            .all("label")
            .all(|wanted| has_label(&volume.labels, wanted))
}

/// A line of the table; what only a cluster knows is not known.
pub(super) fn row(volume: &Volume) -> Row {
    let labels = listing::labels(&volume.labels);
    let unknown = || "N/A".to_owned();
    let mut row: Row = [
        ("Availability", unknown()),
        ("Driver", "local".to_owned()),
        ("Group", unknown()),
        ("Labels", labels),
        ("Links", unknown()),
        ("Mountpoint", volume.mountpoint.display().to_string()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
        ("Size", unknown()),
        ("Status", unknown()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect();
    listing::add_labels(&mut row, &volume.labels);
    row
}
