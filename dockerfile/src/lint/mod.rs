//! Build checks: BuildKit's rules, with their names, messages and addresses.
//!
//! Some rules look at the text alone; others need values, and replay ARG and ENV through the
//! stages with what the caller knows about build arguments and base images.

mod config;
mod file;
mod image_name;
mod instructions;
mod options;
mod reporter;
mod stages;

use crate::build::Parsed;
use crate::diagnostic::{Code, Diagnostic};
use reporter::Reporter;

pub use crate::rule::Rule;
pub use config::{Config, ConfigError};
pub use instructions::names_a_secret;
pub use options::{BaseImage, BaseImages, Options, UnknownBase};

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Violations, warnings or, with `error=true`, errors; and errors that kept a check from
    /// running (a malformed `# check=`, a word that cannot be expanded). In order of place.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether `# check=error=true` makes violations fail the build.
    pub error_on_violation: bool,
}

impl Report {
    /// The rules that were violated, with repetitions, in order of place.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        self.diagnostics
            .iter()
            .filter_map(|diagnostic| match diagnostic.code {
                Code::Rule(rule) => Some(rule),
                _ => None,
            })
    }

    /// Whether any rule was violated.
    pub fn has_violations(&self) -> bool {
        self.rules().next().is_some()
    }

    /// Whether the build must not go on.
    pub fn fails_build(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Runs the checks on a parsed file.
pub fn lint(parsed: &Parsed, options: &Options<'_>) -> Report {
    let mut diagnostics = Vec::new();
    let config = match (options.config, &parsed.ast.directives.check) {
        (Some(config), _) => config.clone(),
        (None, None) => Config::default(),
        (None, Some(value)) => Config::from_directive(&value.text).unwrap_or_else(|error| {
            diagnostics.push(
                Diagnostic::error(Code::InvalidCheck, error.to_string(), value.span)
                    .help("write # check=skip=RULE,RULE;error=true, without spaces"),
            );
            Config::default()
        }),
    };
    let mut reporter = Reporter::new(config, &parsed.ast);
    reporter.diagnostics.append(&mut diagnostics);
    file::check(parsed, &mut reporter);
    stages::check(&parsed.dockerfile, options, &mut reporter);
    let error_on_violation = reporter.fails();
    let mut diagnostics = reporter.diagnostics;
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    Report {
        diagnostics,
        error_on_violation,
    }
}

/// The checks that look at the text alone, on a file that is refused: what came before its first
/// error.
pub fn lint_text(parsed: &Parsed) -> Report {
    let directive = parsed.ast.directives.check.as_ref();
    let config = directive.and_then(|value| Config::from_directive(&value.text).ok());
    let mut reporter = Reporter::new(config.unwrap_or_default(), &parsed.ast);
    let error_on_violation = reporter.fails();
    file::check(parsed, &mut reporter);
    let errors = parsed.diagnostics.iter().filter(|d| d.is_error());
    let first = errors.map(|d| d.span.start).min().unwrap_or(usize::MAX);
    let mut diagnostics = reporter.diagnostics;
    // The majority of keywords is not known yet.
    let casing = Code::Rule(Rule::ConsistentInstructionCasing);
    diagnostics.retain(|d| d.span.start <= first && d.code != casing);
    diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
    Report {
        diagnostics,
        error_on_violation,
    }
}
