//! A target's modules, and what the paths in them lead to.

use crate::scope::Scope;
use crate::source::Source;
use crate::workspace::{Package, TargetKind, Workspace};
use std::collections::{BTreeMap, BTreeSet};

/// The modules of one library or program, the root first.
pub struct Modules<'a> {
    all: Vec<Module<'a>>,
}

/// One module.
pub struct Module<'a> {
    /// The file that it stands in; modules in braces share it with their parent.
    pub source: &'a Source,
    /// What it defines and names.
    pub scope: &'a Scope,
    parent: Option<usize>,
    children: BTreeMap<&'a str, usize>,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// A module itself.
    Module(usize),
    /// Something that the module defines, or an associated item or variant of that.
    Item(usize),
}

impl<'a> Modules<'a> {
    /// Follows the `mod` declarations from a root file; nothing when that is not there.
    pub fn of(workspace: &'a Workspace, root: &str) -> Self {
        let mut modules = Self { all: Vec::new() };
        if let Some(source) = workspace.source(root) {
            let folder = root
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder)
                .to_owned();
            modules.add(workspace, source, &source.scope, None, &folder);
        }
        modules
    }

    /// All modules, in the order of declaration.
    pub fn all(&self) -> &[Module<'a>] {
        &self.all
    }

    fn add(
        &mut self,
        workspace: &'a Workspace,
        source: &'a Source,
        scope: &'a Scope,
        parent: Option<usize>,
        folder: &str,
    ) -> usize {
        let index = self.all.len();
        self.all.push(Module {
            source,
            scope,
            parent,
            children: BTreeMap::new(),
        });
        for (name, child) in &scope.children {
            let below = join(folder, name);
            let added = if let Some(inner) = &child.inline {
                self.add(workspace, source, inner, Some(index), &below)
            } else {
                let paths = match &child.path {
                    Some(path) => {
                        let here = source
                            .path
                            .rsplit_once('/')
                            .map_or("", |(folder, _)| folder);
                        vec![join(here, path)]
                    }
                    None => vec![format!("{below}.rs"), format!("{below}/mod.rs")],
                };
                let Some(file) = paths.iter().find_map(|path| workspace.source(path)) else {
                    continue;
                };
                self.add(workspace, file, &file.scope, Some(index), &below)
            };
            self.all[index].children.insert(name, added);
        }
        index
    }

    /// Whether `module` stands somewhere below `above`.
    pub fn is_below(&self, module: usize, above: usize) -> bool {
        let mut at = self.all[module].parent;
        while let Some(index) = at {
            if index == above {
                return true;
            }
            at = self.all[index].parent;
        }
        false
    }

    /// What a path in a module leads to within this target: through modules, imports and globs
    /// to where the thing is defined. Nothing for what other crates define.
    pub fn resolve(&self, from: usize, path: &[String]) -> BTreeSet<Found> {
        self.enter(from, path, &mut BTreeSet::new())
    }

    fn enter(
        &self,
        from: usize,
        path: &[String],
        seen: &mut BTreeSet<(usize, Vec<String>)>,
    ) -> BTreeSet<Found> {
        match path.first().map(String::as_str) {
            Some("crate") => self.walk(0, &path[1..], seen),
            Some("self") => self.walk(from, &path[1..], seen),
            _ => self.walk(from, path, seen),
        }
    }

    fn walk(
        &self,
        at: usize,
        path: &[String],
        seen: &mut BTreeSet<(usize, Vec<String>)>,
    ) -> BTreeSet<Found> {
        let Some((name, rest)) = path.split_first() else {
            return BTreeSet::from([Found::Module(at)]);
        };
        let module = &self.all[at];
        if name == "super" {
            return module
                .parent
                .map(|up| self.walk(up, rest, seen))
                .unwrap_or_default();
        }
        if !seen.insert((at, path.to_vec())) {
            return BTreeSet::new();
        }
        let mut found = BTreeSet::new();
        if let Some(&child) = module.children.get(name.as_str()) {
            found.extend(self.walk(child, rest, seen));
        }
        if module.scope.items.contains(name) {
            found.insert(Found::Item(at));
        }
        let through = |named: Option<&str>, rest: &[String], seen: &mut BTreeSet<_>| {
            let mut found = BTreeSet::new();
            for import in module
                .scope
                .uses
                .iter()
                .filter(|it| it.name.as_deref() == named)
            {
                for target in self.enter(at, &import.path, seen) {
                    match target {
                        Found::Module(next) => found.extend(self.walk(next, rest, seen)),
                        // What is below a type is the type's, but a glob of an enum gives only
                        // variants, and those are known by their enum.
                        Found::Item(_) if named.is_none() => {}
                        Found::Item(_) => {
                            found.insert(target);
                        }
                    }
                }
            }
            found
        };
        if found.is_empty() {
            found = through(Some(name), rest, seen);
        }
        if found.is_empty() {
            found = through(None, path, seen);
        }
        found
    }
}

/// The files of a crate that are its product: those that its library and programs consist of,
/// without tests.
pub fn product<'a>(workspace: &'a Workspace, package: &Package) -> BTreeMap<&'a str, &'a Source> {
    package
        .targets
        .iter()
        .filter(|target| matches!(target.kind, TargetKind::Library | TargetKind::Program))
        .flat_map(|target| Modules::of(workspace, &target.root).all)
        .map(|module| (module.source.path.as_str(), module.source))
        .collect()
}

fn join(folder: &str, name: &str) -> String {
    crate::workspace::join(folder, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn found(files: &[(&str, &str)], from: &str, path: &str) -> Vec<String> {
        let workspace = fixture::of_one(files);
        let modules = Modules::of(&workspace, "one/src/lib.rs");
        let from = modules
            .all()
            .iter()
            .position(|it| it.source.path == from)
            .unwrap();
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        modules
            .resolve(from, &path)
            .into_iter()
            .map(|found| match found {
                Found::Module(at) => format!("module {}", modules.all()[at].source.path),
                Found::Item(at) => modules.all()[at].source.path.clone(),
            })
            .collect()
    }

    #[test]
    fn paths_lead_to_where_a_thing_is_defined() {
        let files = [
            (
                "one/src/lib.rs",
                "mod a; mod b; pub use a::A; pub use b::*;",
            ),
            (
                "one/src/a.rs",
                "mod deep; pub struct A; pub use deep::D as E;",
            ),
            ("one/src/a/deep.rs", "pub struct D; use super::A;"),
            (
                "one/src/b/mod.rs",
                "pub enum B { X } use crate::a as other; use hex::F;",
            ),
        ];
        for (from, path, to) in [
            ("one/src/b/mod.rs", "crate::A", vec!["one/src/a.rs"]),
            (
                "one/src/b/mod.rs",
                "crate::a::E::new",
                vec!["one/src/a/deep.rs"],
            ),
            ("one/src/b/mod.rs", "other::E", vec!["one/src/a/deep.rs"]),
            (
                "one/src/a/deep.rs",
                "super::super::B::X",
                vec!["one/src/b/mod.rs"],
            ),
            ("one/src/a/deep.rs", "A", vec!["one/src/a.rs"]),
            (
                "one/src/b/mod.rs",
                "crate::a::deep",
                vec!["module one/src/a/deep.rs"],
            ),
            ("one/src/b/mod.rs", "F", vec![]),
            ("one/src/b/mod.rs", "std::fmt", vec![]),
        ] {
            assert_eq!(found(&files, from, path), to, "{path} in {from}");
        }
    }

    #[test]
    fn imports_that_lead_to_each_other_end() {
        let files = [
            ("one/src/lib.rs", "mod a; mod b; use a::X;"),
            ("one/src/a.rs", "pub use crate::b::*;"),
            ("one/src/b.rs", "pub use crate::a::*; pub use crate::a::X;"),
        ];
        assert!(found(&files, "one/src/lib.rs", "X").is_empty());
    }
}
