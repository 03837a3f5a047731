//! `rbuild events`

use std::io;

use clap::Args;
use containers::events::Event;
use containers::events::journal::{self, Span};
use golang::template::{Template, Types};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::when;

/// `rbuild events`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild events                                  what happens from now on
  rbuild events --since 1h --until 0s            what has happened in the last hour
  rbuild events --filter event=die --format '{{.Actor.Attributes.name}}'")]
pub struct EventsArgs {
    /// Only events for which it holds: type, event, container, image or label; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `json`, or a Go template with the fields .Type .Action .Actor .Status .ID .From .Time
    /// .TimeNano
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Tell of earlier ones too, from a time on, such as 10m or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// End at a time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// docker's filters; those of what has no events here take nothing.
const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// What has docker's names of fields, in place of Go's.
const WHOLE: &str = "{{json .}}";

/// Runs the command.
pub async fn run(app: &App, args: EventsArgs) -> Outcome {
    let filters = Filters::parse(&args.filters, &FILTERS)?;
    let template = match args.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse(WHOLE)?),
        Some(text) => Some(Template::parse(text)?),
    };
    let time = |text: &Option<String>| text.as_deref().map(nanoseconds).transpose();
    let span = Span {
        since: time(&args.since)?,
        until: time(&args.until)?,
    };
    if let (Some(since), Some(until)) = (span.since, span.until)
        && since > until
    {
        let seconds = |time: i64| time.div_euclid(1_000_000_000);
        return Err(Failure::new(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            seconds(since),
            seconds(until)
        )));
    }
    let root = app.store_to_read().await?.root().to_owned();
    let printer = app.printer.clone();
    let work = move || {
        let mut wrong = None;
        let done = journal::follow(&root, span, &mut |event| {
            if takes(&filters, &event) {
                match line(&event, template.as_ref()) {
                    Ok(text) => printer.line(text),
                    Err(failure) => {
                        wrong = Some(failure);
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                }
            }
            Ok(())
        });
        match wrong {
            Some(failure) => Err(failure),
            None => Ok(done?),
        }
    };
    tokio::task::spawn_blocking(work).await?
}

/// A time in nanoseconds since the epoch: a length of time before now, a date, or seconds with a
/// fraction.
fn nanoseconds(text: &str) -> Result<i64, Failure> {
    let exact = text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond);
    let exact = exact.and_then(|time| i64::try_from(time).ok());
    if let Some(time) = exact {
        return Ok(time);
    }
    if let Some((whole, part)) = text.split_once('.')
        && let (Ok(whole), Ok(part)) = (
            whole.parse::<i64>(),
            format!("{part:0<9}")
                .chars()
                .take(9)
                .collect::<String>()
                .parse::<i64>(),
        )
    {
        return Ok(whole.saturating_mul(1_000_000_000).saturating_add(part));
    }
    // Lengths of time are told in less than seconds, too.
    if let Ok(age) = golang::duration::parse_duration(text)
        && text != "0"
    {
        let now = Timestamp::now().as_nanosecond();
        let age = i128::try_from(age.as_nanos()).unwrap_or(i128::MAX);
        return Ok(i64::try_from(now.saturating_sub(age)).unwrap_or(0));
    }
    let seconds = when::until(text).map_err(Failure::new)?;
    Ok(seconds.saturating_mul(1_000_000_000))
}

/// Whether an event is wanted: of each key one value has to hold, of labels all.
fn takes(filters: &Filters, event: &Event) -> bool {
    let attributes = &event.actor.attributes;
    let any = |key: &str, holds: &dyn Fn(&str) -> bool| {
        let mut values = filters.all(key).peekable();
        values.peek().is_none() || values.any(holds)
    };
    let of_kind = |kind: &str| {
        any(kind, &|value| {
            let name = attributes.get("name").map(String::as_str);
            event.kind == kind && (event.actor.id.starts_with(value) || name == Some(value))
        })
    };
    let image = |value: &str| {
        let key = match event.kind.as_str() {
            "image" => "name",
            _ => "image",
        };
        let of = attributes.get(key).map_or("", String::as_str);
        event.actor.id == value || of == value || of.split(':').next() == Some(value)
    };
    let labelled = |wanted: &str| match wanted.split_once('=') {
        Some((key, value)) => attributes.get(key).is_some_and(|found| found == value),
        None => attributes.contains_key(wanted),
    };
    let others = FILTERS.iter().filter(|key| {
        !matches!(
            **key,
            "container" | "event" | "image" | "label" | "scope" | "type"
        )
    });
    any("type", &|kind| event.kind == kind)
        && any("scope", &|scope| event.scope == scope)
        && any("event", &|action| {
            event.action == action || event.short_action() == action
        })
        && of_kind("container")
        && any("image", &image)
        && filters.all("label").all(labelled)
        && others.into_iter().all(|kind| of_kind(kind))
}

/// An event as docker lists it.
fn line(event: &Event, template: Option<&Template>) -> Result<String, Failure> {
    let Some(template) = template else {
        let time = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or_default();
        let time = time.to_zoned(TimeZone::system());
        let time = time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string();
        let time = time.replace("+00:00", "Z");
        return Ok(format!("{time} {}", event.text()));
    };
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let Value::Object(fields) = &mut value
        && template.source() != WHOLE
    {
        // Templates know the fields by Go's names.
        for (name, field) in [
            ("Status", "status"),
            ("ID", "id"),
            ("From", "from"),
            ("Scope", "scope"),
            ("Time", "time"),
            ("TimeNano", "timeNano"),
        ] {
            let found = fields.get(field).cloned().unwrap_or_else(|| "".into());
            fields.insert(name.to_owned(), found);
        }
    }
    let types = Types {
        maps: &["Attributes"],
        ..Types::default()
    };
    Ok(template.render(&value, &types)?)
}
