//! Tables, and how times are shown in them.

use std::fmt::Write;

/// Lines of columns: each as wide as its widest cell, two spaces between them.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time to the minute, in UTC; a dash when it is not known.
pub(super) fn minute(time: Option<i64>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::from_second(time).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

/// Text that somebody pushed, safe for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The first digits of a digest.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [
            vec!["a".to_owned(), "12".to_owned()],
            vec!["längere".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME     N\na        12\nlängere\n"
        );
        assert_eq!(table(&["NAME", "N"], &[]), "NAME  N\n");
        assert_eq!(minute(Some(1_714_979_289)), "2024-05-06 07:08");
        assert_eq!(minute(None), "-");
        assert_eq!(plain("a\u{1b}[31mb\n"), "a [31mb ");
    }
}
