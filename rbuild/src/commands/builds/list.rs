//! `rbuild builds ls`

use builder::record::build::{BuildRecord, Ended};
use clap::Args;
use serde_json::{Value, json};

use super::find::{all, kept, length};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::{Filters, matches_path};
use crate::term::listing::{Format, Row};
use crate::when;

/// `rbuild builds ls`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print only numbers
    #[arg(short, long)]
    pub quiet: bool,

    /// Do not shorten names
    #[arg(long)]
    pub no_trunc: bool,

    /// status=completed|error|canceled, name=PATTERN, tag=PATTERN or until=TIME; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .Ref .Name .Status .CreatedAt
    /// .CreatedSince .Duration .Tags .Steps .Cached
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "table {{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedSince}}\t{{.Duration}}";
const HEADERS: [(&str, &str); 9] = [
    ("Ref", "BUILD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED AT"),
    ("Duration", "DURATION"),
    ("Tags", "TAGS"),
    ("Steps", "STEPS"),
    ("Cached", "CACHED"),
];
/// How much of a name is shown, in characters.
const SHOWN: usize = 40;

/// Runs the command.
pub async fn run(app: &App, args: ListArgs) -> Outcome {
    let filters = Filters::parse_long(&args.filters, &["name", "status", "tag", "until"])?;
    for status in filters.all("status") {
        if !["completed", "error", "canceled"].contains(&status) {
            return Err(Failure::new(format!(
                "invalid filter 'status={status}': write completed, error or canceled"
            )));
        }
    }
    let store = app.store_to_read().await?;
    let mut records = all(app, kept(&store)).await?;
    for text in filters.all("until") {
        let limit = when::until(text).map_err(Failure::new)?;
        records.retain(|record| when::seconds(Some(&record.started)) < limit);
    }
    records.retain(|record| fits(record, &filters));
    let text = match (args.quiet, args.format.as_deref()) {
        (false, Some("json")) => {
            let lines = records
                .iter()
                .map(|record| format!("{}\n", document(record)));
            lines.collect()
        }
        (quiet, format) => {
            let format = if quiet { Some("{{.Ref}}") } else { format };
            let now = when::now();
            let rows: Vec<Row> = records
                .iter()
                .map(|record| row(record, args.no_trunc, now))
                .collect();
            Format::parse(format, DEFAULT)?.render(&rows, &HEADERS)?
        }
    };
    app.printer.write_out(text.as_bytes());
    Ok(())
}

fn fits(record: &BuildRecord, filters: &Filters) -> bool {
    let status = status(record).to_lowercase();
    let name = record.name();
    let tags = || {
        let names = record.asked.tags.iter();
        names.filter_map(|tag| tag.parse::<oci::Reference>().ok())
    };
    let tagged = |pattern: &str| {
        tags().any(|tag| {
            matches_path(pattern, &tag.familiar())
                || matches_path(pattern, &tag.to_string())
                || matches_path(pattern, &tag.repository().familiar())
        })
    };
    filters.all("status").all(|wanted| wanted == status)
        && filters
            .all("name")
            .all(|pattern| matches_path(pattern, &name))
        && filters.all("tag").all(tagged)
}

/// How a build ended, in buildx's words.
pub fn status(record: &BuildRecord) -> &'static str {
    match record.ended {
        Ended::Completed => "Completed",
        Ended::Error { .. } => "Error",
        Ended::Canceled => "Canceled",
    }
}

fn row(record: &BuildRecord, no_trunc: bool, now: i64) -> Row {
    let mut name = record.name();
    if !no_trunc && name.chars().count() > SHOWN {
        name = name.chars().take(SHOWN - 1).collect();
        name.push('…');
    }
    let created = Some(record.started.as_str());
    [
        ("Ref", record.number.to_string()),
        ("Name", name),
        ("Status", status(record).to_owned()),
        ("CreatedAt", when::local(created)),
        ("CreatedSince", when::ago(created, now)),
        ("Duration", length(record.duration)),
        ("Tags", record.asked.tags.join(",")),
        ("Steps", record.steps.len().to_string()),
        ("Cached", record.cached().to_string()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

/// When a build ended, RFC 3339.
fn completed(record: &BuildRecord) -> Option<String> {
    let started: jiff::Timestamp = record.started.parse().ok()?;
    let length = i64::try_from(record.duration).ok()?;
    let ended = started + jiff::SignedDuration::from_micros(length);
    Some(ended.to_string())
}

/// What buildx writes of a build, by its names.
fn document(record: &BuildRecord) -> Value {
    let done = record.steps.iter().filter(|step| {
        use builder::record::build::StepOutcome::{Cached, Done};
        matches!(step.outcome, Cached | Done)
    });
    json!({
        "ref": record.number.to_string(),
        "name": record.name(),
        "status": status(record),
        "created_at": record.started,
        "completed_at": completed(record),
        "duration": record.duration as f64 / 1e6,
        "tags": record.asked.tags,
        "total_steps": record.steps.len(),
        "completed_steps": done.count(),
        "cached_steps": record.cached(),
    })
}
