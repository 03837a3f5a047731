//! The Dockerfile as text, for messages that show where something is wrong.

use dockerfile::diagnostic::{Code, Diagnostic};
use dockerfile::span::Span;
use dockerfile::stage::Stage;

use crate::failure::Failure;
use crate::frontend::bases::Bases;
use crate::reach;
use crate::term::safe;
use builder::context::{ContextError, Source};
use builder::files::FilesError;
use builder::plan::graph::GraphOptions;
use builder::plan::mistakes::{Survey, survey};
use builder::plan::{Graph, PlanError};
use builder::solve::error::{SolveError, StepError};

/// How much of a file is looked at for bytes that no text has.
const SNIFFED: usize = 8192;

/// A Dockerfile as it was written and as it was understood.
pub struct Text {
    /// As in messages.
    pub name: String,
    /// What it was understood as.
    pub parsed: dockerfile::Parsed,
    /// What parsing warned of.
    pub warnings: Vec<Diagnostic>,
    color: bool,
}

impl Text {
    /// Reads a Dockerfile, which may be full of mistakes.
    pub fn read(source: Source, color: bool) -> Result<Self, Failure> {
        if source.bytes.iter().take(SNIFFED).any(|b| *b == 0) {
            let text = format!("{} is neither a Dockerfile nor a tar archive", source.name);
            return Err(Failure::new(text));
        }
        let parsed = dockerfile::parse_bytes(&source.bytes);
        let warnings = parsed
            .diagnostics
            .iter()
            .filter(|d| !d.is_error())
            .cloned()
            .collect();
        Ok(Self {
            name: source.name,
            parsed,
            warnings,
            color,
        })
    }

    /// The plan of a Dockerfile without mistakes; else all of them are shown.
    pub fn graph(
        &self,
        options: &GraphOptions<'_>,
        bases: &Bases<'_>,
        building: bool,
    ) -> Result<Graph, Failure> {
        let (graph, found) = survey(
            &self.parsed,
            &Survey {
                options,
                config: &|image| bases.config(image),
                all_stages: false,
                building,
            },
        );
        graph.ok_or_else(|| self.with_mistakes(&found))
    }

    /// Mistakes, all of them.
    pub fn with_mistakes(&self, found: &[Diagnostic]) -> Failure {
        let shown = self.render(found);
        let what = if self.parsed.has_errors() {
            "parsed"
        } else {
            "built"
        };
        Failure::new(format!("{} cannot be {what}", self.name)).at(shown)
    }

    /// Build checks stop the build.
    pub fn violated(&self, found: &[Diagnostic]) -> Failure {
        let violation = found.iter().any(|d| matches!(d.code, Code::Rule(_)));
        let what = match violation {
            true => "violates its build checks",
            false => "cannot be built",
        };
        Failure::new(format!("{} {what}", self.name)).at(self.render(found))
    }

    pub fn render(&self, diagnostics: &[Diagnostic]) -> String {
        safe::render(diagnostics, &self.name, &self.parsed.source, self.color)
    }

    /// The Dockerfile cannot be built.
    pub fn refused(&self, error: &PlanError) -> Failure {
        let shown = self.render(&error.0);
        Failure::new(format!("{} cannot be built", self.name)).at(shown)
    }

    /// A build that failed.
    pub fn failed(&self, error: &SolveError) -> Failure {
        match error {
            SolveError::Plan(error) => self.refused(error),
            SolveError::Unplanned => Failure::new(format!("failed to solve: {error}")),
            SolveError::Step { span, cause } => {
                let code = cause.exit_code();
                if matches!(cause, StepError::Cancelled) {
                    return Failure::with_code(cause, code).canceled();
                }
                if *span == Span::default() {
                    return Failure::with_code(format!("failed to solve: {cause}"), code);
                }
                let at = Diagnostic::error(Code::BuildFailed, cause.to_string(), *span);
                let at = match self.help(cause, *span) {
                    Some(help) => at.help(help),
                    None => at,
                };
                let shown = self.render(&[at]);
                Failure::with_code(format!("failed to solve: {cause}"), code).at(shown)
            }
        }
    }

    /// How to mend a step that failed, where that is known; `span` is its place.
    fn help(&self, error: &StepError, span: Span) -> Option<String> {
        let written = span.text(&self.parsed.source);
        match error {
            StepError::Files(FilesError::NotFound { .. }) if leaves_context(written) => Some(
                "`..` cannot leave the context: build with a folder above as the context, or give \
                 the files with --build-context NAME=FOLDER and COPY --from=NAME"
                    .to_owned(),
            ),
            StepError::Image(_) => {
                let written = named_source(written);
                let stages = self.parsed.dockerfile.stages.iter();
                let names: Vec<String> = stages.filter_map(Stage::name).collect();
                let names = names.iter().map(String::as_str);
                match dockerfile::suggest::closest(written, names, true) {
                    Some(close) => Some(format!("did you mean the stage {close}?")),
                    None => help(error),
                }
            }
            error => help(error),
        }
    }
}

/// The image or stage that an instruction names: after `--from=`, in the options of a mount, or as
/// it is.
fn named_source(written: &str) -> &str {
    let mut options = written.trim_start_matches("--").split(',');
    let from = options.find_map(|option| option.trim().strip_prefix("from="));
    from.unwrap_or(written)
}

/// How to mend a step that failed, where that is known.
fn help(error: &StepError) -> Option<String> {
    match error {
        StepError::Files(FilesError::NotFound {
            similar: Some(similar),
            ..
        }) => Some(format!("did you mean {similar}?")),
        StepError::Files(FilesError::NotFound { .. }) => {
            Some("sources are paths in the build context (or in what --from names)".to_owned())
        }
        StepError::Image(error) => reach::help(error),
        StepError::Files(FilesError::Ignored(_)) => {
            Some("take it back in with a line that begins with ! in the ignore file".to_owned())
        }
        _ => None,
    }
}

/// Whether a source of a COPY, as it is written, steps out of the context.
fn leaves_context(instruction: &str) -> bool {
    let quotes = |c: char| matches!(c, '"' | '\'' | '[' | ']' | ',');
    instruction.split_whitespace().any(|word| {
        let mut depth = 0;
        word.trim_matches(quotes).split('/').any(|part| {
            match part {
                "" | "." => {}
                ".." => depth -= 1,
                _ => depth += 1,
            }
            depth < 0
        })
    })
}

/// A context that is not there may have been meant as a command.
pub fn meant_a_command(commands: &[String], context: &str, error: ContextError) -> Failure {
    let names = commands.iter().map(String::as_str);
    match (&error, dockerfile::suggest::closest(context, names, true)) {
        (ContextError::NotFound(_), Some(command)) => Failure::new(format!(
            "{error}; did you mean the command `rbuild {command}`?"
        )),
        _ => without_context(error),
    }
}

/// There is no context: an ignore file is shown where it is wrong.
pub fn without_context(error: ContextError) -> Failure {
    let excerpt = match &error {
        ContextError::Ignore { excerpt, .. } => Some(excerpt.clone()),
        _ => None,
    };
    let failure: Failure = error.into();
    match excerpt {
        Some(excerpt) => failure.at(excerpt),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_step_out_of_the_context_are_told() {
        for (instruction, out) in [
            ("COPY ../x /", true),
            ("COPY a/../../x /", true),
            ("COPY [\"../x\", \"/\"]", true),
            ("COPY ./.. /", true),
            ("COPY a/../x /", false),
            ("COPY ..x /", false),
            ("COPY x /", false),
        ] {
            assert_eq!(leaves_context(instruction), out, "{instruction}");
        }
    }
}
