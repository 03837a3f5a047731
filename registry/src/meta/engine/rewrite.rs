//! SQLite's text as PostgreSQL takes it: one statement at a time, with the numbers of its own
//! values only.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use crate::sync::{read, write};

/// A statement for PostgreSQL.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) text: SqlStr,
    /// Which of the query's values it has, from 0, in its order.
    pub(super) parameters: Vec<usize>,
}

/// Texts that are remembered. There are a few hundred; those with a place for each word of a search
/// could become more.
const MOST: usize = 2000;

type Known = HashMap<Box<str>, Arc<[Statement]>>;

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// The statements of a text.
pub(super) fn statements(text: &str) -> Arc<[Statement]> {
    if let Some(known) = read(&KNOWN).get(text) {
        return Arc::clone(known);
    }
    let made: Arc<[Statement]> = split(text)
        .into_iter()
        .map(|(text, parameters)| Statement {
            text: AssertSqlSafe(Arc::<str>::from(text)).into_sql_str(),
            parameters,
        })
        .collect();
    let mut known = write(&KNOWN);
    if known.len() < MOST {
        known.insert(text.into(), Arc::clone(&made));
    }
    made
}

/// Each statement, and which values it has.
fn split(text: &str) -> Vec<(String, Vec<usize>)> {
    let mut found = Vec::new();
    let (mut statement, mut parameters) = (String::new(), Vec::new());
    // Places without a number are counted through all statements.
    let mut unnumbered = 0;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '\'' | '"' => quoted(rest, next),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if next.is_alphabetic() => word(rest),
            _ => next.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        match token {
            ";" => {
                push(&mut found, &mut statement, &mut parameters);
            }
            "?" | "$" => {
                let digits =
                    rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (number, behind) = rest.split_at(digits);
                rest = behind;
                let value = number.parse().unwrap_or_else(|_| {
                    unnumbered += 1;
                    unnumbered
                });
                let value = usize::max(value, 1) - 1;
                let place = parameters.iter().position(|known| *known == value);
                let place = place.unwrap_or_else(|| {
                    parameters.push(value);
                    parameters.len() - 1
                });
                statement.push_str(&format!("${}", place + 1));
            }
            // To SQLite it says in which order tables are to be joined; here it takes no condition.
            "CROSS" if rest.trim_start().starts_with("JOIN") => rest = rest.trim_start(),
            _ => statement.push_str(token),
        }
    }
    push(&mut found, &mut statement, &mut parameters);
    found
}

fn push(
    found: &mut Vec<(String, Vec<usize>)>,
    statement: &mut String,
    parameters: &mut Vec<usize>,
) {
    let (statement, parameters) = (std::mem::take(statement), std::mem::take(parameters));
    if !statement.trim().is_empty() {
        found.push((statement.trim().to_owned(), parameters));
    }
}

/// The bytes of what stands between two quotes, with these. A doubled one ends it and begins anew.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

/// The bytes of a word.
fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_their_own_numbers() {
        for (text, expected) in [
            ("SELECT 1", &[("SELECT 1", &[][..])][..]),
            ("SELECT ?, ?", &[("SELECT $1, $2", &[0, 1])]),
            ("SELECT ?2, ?1, ?2", &[("SELECT $1, $2, $1", &[1, 0])]),
            (
                "SET a = ? WHERE b = ?2",
                &[("SET a = $1 WHERE b = $2", &[0, 1])],
            ),
            (
                "\nA $1, $4; B $4 ;\n\n C $2, $4, $2;\n",
                &[
                    ("A $1, $2", &[0, 3]),
                    ("B $1", &[3]),
                    ("C $1, $2, $1", &[1, 3]),
                ],
            ),
            ("A ?; B ?", &[("A $1", &[0]), ("B $1", &[1])]),
            (
                "SELECT 'a;?1''b?', \"c?\" -- ?;\n, ?12",
                &[("SELECT 'a;?1''b?', \"c?\" -- ?;\n, $1", &[11])],
            ),
            ("SELECT value ->> '$1'", &[("SELECT value ->> '$1'", &[])]),
            ("A CROSS JOIN b ON ?1", &[("A JOIN b ON $1", &[0])]),
            (
                "A CROSS\n  JOIN b, across JOIN",
                &[("A JOIN b, across JOIN", &[])],
            ),
            (" ; ", &[]),
            ("'open ?", &[("'open ?", &[])]),
            ("é ? ü", &[("é $1 ü", &[0])]),
        ] {
            let found = split(text);
            let found: Vec<_> = found
                .iter()
                .map(|(text, parameters)| (text.as_str(), parameters.as_slice()))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_rewritten_once() {
        let again = || statements("SELECT a FROM b WHERE c = ?1");
        assert!(Arc::ptr_eq(&again(), &again()));
    }
}
