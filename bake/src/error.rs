//! What is wrong with a definition, and where.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};

use crate::source::{Definition, Span, line_and_column};

/// A mistake, before it is known what the file is called and how it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// Where, unless it is in no file.
    pub at: Option<Span>,
}

impl Mistake {
    /// A mistake at a place.
    pub fn at(at: Span, message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            at: Some(at),
        }
    }

    /// A mistake that no line of a file shows.
    pub fn nowhere(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            at: None,
        }
    }

    /// The same with its place, if it had none.
    pub fn or_at(mut self, at: Span) -> Self {
        self.at.get_or_insert(at);
        self
    }

    /// The mistake with the lines around it.
    pub fn told(self, files: &[Definition]) -> BakeError {
        let Some(span) = self.at else {
            return BakeError::Wrong(self.message);
        };
        let Some(file) = files.get(span.file) else {
            return BakeError::Wrong(self.message);
        };
        BakeError::At {
            place: place(file, span),
            excerpt: Box::new(Excerpt::of(file, span, &self.message)),
            message: self.message,
        }
    }
}

/// `FILE:LINE,COLUMN-COLUMN`, as HCL's own messages have it.
fn place(file: &Definition, span: Span) -> String {
    let (line, column) = line_and_column(&file.text, span.start);
    let (last_line, last_column) = line_and_column(&file.text, span.end);
    let name = &file.name;
    match line == last_line {
        true => format!("{name}:{line},{column}-{last_column}"),
        false => format!("{name}:{line},{column}-{last_line},{last_column}"),
    }
}

/// Why a definition cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BakeError {
    /// Something is wrong at a place.
    #[error("{place}: {message}")]
    At {
        /// File, line and columns.
        place: String,
        /// What is wrong.
        message: String,
        /// The lines, to be shown before the message.
        excerpt: Box<Excerpt>,
    },
    /// Something is wrong with no place, as a target that nothing defines.
    #[error("{0}")]
    Wrong(String),
}

impl BakeError {
    /// The lines that it is about, with carets under the place.
    pub fn excerpt(&self, color: bool) -> Option<String> {
        match self {
            Self::At { excerpt, .. } => Some(excerpt.render(color)),
            Self::Wrong(_) => None,
        }
    }
}

/// A line of a file and its neighbours, with a place in them.
#[derive(Clone, Debug)]
pub struct Excerpt {
    file: String,
    message: String,
    first_line: usize,
    text: String,
    place: Range<usize>,
}

/// Lines that are shown before and after the one that is meant.
const AROUND: usize = 1;

impl Excerpt {
    fn of(file: &Definition, span: Span, message: &str) -> Self {
        let (line, _) = line_and_column(&file.text, span.start);
        let first = line.saturating_sub(AROUND).max(1);
        let lines = file.text.split_inclusive('\n');
        let before: usize = lines.clone().take(first - 1).map(str::len).sum();
        let shown: String = lines
            .skip(first - 1)
            .take(line - first + 1 + AROUND)
            .collect();
        let inside = |at: usize| {
            let at = at.saturating_sub(before).min(shown.len());
            (0..=at).rev().find(|at| shown.is_char_boundary(*at))
        };
        let start = inside(span.start).unwrap_or_default();
        let end = inside(span.end).unwrap_or_default().max(start);
        Self {
            file: file.name.clone(),
            message: message.to_owned(),
            first_line: first,
            place: start..end,
            text: shown,
        }
    }

    fn render(&self, color: bool) -> String {
        let renderer = match color {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let title = Level::ERROR.with_name("ERROR");
        let snippet = Snippet::source(self.text.as_str())
            .line_start(self.first_line)
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(self.place.clone()));
        let group = Group::with_title(title.primary_title(self.message.as_str())).element(snippet);
        renderer
            .decor_style(DecorStyle::Ascii)
            .render(&[group])
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line_and_a_caret() {
        let file = Definition {
            name: "docker-bake.hcl".to_owned(),
            text: "target \"a\" {\n  tags = [nope]\n}\n".to_owned(),
        };
        let span = Span {
            file: 0,
            start: 23,
            end: 27,
        };
        let error = Mistake::at(span, "no variable").told(&[file]);
        assert_eq!(error.to_string(), "docker-bake.hcl:2,11-15: no variable");
        let excerpt = error.excerpt(false).unwrap();
        assert!(excerpt.contains(" --> docker-bake.hcl:2:11\n"), "{excerpt}");
        assert!(excerpt.contains("2 |   tags = [nope]\n"), "{excerpt}");
        assert!(excerpt.contains("  |           ^^^^"), "{excerpt}");
    }

    #[test]
    fn places_beyond_the_end_are_shown_at_the_end() {
        let file = Definition {
            name: "x".to_owned(),
            text: "é".to_owned(),
        };
        let span = Span {
            file: 0,
            start: 1,
            end: 400,
        };
        assert!(Mistake::at(span, "m").told(&[file]).excerpt(true).is_some());
    }
}
