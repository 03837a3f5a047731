//! The text of definitions, and places in it.

/// A file that defines what is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// As in messages; its ending tells the language (`.hcl`, `.json`, `.yml`, `.yaml`).
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A file that definitions name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// As it was asked for, from where the command was typed.
    pub path: String,
    /// What is in it; `None` where there is no such file.
    pub text: Option<String>,
}

/// A place in one of the definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Which of the definitions, counted from 0.
    pub file: usize,
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

impl Span {
    /// A place in the same file.
    pub fn within(self, start: usize, end: usize) -> Self {
        Self {
            file: self.file,
            start,
            end,
        }
    }
}

/// Line and column of a byte, both counted from 1, columns in characters.
pub fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let before = text.get(..at.unwrap_or_default()).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        let text = "ab\nç d\n";
        for (at, place) in [
            (0, (1, 1)),
            (2, (1, 3)),
            (3, (2, 1)),
            (5, (2, 2)),
            (99, (3, 1)),
        ] {
            assert_eq!(line_and_column(text, at), place, "{at}");
        }
    }
}
