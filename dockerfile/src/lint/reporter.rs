//! What the rules write to.

use super::config::Config;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::parser::Ast;
use crate::rule::Rule;
use crate::span::Span;

/// Collects what the rules that run have to say.
pub(super) struct Reporter {
    config: Config,
    /// The instructions with options of their own, comments above included, in order of place.
    own: Vec<(Span, Config)>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Reporter {
    /// Reports what the file's options let run, and on an instruction with comments `check=`
    /// above it what those add.
    pub(super) fn new(config: Config, ast: &Ast) -> Self {
        let mut own = Vec::new();
        let mut diagnostics = Vec::new();
        for node in &ast.nodes {
            let mut options: Option<Config> = None;
            for comment in &node.comments {
                match Config::from_comment(&comment.text) {
                    None => {}
                    Some(Ok(more)) => {
                        options = Some(options.as_ref().unwrap_or(&config).and(&more));
                    }
                    Some(Err(error)) => diagnostics.push(
                        Diagnostic::warning(Code::InvalidCheck, error.to_string(), comment.span)
                            .help("write # check=skip=RULE,RULE, without spaces"),
                    ),
                }
            }
            if let (Some(options), Some(first)) = (options, node.comments.first()) {
                own.push((first.span.join(node.span), options));
            }
        }
        Self {
            config,
            own,
            diagnostics,
        }
    }

    /// Whether a violation fails the build, as the file has it.
    pub(super) fn fails(&self) -> bool {
        self.config.error
    }

    /// The options in force at a place.
    pub(super) fn config_at(&self, span: Span) -> &Config {
        let after = self.own.partition_point(|(own, _)| own.start <= span.start);
        match after.checked_sub(1).map(|index| &self.own[index]) {
            Some((own, config)) if span.start < own.end => config,
            _ => &self.config,
        }
    }

    /// A violation of `rule` at `span`, with how to mend it.
    pub(super) fn report(
        &mut self,
        rule: Rule,
        span: Span,
        message: String,
        help: impl Into<String>,
    ) {
        let config = self.config_at(span);
        if !config.runs(rule) {
            return;
        }
        let fails = config.error;
        let mut diagnostic = Diagnostic::warning(Code::Rule(rule), message, span).help(help);
        if fails {
            diagnostic.severity = Severity::Error;
        }
        self.diagnostics.push(diagnostic);
    }

    /// Something that keeps a check from running.
    pub(super) fn error(&mut self, error: Diagnostic) {
        self.diagnostics.push(error);
    }
}
