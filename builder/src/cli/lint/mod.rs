//! `rbuild lint`, `rbuild build --check`

pub mod report;

use clap::{Args, ValueEnum};
use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, Diagnostic, render_all};
use dockerfile::ignore::IgnoreMatcher;
use dockerfile::lint::{self, UnknownBase};
use dockerfile::span::Span;
use oci::Platform;

use super::app::App;
use super::bases::Bases;
use super::build::text::without_context;
use super::{Failure, Outcome};
use crate::context;
use crate::plan::graph::GraphOptions;
use crate::plan::mistakes::{base_images, mistakes};
use crate::plan::{BuildArgs, NamedContexts};

/// `rbuild lint`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild lint                         the Dockerfile in this folder
  rbuild lint -f docker/Dockerfile .
  rbuild lint --format json | jq '.warnings[].ruleName'

A comment `# check=skip=JSONArgsRecommended` at the top of a Dockerfile leaves a check out;
`# check=error=true` makes violations fail builds. A base image that was not pulled counts as one that
sets no variable but PATH.")]
pub struct LintArgs {
    /// The build context: a folder, or `-` for a Dockerfile on standard input
    #[arg(value_name = "PATH | -", default_value = ".")]
    pub context: String,

    /// The Dockerfile [default: PATH/Dockerfile]; `-` reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<String>,

    /// Set a build argument; without `=VALUE` the value comes from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub build_args: Vec<String>,

    /// Check only what this stage needs
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// How violations are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Kind,
}

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
    /// The context's ignore file.
    pub ignore: IgnoreMatcher,
    /// How violations are printed.
    pub format: Kind,
    /// Violations are no failure.
    pub ignore_status: bool,
}

/// Runs the command.
pub async fn run(app: &App, args: LintArgs) -> Outcome {
    let (at, file) = (args.context.clone(), args.file.clone());
    let opened = context::open(at, file).await;
    let (context, source) = opened.map_err(without_context)?;
    let parsed = dockerfile::parse_bytes(&source.bytes);
    let build_args = args
        .build_args
        .iter()
        .filter_map(|arg| match arg.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((arg.clone(), std::env::var(arg).ok()?)),
        });
    let check = Check {
        build_args: BuildArgs::new(build_args),
        target: args.target,
        platform: Platform::host(),
        named: NamedContexts::default(),
        ignore: context.filter.matcher().clone(),
        format: args.format,
        ignore_status: false,
    };
    run_checks(app, &parsed, &source.name, &check).await
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
pub async fn run_checks(app: &App, parsed: &Parsed, name: &str, check: &Check) -> Outcome {
    let config = config_of(&check.build_args)?;
    let build = Platform::host();
    let graph = GraphOptions {
        target: check.target.as_deref().unwrap_or_default(),
        args: &check.build_args,
        build_platform: &build,
        target_platform: &check.platform,
        named: &check.named,
    };
    let (report, errors) = if parsed.has_errors() {
        let mut errors: Vec<Diagnostic> = parsed.diagnostics.clone();
        let found = mistakes(&parsed.dockerfile, &graph, &|_| None);
        errors.extend(found.instructions);
        (lint::lint_text(parsed), errors)
    } else {
        let bases = Bases::find(app, &base_images(&parsed.dockerfile, &graph)).await;
        let options = lint::Options {
            build_args: &check.build_args,
            target_platform: &check.platform.to_string(),
            build_platform: &build.to_string(),
            target: check.target.as_deref(),
            base_images: &|name| bases.image(name),
            unknown_base: UnknownBase::OnlyPath,
            ignore: Some(&check.ignore),
            config: config.as_ref(),
        };
        let report = lint::lint(parsed, &options);
        let own = report.diagnostics.iter();
        let mut errors: Vec<Diagnostic> = own.filter(|d| !is_rule(d)).cloned().collect();
        let found = mistakes(&parsed.dockerfile, &graph, &|name| bases.config(name)).all();
        // What cannot be expanded was told by the checks already.
        let known: Vec<Span> = errors.iter().map(|d| d.span).collect();
        errors.extend(found.into_iter().filter(|d| !known.contains(&d.span)));
        (report, errors)
    };
    let mut errors = errors;
    // What this builder does not carry out is right all the same.
    errors.retain(|d| d.code != Code::CannotBuild);
    errors.sort_by_key(|d| (d.span.start, d.span.end));
    let refused = errors.iter().any(Diagnostic::is_error);
    match check.format {
        Kind::Json => {
            let document = report::document(parsed, name, &report, &errors);
            app.printer.line(serde_json::to_string_pretty(&document)?);
        }
        Kind::Text if refused && !report.has_violations() => {}
        Kind::Text => app
            .printer
            .write_out(report::text(parsed, name, &report).as_bytes()),
    }
    if refused {
        let shown = render_all(&errors, name, &parsed.source, app.printer.color());
        let what = if parsed.has_errors() {
            "parsed"
        } else {
            "built"
        };
        return Err(Failure::new(format!("{name} cannot be {what}")).at(shown));
    }
    match report.has_violations() && !check.ignore_status {
        // Told already.
        true => Err(Failure::with_code("", 1)),
        false => Ok(()),
    }
}

fn is_rule(diagnostic: &Diagnostic) -> bool {
    matches!(diagnostic.code, Code::Rule(_))
}
