//! The registry's rules know no HTTP, and SQL stands where the databases are kept.

use crate::finding::Finding;
use crate::modules;
use crate::tokens::{Kind, names_crate};
use crate::workspace::{Workspace, within};

/// Rooms of the registry that know no HTTP.
const NO_HTTP: [&str; 3] = [
    "registry/src/service",
    "registry/src/meta",
    "registry/src/storage",
];

/// Crates that are HTTP, and those that extend them.
const HTTP: [&str; 9] = [
    "axum",
    "axum_core",
    "axum_extra",
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "hyper_util",
    "tower",
];

/// Rooms for SQL.
const SQL: [&str; 2] = ["registry/src/meta", "store/src/db"];

/// How statements begin, up to where English would go on differently.
const STATEMENTS: [&[&str]; 20] = [
    &["SELECT"],
    &["INSERT", "INTO"],
    &["INSERT", "OR"],
    &["REPLACE", "INTO"],
    &["UPDATE", "*", "SET"],
    &["UPDATE", "OR"],
    &["DELETE", "FROM"],
    &["CREATE", "TABLE"],
    &["CREATE", "INDEX"],
    &["CREATE", "UNIQUE"],
    &["CREATE", "TRIGGER"],
    &["CREATE", "VIEW"],
    &["CREATE", "TEMP"],
    &["ALTER", "TABLE"],
    &["DROP", "TABLE"],
    &["DROP", "INDEX"],
    &["PRAGMA"],
    &["VACUUM"],
    &["ATTACH", "DATABASE"],
    &["BEGIN", "IMMEDIATE"],
];

/// HTTP named in the registry's inner rooms.
pub fn http(workspace: &Workspace) -> Vec<Finding> {
    let inner = workspace
        .sources
        .iter()
        .filter(|source| NO_HTTP.iter().any(|room| within_room(&source.path, room)));
    let mut findings = Vec::new();
    for source in inner {
        for (at, token) in source.tokens.iter().enumerate() {
            if HTTP
                .iter()
                .any(|name| names_crate(&source.tokens, at, name))
            {
                let what = format!("`{}` is named where HTTP isn't known", token.text);
                findings.push(Finding::new(&source.path, token.line, what));
            }
        }
    }
    findings
}

/// SQL elsewhere than in the rooms that keep databases. Tests may look into a database.
pub fn sql(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for source in modules::product(workspace, package).values() {
            if SQL.iter().any(|room| within_room(&source.path, room)) {
                continue;
            }
            for (at, token) in source.tokens.iter().enumerate().filter(|(_, it)| !it.test) {
                if names_crate(&source.tokens, at, "sqlx") {
                    findings.push(Finding::new(&source.path, token.line, "`sqlx` is named"));
                } else if token.kind == Kind::Literal && is_statement(&token.text) {
                    let what = format!("SQL: {}", token.text.lines().next().unwrap_or_default());
                    findings.push(Finding::new(&source.path, token.line, what));
                }
            }
        }
    }
    findings
}

/// In the folder, or the file that a folder's module may be instead.
fn within_room(path: &str, room: &str) -> bool {
    within(path, room) || path.strip_prefix(room) == Some(".rs")
}

fn is_statement(literal: &str) -> bool {
    let text = literal.trim_start_matches(['r', '#', '"', 'b']);
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "\"#;(\\".contains(c))
        .filter(|word| !word.is_empty())
        .take(3)
        .collect();
    // A word alone is a word: "DELETE" is also a method of HTTP.
    words.len() > 1
        && STATEMENTS.iter().any(|statement| {
            statement.len() <= words.len()
                && statement
                    .iter()
                    .zip(&words)
                    .all(|(part, word)| *part == "*" || part == word)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn http_stays_out_of_the_inner_rooms() {
        let text = "use axum::Router; fn f() -> hyper::Body { ::http::Uri::new() }";
        for (path, count) in [
            ("registry/src/service/tags.rs", 3),
            ("registry/src/storage.rs", 3),
            ("registry/src/http/tags.rs", 0),
            ("registry/src/services.rs", 0),
        ] {
            assert_eq!(http(&fixture::of(&[(path, text)])).len(), count, "{path}");
        }
        let fine =
            "/// See [`axum::Router`].\nuse crate::tower::X; const HTTP: &str = \"http::a\";";
        assert_eq!(http(&fixture::of(&[("registry/src/meta/a.rs", fine)])), []);
    }

    #[test]
    fn sql_stays_in_its_rooms() {
        let text = "fn f() { q(\"SELECT a FROM b\"); sqlx::query(r#\"\n UPDATE a SET b = 1\"#); }";
        for (path, count) in [("one/src/lib.rs", 3), ("one/tests/it.rs", 0)] {
            assert_eq!(
                sql(&fixture::of_one(&[(path, text)])).len(),
                count,
                "{path}"
            );
        }
        let mut workspace = fixture::of(&[
            ("store/src/lib.rs", "mod db;"),
            ("store/src/db/mod.rs", text),
        ]);
        workspace.packages.push(fixture::package("store"));
        assert_eq!(sql(&workspace), []);
    }

    #[test]
    fn english_and_methods_are_no_sql() {
        for (literal, statement) in [
            ("\"DELETE\"", false),
            ("\"DELETE /v2/\"", false),
            ("\"CREATE a file\"", false),
            ("\"DELETE FROM a\"", true),
            ("\"PRAGMA user_version\"", true),
            ("r\"CREATE TABLE a(b)\"", true),
            ("\"UPDATE a \\\n SET b\"", true),
        ] {
            assert_eq!(is_statement(literal), statement, "{literal}");
        }
    }
}
