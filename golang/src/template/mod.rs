//! Go's text/template, as far as docker's `--format` is used with it, and docker's functions.
//!
//! - [`lex`]: text and the words of its actions
//! - [`parse`]: words to a tree
//! - [`eval`]: the tree and a JSON value to text
//! - [`funcs`]: `json`, `join`, `printf`, `eq`, …
//! - [`show`]: values as Go prints them
//!
//! Not in: `define`, `template`, `block`, `html`, `js`, `urlquery` and `call`; they are refused.

mod eval;
mod funcs;
mod lex;
mod parse;
mod show;

#[cfg(test)]
mod tests;

use serde_json::Value;

/// A template that was understood.
#[derive(Debug)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {message}{}", pointer(.template, *.offset))]
pub struct TemplateError {
    message: String,
    template: String,
    offset: usize,
}

/// The line of the template with a caret below the place.
fn pointer(source: &str, offset: usize) -> String {
    let before = source.get(..offset).unwrap_or(source);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = source.get(start..).and_then(|rest| rest.lines().next());
    let column = before.get(start..).map_or(0, |text| text.chars().count());
    let line = line.unwrap_or_default().replace('\t', " ");
    format!("\n  {line}\n  {:column$}^", "")
}

/// A mistake with its place, before it is known in which source.
#[derive(Clone, Debug)]
struct Mistake {
    message: String,
    offset: usize,
}

impl Mistake {
    fn new(message: impl Into<String>, offset: usize) -> Self {
        Self {
            message: message.into(),
            offset,
        }
    }

    fn in_source(self, source: &str) -> TemplateError {
        TemplateError {
            message: self.message,
            template: source.to_owned(),
            offset: self.offset,
        }
    }
}

/// What Go would know by type and JSON does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Types {
    /// Fields that hold maps: a key that is not there is no mistake.
    pub maps: &'static [&'static str],
    /// Fields that hold lists: `null` is an empty one.
    pub lists: &'static [&'static str],
    /// Fields that JSON leaves out when they are the empty text.
    pub texts: &'static [&'static str],
    /// Fields that JSON leaves out when they are nil.
    pub pointers: &'static [&'static str],
}

impl Template {
    /// Understands a template.
    ///
    /// # Errors
    /// [`TemplateError`], pointing at the place.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let nodes = lex::lex(source)
            .and_then(|pieces| parse::parse(&pieces))
            .map_err(|mistake| mistake.in_source(source))?;
        Ok(Self {
            source: source.to_owned(),
            nodes,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text that the template makes of a value.
    ///
    /// # Errors
    /// [`TemplateError`] when the value lacks what is asked for.
    pub fn render(&self, data: &Value, types: &Types) -> Result<String, TemplateError> {
        self.run(data, types, false)
    }

    /// The heading of a table: functions leave the names of columns as they are, and a column
    /// that has none shows `<no value>`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn render_header(&self, headers: &Value) -> Result<String, TemplateError> {
        self.run(headers, &Types::default(), true)
    }

    fn run(&self, data: &Value, types: &Types, header: bool) -> Result<String, TemplateError> {
        eval::Scope::run(&self.nodes, data, types, header)
            .map_err(|mistake| mistake.in_source(&self.source))
    }
}
