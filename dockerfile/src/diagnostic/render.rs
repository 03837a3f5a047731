//! Diagnostics as people read them.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};

use super::code::Severity;
use super::message::Diagnostic;
use crate::span::{LineIndex, Span};

/// The diagnostic with file, line and column, the source around it and carets under the place.
/// `color` adds terminal escapes. No newline at the end.
pub fn render(diagnostic: &Diagnostic, file: &str, source: &str, color: bool) -> String {
    render_indexed(diagnostic, file, source, &LineIndex::new(source), color)
}

fn render_indexed(
    diagnostic: &Diagnostic,
    file: &str,
    source: &str,
    index: &LineIndex,
    color: bool,
) -> String {
    let level = match diagnostic.severity {
        // As they are written everywhere else: one word for one thing.
        Severity::Warning => Level::WARNING.with_name("WARNING"),
        Severity::Error => Level::ERROR.with_name("ERROR"),
    };
    let mut title = level
        .primary_title(harmless(&diagnostic.message))
        .id(diagnostic.code.name());
    if let Some(url) = &diagnostic.url {
        title = title.id_url(url.as_str());
    }
    let window = Window::around(diagnostic, source, index);
    let mut snippet = Snippet::source(harmless(window.text))
        .line_start(window.line)
        .path(file)
        .annotation(AnnotationKind::Primary.span(window.place(diagnostic.span, source)));
    // The renderer makes room for the numbers of lines with carets only.
    let digits = |at: usize| index.line(at).to_string().len();
    let room = digits(visible(diagnostic.span, source).start);
    for line in neighbours(diagnostic.span, source) {
        if digits(line.start) > room {
            continue;
        }
        snippet = snippet.annotation(AnnotationKind::Visible.span(window.place(line, source)));
    }
    for note in &diagnostic.notes {
        let place = window.place(note.span, source);
        snippet = snippet.annotation(
            AnnotationKind::Context
                .span(place)
                .label(harmless(&note.label)),
        );
    }
    let mut group = Group::with_title(title).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(harmless(help)));
    }
    if let Some(url) = &diagnostic.url {
        group = group.element(Level::NOTE.message(format!("see {url}")));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer
        .decor_style(DecorStyle::Ascii)
        .render(&[group])
        .to_string()
}

/// The part of a source that a message shows; handing over all of a large file for each of many
/// messages would take for ever.
struct Window<'s> {
    text: &'s str,
    /// Offset of the text in the source.
    start: usize,
    /// Number of its first line.
    line: usize,
}

impl<'s> Window<'s> {
    fn around(diagnostic: &Diagnostic, source: &'s str, index: &LineIndex) -> Self {
        let mut places = neighbours(diagnostic.span, source);
        places.push(diagnostic.span);
        places.extend(diagnostic.notes.iter().map(|note| note.span));
        let mut start = source.len();
        let mut end = 0;
        for place in places {
            let place = visible(place, source);
            let line_start = source[..place.start]
                .rfind('\n')
                .map_or(0, |newline| newline + 1);
            let rest = &source[place.end..];
            let line_end = place.end + rest.find('\n').map_or(rest.len(), |newline| newline + 1);
            start = start.min(line_start);
            end = end.max(line_end);
        }
        let line = index.line(start);
        Self {
            text: &source[start..end.max(start)],
            start,
            line,
        }
    }

    fn place(&self, span: Span, source: &str) -> std::ops::Range<usize> {
        let place = visible(span, source);
        place.start - self.start..place.end - self.start
    }
}

/// The text without the control characters that the renderer lets through, which some terminals
/// obey; what replaces them is as long, so that places stay right.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if text.contains(is_control) {
        Cow::Owned(text.replace(is_control, "·"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Lines shown above and below the one that is meant.
const CONTEXT_LINES: usize = 2;

/// The lines around the one that `span` starts on.
fn neighbours(span: Span, source: &str) -> Vec<Span> {
    let at = visible(span, source).start;
    let own_start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let mut lines = Vec::new();
    let mut start = own_start;
    for _ in 0..CONTEXT_LINES {
        let Some(end) = start.checked_sub(1) else {
            break;
        };
        start = source[..end].rfind('\n').map_or(0, |newline| newline + 1);
        lines.push(Span::at(start));
    }
    let mut rest = source[at..].find('\n').map(|newline| at + newline + 1);
    for _ in 0..CONTEXT_LINES {
        let Some(start) = rest.filter(|start| *start < source.len()) else {
            break;
        };
        lines.push(Span::at(start));
        rest = source[start..]
            .find('\n')
            .map(|newline| start + newline + 1);
    }
    lines
}

/// Several diagnostics, a blank line between them.
pub fn render_all(diagnostics: &[Diagnostic], file: &str, source: &str, color: bool) -> String {
    let index = LineIndex::new(source);
    let rendered: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| render_indexed(diagnostic, file, source, &index, color))
        .collect();
    rendered.join("\n\n")
}

/// The span as it can be shown: in the source, on character boundaries, and on its first line
/// only, since carets under whole here-documents help nobody.
fn visible(span: Span, source: &str) -> std::ops::Range<usize> {
    let mut start = span.start.min(source.len());
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let line = &source[start..end];
    let line = line.split('\n').next().unwrap_or_default().trim_end();
    start..start + line.len()
}
