//! What is wrong with a Dockerfile that nobody builds: its mistakes and violations, printed.

use builder::plan::args::platform_parts;
use builder::plan::graph::GraphOptions;
use builder::plan::mistakes::{Survey, base_images, survey};
use builder::plan::{BuildArgs, Consent, NamedContexts};
use clap::ValueEnum;
use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::ignore::IgnoreMatcher;
use dockerfile::lint::{self, UnknownBase};
use dockerfile::span::Span;
use oci::Platform;
use serde_json::Value;

use super::bases::Bases;
use super::contexts::Places;
use super::report;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::safe;

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// For people
    Text,
    /// For programs, in BuildKit's shape
    Json,
}

/// What is checked with what.
#[derive(Clone, Debug)]
pub struct Check {
    /// `--build-arg`
    pub build_args: BuildArgs,
    /// `--target`; without it all stages are checked.
    pub target: Option<String>,
    /// The platform built for.
    pub platform: Platform,
    /// The names given with `--build-context`.
    pub named: NamedContexts,
    /// What they were given to.
    pub places: Places,
    /// The context's ignore file.
    pub ignore: IgnoreMatcher,
    /// How violations are printed.
    pub format: Kind,
    /// Violations are no failure.
    pub ignore_status: bool,
    /// The Dockerfile's path, as it stands before excerpts of it.
    pub place: String,
}

/// What was found, which has been printed.
#[derive(Debug)]
pub struct Checked {
    /// For programs, in BuildKit's shape.
    pub document: Value,
    /// For people.
    pub text: String,
    /// Whether that is a failure.
    pub outcome: Outcome,
}

/// The rules that run, when the build argument BUILDKIT_DOCKERFILE_CHECK says it.
pub fn config_of(args: &BuildArgs) -> Result<Option<lint::Config>, Failure> {
    const NAME: &str = "BUILDKIT_DOCKERFILE_CHECK";
    let Some(text) = args.get(NAME) else {
        return Ok(None);
    };
    let config = lint::Config::parse(text);
    let config = config.map_err(|e| Failure::with_code(format!("--build-arg {NAME}: {e}"), 125))?;
    Ok(Some(config))
}

/// Checks a Dockerfile and prints what was found; violations are a failure.
pub async fn run_checks(
    app: &App,
    parsed: &Parsed,
    name: &str,
    check: &Check,
) -> Result<Checked, Failure> {
    let config = config_of(&check.build_args)?;
    let build = Platform::host();
    let graph = GraphOptions {
        target: check.target.as_deref().unwrap_or_default(),
        args: &check.build_args,
        build_platform: &build,
        target_platform: &check.platform,
        named: &check.named,
        consent: Consent::default(),
    };
    let images = base_images(&parsed.dockerfile, &graph);
    let bases = Bases::find(app, images, &graph, &check.places).await;
    let report = match parsed.has_errors() {
        true => lint::lint_text(parsed),
        false => lint::lint(
            parsed,
            &lint::Options {
                build_args: &check.build_args,
                target_platform: platform_parts(&check.platform),
                build_platform: platform_parts(&build),
                target: check.target.as_deref(),
                base_images: &|name, platform| bases.image(name, platform),
                unknown_base: UnknownBase::OnlyPath,
                ignore: Some(&check.ignore),
                config: config.as_ref(),
            },
        ),
    };
    let (_, mut errors) = survey(
        parsed,
        &Survey {
            options: &graph,
            config: &|image| bases.config(image),
            all_stages: check.target.is_none(),
            building: false,
        },
    );
    // What the checks could not expand is mostly what the planner cannot.
    let known: Vec<Span> = errors.iter().map(|d| d.span).collect();
    let own = report.diagnostics.iter().filter(|d| !is_rule(d));
    errors.extend(own.filter(|d| !known.contains(&d.span)).cloned());
    errors.sort_by_key(|d| (d.span.start, d.span.end));
    let refused = errors.iter().any(Diagnostic::is_error);
    let document = report::document(parsed, name, &report, &errors);
    let text = report::text(parsed, &check.place, &report);
    match check.format {
        Kind::Json => app.printer.line(serde_json::to_string_pretty(&document)?),
        Kind::Text if refused && !report.has_violations() => {}
        Kind::Text => app.printer.write_out(text.as_bytes()),
    }
    let warnings: Vec<Diagnostic> = parsed
        .diagnostics
        .iter()
        .filter(|d| !d.is_error())
        .cloned()
        .collect();
    if !warnings.is_empty() && check.format == Kind::Text {
        let shown = safe::render(&warnings, name, &parsed.source, app.printer.color());
        app.printer.note(shown);
    }
    if refused {
        let shown = safe::render(&errors, name, &parsed.source, app.printer.color());
        let what = if parsed.has_errors() {
            "parsed"
        } else {
            "built"
        };
        let failure = Failure::new(format!("{name} cannot be {what}")).at(shown);
        let outcome = Err(failure);
        return Ok(Checked {
            document,
            text,
            outcome,
        });
    }
    let outcome = match report.has_violations() && !check.ignore_status {
        // Told already.
        true => Err(Failure::with_code("", 1)),
        false => Ok(()),
    };
    Ok(Checked {
        document,
        text,
        outcome,
    })
}

fn is_rule(diagnostic: &Diagnostic) -> bool {
    matches!(diagnostic.code, Code::Rule(_))
}
