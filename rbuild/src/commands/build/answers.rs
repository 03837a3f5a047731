//! What is said of a Dockerfile that is not built: `--check` and `--call`.

use builder::context::BuildContext;
use builder::plan::{self, Graph, ImageRequest};

use super::call::{self, Call};
use super::flags::BuildFlags;
use super::options::Options;
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
    };
    run_checks(app, &text.parsed, &text.name, &check).await
}

/// Lists its stages, from the file alone.
pub fn targets(app: &App, call: Call, text: &Text) -> Outcome {
    if text.parsed.has_errors() {
        return Err(text.with_mistakes(&text.parsed.diagnostics));
    }
    let targets = plan::outline::targets(&text.parsed.dockerfile);
    if call.json {
        let document = call::targets_json(&targets, &text.parsed.source);
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        let shown = call::targets_text(&targets);
        app.printer.write_out(shown.as_bytes());
    }
    Ok(())
}

/// Lists what it takes from outside.
pub fn outline(
    app: &App,
    call: Call,
    options: &Options,
    text: &Text,
    graph: &Graph,
    bases: &Bases<'_>,
) -> Outcome {
    let known = |image: &ImageRequest| bases.config(image);
    let outline = plan::outline::outline(&text.parsed.dockerfile, graph, &options.args, &known);
    if call.json {
        let document = call::outline_json(&outline, &text.parsed.source);
        app.printer.line(serde_json::to_string_pretty(&document)?);
    } else {
        let shown = call::outline_text(&outline);
        app.printer.write_out(shown.as_bytes());
    }
    Ok(())
}
