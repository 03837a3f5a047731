//! What is said of a Dockerfile that is not built: `--check` and `--call`.

use std::path::{Component, Path, PathBuf};

use builder::context::BuildContext;
use builder::plan::{self, Graph, ImageRequest};
use serde_json::{Map, Value, json};

use super::call;
use super::flags::BuildFlags;
use super::options::Options;
use super::outcome::write_whole;
use crate::app::App;
use crate::failure::Outcome;
use crate::frontend::bases::Bases;
use crate::frontend::checks::{Check, Kind, run_checks};
use crate::frontend::text::Text;

/// Checks it.
pub async fn check(
    app: &App,
    args: &BuildFlags,
    options: &Options,
    text: &Text,
    context: &BuildContext,
) -> Outcome {
    let check = Check {
        build_args: options.args.clone(),
        target: Some(args.target.clone()).filter(|target| !target.is_empty()),
        platform: options.first_platform(),
        named: options.named(),
        places: options.contexts.clone(),
        ignore: context.filter.matcher().clone(),
        format: match args.call.json {
            true => Kind::Json,
            false => Kind::Text,
        },
        ignore_status: args.call.ignore_status,
        place: place(args, text),
    };
    let checked = run_checks(app, &text.parsed, &text.name, &check).await?;
    // The first line says how many there are, which is no violation.
    let violations = checked.text.split_once('\n').map_or("", |(_, rest)| rest);
    let status = u8::from(!violations.is_empty()).to_string();
    let status = Some(("result.statuscode", json!(status)));
    tell(args, checked.document, violations, status).await?;
    checked.outcome
}

/// Where the Dockerfile is, seen from here: as buildx writes it, so that editors find it.
fn place(args: &BuildFlags, text: &Text) -> String {
    match args.file.as_deref() {
        _ if args.called.is_some() => text.name.clone(),
        Some("-") => "stdin".to_owned(),
        None if Path::new(&args.context).is_dir() => {
            let path = Path::new(&args.context).join(&text.name);
            let parts = path.components().filter(|part| *part != Component::CurDir);
            parts.collect::<PathBuf>().display().to_string()
        }
        _ => text.name.clone(),
    }
}

/// Writes an answer into `--metadata-file`, under buildx's keys.
async fn tell(
    args: &BuildFlags,
    document: Value,
    text: &str,
    status: Option<(&str, Value)>,
) -> Outcome {
    let Some(path) = &args.metadata_file else {
        return Ok(());
    };
    let mut told = Map::new();
    told.insert("result.json".to_owned(), document);
    told.extend(status.map(|(key, status)| (key.to_owned(), status)));
    told.insert("result.txt".to_owned(), json!(text));
    told.insert("version".to_owned(), json!("1.0.0"));
    write_whole(path, serde_json::to_vec_pretty(&Value::Object(told))?).await
}

/// Lists its stages, from the file alone.
pub async fn targets(app: &App, args: &BuildFlags, text: &Text) -> Outcome {
    if text.parsed.has_errors() {
        return Err(text.with_mistakes(&text.parsed.diagnostics));
    }
    let targets = plan::outline::targets(&text.parsed.dockerfile);
    let document = call::targets_json(&targets, &text.parsed.source);
    let shown = call::targets_text(&targets);
    if args.call.json {
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        app.printer.write_out(shown.as_bytes());
    }
    tell(args, document, &shown, None).await
}

/// Lists what it takes from outside.
pub async fn outline(
    app: &App,
    (args, options): (&BuildFlags, &Options),
    text: &Text,
    graph: &Graph,
    bases: &Bases<'_>,
) -> Outcome {
    let known = |image: &ImageRequest| bases.config(image);
    let outline = plan::outline::outline(&text.parsed.dockerfile, graph, &options.args, &known);
    let document = call::outline_json(&outline, &text.parsed.source);
    let shown = call::outline_text(&outline);
    if args.call.json {
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        app.printer.write_out(shown.as_bytes());
    }
    tell(args, document, &shown, None).await
}
