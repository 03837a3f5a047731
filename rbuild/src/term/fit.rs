//! What is too wide for the terminal, and what must not reach it.

/// The width of a terminal that does not tell.
const WIDTH: usize = 80;

/// The columns of the terminal at standard error.
pub fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).max(20),
        _ => WIDTH,
    }
}

/// The text on at most `width` columns, cut with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    let width = width.max(1);
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// A line without what would move the cursor or change colours: escape sequences (ECMA-48, 5.4)
/// go as a whole, and of what carriage returns overwrite the last stays.
pub fn plain(line: &str) -> String {
    let mut parts = line.rsplit('\r');
    let last = parts.find(|part| !part.is_empty()).unwrap_or_default();
    let mut out = String::with_capacity(last.len());
    let mut chars = last.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                // Parameters and intermediates, then the letter that says what they are for.
                while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
                chars.next_if(|c| ('@'..='~').contains(c));
            }
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        for (text, width, shown) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("two words", 5, "two…"),
            ("äöüäöü", 4, "äöü…"),
            ("", 3, ""),
            ("x", 0, "x"),
        ] {
            assert_eq!(cut(text, width), shown, "{text} on {width}");
        }
    }

    #[test]
    fn lines_are_without_escapes() {
        for (line, shown) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("10%\r20%\r", "20%"),
            ("a\tb\x07", "a    b"),
            ("\x1b[", ""),
            ("\x1b[é1", "é1"),
        ] {
            assert_eq!(plain(line), shown, "{line:?}");
        }
    }
}
