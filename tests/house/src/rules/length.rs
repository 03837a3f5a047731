//! Files and functions short enough to be read in one go.

use crate::finding::Finding;
use crate::modules;
use crate::workspace::Workspace;

/// The most lines that a file has, tests too.
const FILE: usize = 600;

/// The most lines that a function has, from `fn` to its closing brace.
const FUNCTION: usize = 100;

/// A function that may be longer, because it is a table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its file.
    pub path: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Why it is not cut.
    pub why: &'static str,
}

/// Files that are too long.
pub fn files(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &workspace.sources {
        let lines = source.text.lines().count();
        if lines > FILE {
            findings.push(Finding::new(&source.path, 0, format!("{lines} lines")));
        }
    }
    findings
}

/// Functions that are too long, except in tests; and exceptions that are none any more.
pub fn functions(workspace: &Workspace, tables: &[Table]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = vec![false; tables.len()];
    for package in &workspace.packages {
        for source in modules::product(workspace, package).values() {
            for function in source.functions.iter().filter(|it| it.lines > FUNCTION) {
                let table = tables
                    .iter()
                    .position(|it| it.path == source.path && it.name == function.name);
                if let Some(table) = table {
                    needed[table] = true;
                } else {
                    let what = format!("`{}` has {} lines", function.name, function.lines);
                    findings.push(Finding::new(&source.path, function.line, what));
                }
            }
        }
    }
    for (table, _) in tables.iter().zip(needed).filter(|(_, needed)| !needed) {
        let what = format!("`{}` needs no exception; take it off the list", table.name);
        findings.push(Finding::new(table.path, 0, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_file_may_have_six_hundred_lines() {
        let of = |lines| fixture::of(&[("tests/a.rs", &"// a\n".repeat(lines))]);
        assert_eq!(files(&of(FILE)), []);
        assert_eq!(files(&of(FILE + 1)).len(), 1);
    }

    #[test]
    fn a_function_may_have_a_hundred_lines() {
        let function = |lines| format!("/// Doc\nfn long() {{{}}}", "\n".repeat(lines - 1));
        let of = |path, lines| fixture::of_one(&[(path, &function(lines))]);
        assert_eq!(functions(&of("one/src/lib.rs", FUNCTION), &[]), []);
        assert_eq!(functions(&of("one/tests/it.rs", FUNCTION + 1), &[]), []);
        let long = of("one/src/lib.rs", FUNCTION + 1);
        assert_eq!(
            functions(&long, &[])[0].to_string(),
            "one/src/lib.rs:2: `long` has 101 lines"
        );

        let table = Table {
            path: "one/src/lib.rs",
            name: "long",
            why: "a table",
        };
        assert_eq!(functions(&long, &[table]), []);
        assert_eq!(
            functions(&of("one/src/lib.rs", FUNCTION), &[table]).len(),
            1
        );
    }
}
