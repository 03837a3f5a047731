//! No circle of modules: of two files at most one uses the other, however far around.
//!
//! A file uses another when a path in it leads to something that the other defines. Declaring a
//! module (`mod a;`) and passing on what is below (`pub use a::A;`) is a table of contents and
//! no use. So a `mod.rs` that only does these may be anywhere in its children's paths; but what it
//! defines itself belongs above or below its children, not both.

use crate::finding::Finding;
use crate::modules::{Found, Modules};
use crate::workspace::{TargetKind, Workspace};
use std::collections::BTreeMap;

/// For each use of a file by another: the line and the path as written.
type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (usize, String)>>;

/// Each circle, with one example for each use within it.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for target in &package.targets {
            if !matches!(target.kind, TargetKind::Library | TargetKind::Program) {
                continue;
            }
            let modules = Modules::of(workspace, &target.root);
            let uses = uses(&modules);
            for circle in circles(&uses) {
                findings.push(describe(&circle, &uses));
            }
        }
    }
    findings
}

/// Which file uses which.
fn uses<'a>(modules: &Modules<'a>) -> Uses<'a> {
    let mut uses = Uses::new();
    let all = modules.all();
    for (index, module) in all.iter().enumerate() {
        let from = module.source.path.as_str();
        uses.entry(from).or_default();
        let imports = module
            .scope
            .uses
            .iter()
            .filter(|it| it.name.is_some())
            .map(|import| (&import.path, import.line, import.public));
        let mentions = module
            .scope
            .mentions
            .iter()
            .map(|it| (&it.path, it.line, false));
        for (path, line, public) in imports.chain(mentions) {
            for found in modules.resolve(index, path) {
                // A module alone is a name for what is in it; using that names it again.
                let Found::Item(at) = found else { continue };
                let to = all[at].source.path.as_str();
                if to != from && !(public && modules.is_below(at, index)) {
                    let example = || (line, path.join("::"));
                    uses.entry(from)
                        .or_default()
                        .entry(to)
                        .or_insert_with(example);
                }
            }
        }
    }
    uses
}

/// The strongly connected components with more than one file, the largest first (Tarjan).
fn circles<'a>(uses: &Uses<'a>) -> Vec<Vec<&'a str>> {
    struct Search<'a, 'b> {
        uses: &'b Uses<'a>,
        order: BTreeMap<&'a str, (usize, usize)>,
        stack: Vec<&'a str>,
        found: Vec<Vec<&'a str>>,
    }
    impl<'a> Search<'a, '_> {
        fn visit(&mut self, file: &'a str) -> usize {
            let number = self.order.len();
            self.order.insert(file, (number, number));
            self.stack.push(file);
            let mut low = number;
            for next in self.uses.get(file).into_iter().flat_map(BTreeMap::keys) {
                low = low.min(match self.order.get(next) {
                    None => self.visit(next),
                    Some(&(number, _)) if self.stack.contains(next) => number,
                    Some(_) => low,
                });
            }
            self.order.insert(file, (number, low));
            if low == number
                && let Some(start) = self.stack.iter().position(|it| *it == file)
            {
                let mut circle = self.stack.split_off(start);
                circle.sort_unstable();
                self.found.extend((circle.len() > 1).then_some(circle));
            }
            low
        }
    }
    let mut search = Search {
        uses,
        order: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for &file in uses.keys() {
        if !search.order.contains_key(file) {
            search.visit(file);
        }
    }
    search
        .found
        .sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    search.found
}

fn describe(circle: &[&str], uses: &Uses<'_>) -> Finding {
    let mut what = format!("{} files use each other in a circle:", circle.len());
    let mut both = String::new();
    for from in circle {
        for (to, (line, path)) in uses.get(from).into_iter().flatten() {
            if circle.contains(to) {
                let back = uses.get(to).is_some_and(|back| back.contains_key(from));
                let list = if back { &mut both } else { &mut what };
                let mark = if back { " <->" } else { "" };
                list.push_str(&format!("\n    {from}:{line}: {path} ({to}){mark}"));
            }
        }
    }
    Finding::new(circle[0], 0, what + &both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_circle_is_told_with_a_path_for_each_use() {
        let findings = check(&fixture::of_one(&[
            ("one/src/lib.rs", "mod a; mod b; mod c; mod d;"),
            (
                "one/src/a.rs",
                "use crate::b::B; pub struct A; fn f() -> B { B }",
            ),
            (
                "one/src/b.rs",
                "pub struct B;\nimpl B { fn f() { super::c::go() } }",
            ),
            (
                "one/src/c.rs",
                "pub fn go() { println!(\"{}\", crate::a::A) }",
            ),
            ("one/src/d.rs", "use crate::a::A;"),
        ]));
        assert_eq!(findings.len(), 1);
        let what = &findings[0].what;
        assert!(what.starts_with("3 files"), "{what}");
        assert!(
            what.contains("\n    one/src/b.rs:2: super::c::go (one/src/c.rs)"),
            "{what}"
        );
        assert!(!what.contains("d.rs"), "{what}");
    }

    #[test]
    fn a_parent_that_defines_and_uses_what_its_child_uses_is_a_circle() {
        let findings = check(&fixture::of_one(&[
            ("one/src/lib.rs", "mod a;"),
            ("one/src/a/mod.rs", "mod b; pub struct A(b::B);"),
            (
                "one/src/a/b.rs",
                "pub struct B; impl B { fn a(&self) -> super::A { todo() } }",
            ),
        ]));
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn a_glob_counts_for_what_is_named_through_it() {
        let files = |b| {
            [
                ("one/src/lib.rs", "mod a; mod b; mod c;"),
                ("one/src/a.rs", "use crate::b::*; pub struct A(B);"),
                ("one/src/b.rs", b),
                ("one/src/c.rs", "pub struct C;"),
            ]
        };
        let round = "use crate::a::*; pub struct B(Box<A>);";
        assert_eq!(check(&fixture::of_one(&files(round))).len(), 1);
        let straight = "use crate::{a::*, c::*}; pub struct B(C);";
        assert_eq!(check(&fixture::of_one(&files(straight))), []);
    }

    #[test]
    fn tables_of_contents_reexports_and_tests_make_no_circle() {
        let findings = check(&fixture::of_one(&[
            ("one/src/lib.rs", "mod a; mod d; pub use a::{A, B};"),
            (
                "one/src/a/mod.rs",
                "mod b; mod c; pub use b::B; pub use c::A;",
            ),
            (
                "one/src/a/b.rs",
                "use super::c; pub struct B(c::A, crate::A);",
            ),
            (
                "one/src/a/c.rs",
                "pub struct A; #[cfg(test)] mod tests { use super::super::B; }",
            ),
            ("one/src/d.rs", "mod e; pub fn up() { e::down() }"),
            (
                "one/src/d/e.rs",
                "pub fn down() { let up = 1; let e = up; }",
            ),
        ]));
        assert_eq!(findings, []);
    }
}
