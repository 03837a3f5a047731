//! `rbuild lint`, `rbuild build --check`

use std::collections::{BTreeMap, HashMap};

use clap::{Args, ValueEnum};
use dockerfile::Parsed;
use dockerfile::diagnostic::{Code, Diagnostic, render_all};
use dockerfile::lint::{self, BaseImage, Report, UnknownBase};
use dockerfile::span::LineIndex;
use oci::{ImageConfig, Platform};
use serde_json::{Value, json};

use super::app::App;
use super::{Failure, Outcome};
use crate::context;

/// `rbuild lint`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild lint                         the Dockerfile in this folder
  rbuild lint -f docker/Dockerfile .
  rbuild lint --format json | jq '.warnings[].ruleName'

A comment `# check=skip=JSONArgsRecommended` at the top of a Dockerfile leaves a check out;
`# check=error=true` makes violations fail builds.")]
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
    pub build_args: Vec<(String, String)>,
    /// `--target`
    pub target: Option<String>,
    /// The platform built for.
    pub platform: Platform,
    /// How violations are printed.
    pub format: Kind,
}

/// Runs the command.
pub async fn run(app: &App, args: LintArgs) -> Outcome {
    let (at, file) = (args.context.clone(), args.file.clone());
    let opened = context::open(at, file).await;
    let (_context, source) = opened?;
    let parsed = dockerfile::parse_bytes(&source.bytes);
    let build_args = args
        .build_args
        .iter()
        .filter_map(|arg| match arg.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((arg.clone(), std::env::var(arg).ok()?)),
        });
    let check = Check {
        build_args: build_args.collect(),
        target: args.target,
        platform: Platform::host(),
        format: args.format,
    };
    run_checks(app, &parsed, &source.name, &check).await
}

/// Checks a Dockerfile and prints what was found; violations are a failure.
pub async fn run_checks(app: &App, parsed: &Parsed, name: &str, check: &Check) -> Outcome {
    if parsed.has_errors() {
        let shown = render_all(
            &parsed.diagnostics,
            name,
            &parsed.source,
            app.printer.color(),
        );
        return Err(Failure::new(format!("{name} cannot be parsed")).at(shown));
    }
    let bases = known_bases(app, parsed).await;
    let build = Platform::host();
    let target = check.target.as_deref();
    let variables: BTreeMap<String, String> = check.build_args.iter().cloned().collect();
    let report = lint::lint(
        parsed,
        &lint::Options {
            build_args: &variables,
            target_platform: &check.platform.to_string(),
            build_platform: &build.to_string(),
            target,
            base_images: &|name| bases.get(name).cloned(),
            unknown_base: UnknownBase::Anything,
            ..lint::Options::default()
        },
    );
    match check.format {
        Kind::Json => {
            let document = serde_json::to_string_pretty(&document(parsed, name, &report))?;
            app.printer.line(document);
        }
        Kind::Text => app
            .printer
            .write_out(text(parsed, name, &report).as_bytes()),
    }
    let errors: Vec<Diagnostic> = report
        .diagnostics
        .iter()
        .filter(|d| !matches!(d.code, Code::Rule(_)))
        .cloned()
        .collect();
    if !errors.is_empty() {
        let shown = render_all(&errors, name, &parsed.source, app.printer.color());
        return Err(Failure::new(format!("{name} could not be checked whole")).at(shown));
    }
    match report.has_violations() {
        // Told already.
        true => Err(Failure::with_code("", 1)),
        false => Ok(()),
    }
}

/// What the store knows about the base images that are named without variables.
async fn known_bases(app: &App, parsed: &Parsed) -> HashMap<String, BaseImage> {
    let mut known = HashMap::new();
    // No store is made for this, and one that cannot be used only means to know less.
    let Some(store) = app.existing_store().await else {
        return known;
    };
    for stage in &parsed.dockerfile.stages {
        let name = stage.base.as_str();
        let Ok(image) = store.resolve(name).await else {
            continue;
        };
        let bytes = store.config(&image.id).await.unwrap_or_default();
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&bytes) else {
            continue;
        };
        let platform = Some(config.platform().to_string());
        let config = config.config.unwrap_or_default();
        let pairs = config.env.iter().filter_map(|pair| pair.split_once('='));
        let base = BaseImage {
            env: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            has_shell: config.shell.is_some(),
            onbuild: config.on_build,
            platform,
        };
        known.insert(name.to_owned(), base);
    }
    known
}

/// The first and last line of a diagnostic.
fn lines(index: &LineIndex, diagnostic: &Diagnostic) -> (usize, usize) {
    let last = diagnostic.span.end.saturating_sub(1);
    let last = last.max(diagnostic.span.start);
    (index.line(diagnostic.span.start), index.line(last))
}

/// Violations as `docker build --check` prints them.
fn text(parsed: &Parsed, name: &str, report: &Report) -> String {
    let index = LineIndex::new(&parsed.source);
    let count = report.rules().count();
    let mut out = match count {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        n => format!("Check complete, {n} warnings have been found!\n"),
    };
    for diagnostic in &report.diagnostics {
        let Code::Rule(rule) = diagnostic.code else {
            continue;
        };
        out.push_str(&format!("\nWARNING: {}", rule.name()));
        if let Some(url) = &diagnostic.url {
            out.push_str(&format!(" - {url}"));
        }
        out.push_str(&format!("\n{}\n\n", diagnostic.message));
        let (first, last) = lines(&index, diagnostic);
        out.push_str(&excerpt(&parsed.source, name, first, last));
    }
    out
}

/// The lines with those around them, as BuildKit shows a place in a Dockerfile.
fn excerpt(source: &str, name: &str, first: usize, last: usize) -> String {
    const RULE: &str = "--------------------";
    let around = if first == last { 2 } else { 1 };
    let from = first.saturating_sub(around).max(1);
    let mut out = format!("{name}:{first}\n{RULE}\n");
    let shown = source.lines().enumerate().skip(from - 1);
    for (n, line) in shown.map(|(n, line)| (n + 1, line)) {
        if n > last + around {
            break;
        }
        let mark = if (first..=last).contains(&n) {
            ">>>"
        } else {
            "   "
        };
        out.push_str(format!("{n:4} | {mark} {line}").trim_end());
        out.push('\n');
    }
    out.push_str(RULE);
    out.push('\n');
    out
}

/// Violations as `docker build --call=lint,format=json` prints them.
fn document(parsed: &Parsed, name: &str, report: &Report) -> Value {
    let index = LineIndex::new(&parsed.source);
    let warnings: Vec<Value> = report
        .diagnostics
        .iter()
        .filter_map(|diagnostic| {
            let Code::Rule(rule) = diagnostic.code else {
                return None;
            };
            let (first, last) = lines(&index, diagnostic);
            Some(json!({
                "ruleName": rule.name(),
                "description": rule.description(),
                "url": diagnostic.url,
                "detail": diagnostic.message,
                "location": {
                    "sourceIndex": 0,
                    "ranges": [{
                        "start": {"line": first, "character": 0},
                        "end": {"line": last, "character": 0},
                    }],
                },
            }))
        })
        .collect();
    json!({
        "warnings": warnings,
        "sources": [{"filename": name, "language": "Dockerfile"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: &str) -> (Parsed, Report) {
        let parsed = dockerfile::parse(source);
        let report = lint::lint(&parsed, &lint::Options::default());
        (parsed, report)
    }

    #[test]
    fn violations_are_shown_as_docker_shows_them() {
        let (parsed, found) = report("FROM alpine\n\nMAINTAINER me\nRUN true\nCMD echo hi\n");
        insta::assert_snapshot!(text(&parsed, "Dockerfile", &found), @r"
        Check complete, 2 warnings have been found!

        WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
        Maintainer instruction is deprecated in favor of using label

        Dockerfile:3
        --------------------
           1 |     FROM alpine
           2 |
           3 | >>> MAINTAINER me
           4 |     RUN true
           5 |     CMD echo hi
        --------------------

        WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
        JSON arguments recommended for CMD to prevent unintended behavior related to OS signals

        Dockerfile:5
        --------------------
           3 |     MAINTAINER me
           4 |     RUN true
           5 | >>> CMD echo hi
        --------------------
        ");
        let document = document(&parsed, "Dockerfile", &found);
        assert_eq!(document["warnings"][0]["ruleName"], "MaintainerDeprecated");
        assert_eq!(
            document["warnings"][0]["location"]["ranges"][0]["start"]["line"],
            3
        );
    }

    #[test]
    fn a_clean_file_has_nothing_to_tell() {
        let (parsed, found) = report("FROM alpine\nRUN true\n");
        assert_eq!(
            text(&parsed, "Dockerfile", &found),
            "Check complete, no warnings found.\n"
        );
    }
}
