//! What a library offers as `pub` is named by somebody else.
//!
//! Names are compared as words, so that a thing that shares its name with another goes unseen.
//! What other items of its file show in their signatures counts as named: whoever calls them
//! holds it without writing its name.

use crate::finding::Finding;
use crate::modules;
use crate::tokens::Kind;
use crate::workspace::{TargetKind, Workspace};
use std::collections::{BTreeMap, BTreeSet};

/// `pub` items and methods that no other file names, but for `pub use`.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &workspace.sources {
        for token in source
            .tokens
            .iter()
            .filter(|it| it.kind == Kind::Word && !it.reexport)
        {
            named.entry(&token.text).or_default().insert(&source.path);
        }
        for token in source.tokens.iter().filter(|it| it.kind == Kind::Literal) {
            for word in words(&token.text) {
                named.entry(word).or_default().insert(&source.path);
            }
        }
    }
    let mut findings = Vec::new();
    for package in &workspace.packages {
        if !package
            .targets
            .iter()
            .any(|it| it.kind == TargetKind::Library)
        {
            continue;
        }
        for source in modules::product(workspace, package).values() {
            for item in &source.public {
                let by = named.get(item.name.as_str());
                let elsewhere = by.is_some_and(|by| by.iter().any(|path| *path != source.path));
                if elsewhere || source.shown.contains(&item.name) {
                    continue;
                }
                let within = source
                    .tokens
                    .iter()
                    .filter(|it| it.text == item.name)
                    .count()
                    > 1;
                let what = if within {
                    format!(
                        "{} `{}` is named in this file only: not `pub`",
                        item.kind, item.name
                    )
                } else {
                    format!(
                        "{} `{}` is named nowhere: take it away",
                        item.kind, item.name
                    )
                };
                findings.push(Finding::new(&source.path, item.line, what));
            }
        }
    }
    findings
}

/// The names in a literal: `{NAME}` of a format, and paths, which attributes quote.
fn words(literal: &str) -> impl Iterator<Item = &str> {
    let path = literal.contains("::") && !literal.contains(' ');
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let formats = literal
        .split('{')
        .skip(1)
        .filter_map(move |rest| rest.split(|c| !name(c)).next());
    let paths = literal.split(move |c| !name(c)).filter(move |_| path);
    formats.chain(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn what_nobody_else_names_need_not_be_offered() {
        let findings = check(&fixture::of_one(&[
            (
                "one/src/lib.rs",
                "mod a; pub use a::{dead, alive}; fn f() { a::alive().m() }",
            ),
            (
                "one/src/b.rs",
                "fn f() { format!(\"{LEVEL:?}\"); h(\"a::quoted\") }",
            ),
            (
                "one/src/a.rs",
                "pub struct Shown; pub fn alive() -> Shown { Shown }\n\
                 pub fn dead() { inner() }\n\
                 pub fn inner() {}\n\
                 pub(crate) fn other() {}\n\
                 pub const LEVEL: u8 = 1; pub fn quoted() {}\n\
                 impl Shown { pub fn m(&self) {} pub fn n(&self) {} }",
            ),
        ]));
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "one/src/a.rs:2: fn `dead` is named nowhere: take it away",
                "one/src/a.rs:3: fn `inner` is named in this file only: not `pub`",
                "one/src/a.rs:6: method `n` is named nowhere: take it away",
            ]
        );
    }
}
