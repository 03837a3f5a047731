//! Crates depend on each other as docs/ARCHITECTURE.md says, and in no other way.

use crate::finding::Finding;
use crate::markdown;
use crate::workspace::{DependencyKind, Package, Workspace, within};
use std::collections::BTreeSet;

/// The document that draws the arrows.
const DOCUMENT: &str = "docs/ARCHITECTURE.md";

/// Crates below these folders may use any crate in their tests: they test the whole.
const TESTERS: [&str; 2] = ["tests", "fuzz"];

/// Arrows that are not drawn, drawn arrows that are not there, crates and rows without each other.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let text = workspace.documents.get(DOCUMENT).map_or("", String::as_str);
    let rows = markdown::table(text, &["crate", "uses"]);
    if rows.is_empty() {
        return vec![Finding::new(
            DOCUMENT,
            0,
            "no table with the columns `crate` and `uses`; the arrows between crates are read there",
        )];
    }
    let members: Vec<&Package> = workspace.packages.iter().filter(|it| it.member).collect();
    let named = |name: &str| {
        let name = name.trim_end_matches('/');
        members
            .iter()
            .find(|it| it.folder == name || it.name == name)
            .copied()
    };

    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (line, cells) in &rows {
        let mut wrong = |what: String| findings.push(Finding::new(DOCUMENT, *line, what));
        let Some(name) = markdown::quoted(cells[0]).first().copied() else {
            wrong("a row whose first cell names no crate in backticks".to_owned());
            continue;
        };
        let Some(package) = named(name) else {
            wrong(format!(
                "no crate `{name}` in the workspace; take its row away"
            ));
            continue;
        };
        seen.insert(&package.folder);
        let mut drawn = BTreeSet::new();
        for used in markdown::quoted(cells[1]) {
            match named(used) {
                Some(used) => {
                    drawn.insert(used.folder.as_str());
                }
                None => wrong(format!(
                    "`{name}` uses `{used}`, which is no crate of the workspace"
                )),
            }
        }
        let real = arrows(package);
        for used in drawn.difference(&real) {
            wrong(format!(
                "`{name}` doesn't use `{used}`; take the arrow out of table and picture"
            ));
        }
        for used in real.difference(&drawn) {
            findings.push(Finding::new(
                &package.manifest(),
                0,
                format!(
                    "`{name}` uses `{used}`, which {DOCUMENT} doesn't draw: move what it needs to \
                     a crate that both may use, or draw the arrow in table and picture and say why"
                ),
            ));
        }
    }
    for package in members.iter().filter(|it| !seen.contains(&it.folder)) {
        findings.push(Finding::new(
            DOCUMENT,
            0,
            format!(
                "the crate `{}/` has no row in the table of crates",
                package.folder
            ),
        ));
    }
    findings
}

/// The folders of the crates that a crate may call. Of those only in its tests too, unless it
/// is made of tests.
fn arrows(package: &Package) -> BTreeSet<&str> {
    let tester = TESTERS
        .iter()
        .any(|folder| package.folder == *folder || within(&package.folder, folder));
    package
        .dependencies
        .iter()
        .filter(|it| !(tester && it.kind == DependencyKind::Dev))
        .filter_map(|it| it.folder.as_deref())
        .filter(|folder| *folder != package.folder)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn workspace(table: &str, dependencies: &[(&str, &str, DependencyKind)]) -> Workspace {
        let text = format!("| crate | uses |\n|---|---|\n{table}");
        let mut workspace = fixture::of(&[(DOCUMENT, &text)]);
        workspace.packages = ["a", "b", "tests"].map(fixture::package).to_vec();
        for (from, to, kind) in dependencies {
            let package = workspace
                .packages
                .iter_mut()
                .find(|it| it.name == *from)
                .unwrap();
            package
                .dependencies
                .push(fixture::dependency(to, *kind, Some(to)));
        }
        workspace
    }

    #[test]
    fn drawn_arrows_and_those_of_the_end_to_end_tests_are_fine() {
        use DependencyKind::*;
        let table = "| `a/` | |\n| `b/` | `a` |\n| `tests/` | |";
        assert_eq!(
            check(&workspace(
                table,
                &[("b", "a", Normal), ("tests", "b", Dev)]
            )),
            []
        );
    }

    #[test]
    fn arrows_and_table_must_agree() {
        use DependencyKind::*;
        let rows = "| `a/` | |\n| `b/` | `a` |\n| `tests/` | |";
        let fine = ("b", "a", Normal);
        for (table, dependencies, what) in [
            (
                rows,
                vec![fine, ("a", "b", Normal)],
                "`a/` uses `b`, which docs",
            ),
            (
                rows,
                vec![fine, ("a", "b", Dev)],
                "`a/` uses `b`, which docs",
            ),
            (rows, vec![], "`b/` doesn't use `a`"),
            (
                "| `a/` | |\n| `b/` | `a` |",
                vec![fine],
                "the crate `tests/` has no row",
            ),
            (&format!("{rows}\n| `c/` | |"), vec![fine], "no crate `c/`"),
            (
                &rows.replace("| |", "| `c` |"),
                vec![fine],
                "uses `c`, which is no crate",
            ),
        ] {
            let findings = check(&workspace(table, &dependencies));
            assert!(
                findings.iter().any(|it| it.what.contains(what)),
                "{what}: {findings:?}"
            );
        }
        assert_eq!(check(&fixture::of(&[])).len(), 1);
    }
}
