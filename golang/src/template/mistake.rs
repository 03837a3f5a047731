//! What is wrong with a template, and where.

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {message}{}", pointer(.template, *.offset))]
pub struct TemplateError {
    pub(super) message: String,
    template: String,
    pub(super) offset: usize,
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
pub(super) struct Mistake {
    message: String,
    offset: usize,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>, offset: usize) -> Self {
        Self {
            message: message.into(),
            offset,
        }
    }

    pub(super) fn in_source(self, source: &str) -> TemplateError {
        TemplateError {
            message: self.message,
            template: source.to_owned(),
            offset: self.offset,
        }
    }
}
