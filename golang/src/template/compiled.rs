//! A template from its text to what it makes of a value.

use serde_json::Value;

use super::mistake::TemplateError;
use super::types::Types;
use super::val::Val;
use super::{eval, lex, parse};

/// A template that was understood.
#[derive(Debug)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
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
        self.render_owned(data.clone(), types)
    }

    /// The same, of a value that nobody needs any more.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_owned(&self, data: Value, types: &Types) -> Result<String, TemplateError> {
        self.run(data, types, false)
    }

    /// The heading of a table: functions leave the names of columns as they are, and a column
    /// that has none shows `<no value>`.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn render_header(&self, headers: &Value) -> Result<String, TemplateError> {
        self.run(headers.clone(), &Types::default(), true)
    }

    fn run(&self, data: Value, types: &Types, header: bool) -> Result<String, TemplateError> {
        eval::Scope::run(&self.nodes, &Val::new(data), types, header)
            .map_err(|mistake| mistake.in_source(&self.source))
    }
}
