//! What the rules write to.

use super::config::Config;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::rule::Rule;
use crate::span::Span;

/// Collects what the rules that run have to say.
pub(super) struct Reporter {
    pub(super) config: Config,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Reporter {
    /// A violation of `rule` at `span`, with how to mend it.
    pub(super) fn report(
        &mut self,
        rule: Rule,
        span: Span,
        message: String,
        help: impl Into<String>,
    ) {
        if !self.config.runs(rule) {
            return;
        }
        let mut diagnostic = Diagnostic::warning(Code::Rule(rule), message, span).help(help);
        if self.config.error {
            diagnostic.severity = Severity::Error;
        }
        self.diagnostics.push(diagnostic);
    }

    /// Something that keeps a check from running.
    pub(super) fn error(&mut self, error: Diagnostic) {
        self.diagnostics.push(error);
    }
}
