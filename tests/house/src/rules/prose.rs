//! Prose that fits a page: comments and documents in lines of at most 100 columns.

use crate::finding::Finding;
use crate::markdown;
use crate::source::Source;
use crate::workspace::Workspace;

/// The most characters in a line of prose.
const COLUMNS: usize = 100;

/// Lines that are longer and could be wrapped.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut long = |path: &str, line: usize, text: &str| {
        let columns = text.chars().count();
        if columns > COLUMNS && !has_link(text) {
            findings.push(Finding::new(path, line, format!("{columns} columns")));
        }
    };
    for source in &workspace.sources {
        for (line, text) in comments(source) {
            long(&source.path, line, text);
        }
    }
    for (path, text) in &workspace.documents {
        for (line, text) in markdown::prose(text) {
            long(path, line, text);
        }
    }
    findings
}

/// A link is one word, which can't be wrapped.
fn has_link(text: &str) -> bool {
    text.contains("://") || text.contains("](")
}

/// Lines that are comments, or end in one; rows of tables left out.
fn comments(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let literals: Vec<(usize, usize)> = source
        .tokens
        .iter()
        .filter(|token| token.end > token.line)
        .filter(|token| token.kind == crate::tokens::Kind::Literal)
        .map(|token| (token.line, token.end))
        .collect();
    source
        .text
        .lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text))
        .filter(move |(line, text)| {
            let start = text.trim_start();
            let comment = start.starts_with("//") || text.contains(" // ");
            let row = start
                .trim_start_matches(['/', '!'])
                .trim_start()
                .starts_with('|');
            let literal = || {
                literals
                    .iter()
                    .any(|(from, to)| (from..=to).contains(&line))
            };
            comment && !row && !literal()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_comment_has_a_hundred_columns() {
        let line =
            |head: &str, columns: usize| format!("{head}{}", "é".repeat(columns - head.len()));
        for (text, fine) in [
            (line("// ", 100), true),
            (line("// ", 101), false),
            (line("    /// ", 101) + "\nfn f() {}", false),
            (line("fn f() {} // ", 101), false),
            (line("//! | ", 101), true),
            (line("// https://", 101), true),
            (format!("const A: &str = \"\n{}\";", line("// ", 101)), true),
        ] {
            assert_eq!(
                check(&fixture::of(&[("a.rs", &text)])).is_empty(),
                fine,
                "{text}"
            );
        }
    }

    #[test]
    fn a_document_has_a_hundred_columns_but_in_code_tables_and_links() {
        let long = "a ".repeat(51);
        for (text, fine) in [
            (long.clone(), false),
            (format!("- {long}"), false),
            (format!("```text\n{long}\n```"), true),
            (format!("| {long} |"), true),
            (format!("{long} [a](b)"), true),
            (format!("```\n```\n{long}"), false),
        ] {
            assert_eq!(
                check(&fixture::of(&[("a.md", &text)])).is_empty(),
                fine,
                "{text}"
            );
        }
    }
}
