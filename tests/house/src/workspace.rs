//! The workspace as plain data: its crates, their sources, its documents.

use crate::source::Source;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the rules look at.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The crates of the workspace, and of those beside it (`fuzz/`).
    pub packages: Vec<Package>,
    /// Every Rust file.
    pub sources: Vec<Source>,
    /// Markdown files by path.
    pub documents: BTreeMap<String, String>,
    /// The names in `[workspace.dependencies]`.
    pub shared: BTreeSet<String>,
}

/// A crate.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, relative to the root; empty for the root itself.
    pub folder: String,
    /// Whether the workspace lists it; `fuzz/` is a workspace of its own.
    pub member: bool,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
    /// What is built from it.
    pub targets: Vec<Target>,
}

/// A line of a manifest's dependencies.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// As the manifest names it.
    pub name: String,
    /// Which of the three tables it stands in.
    pub kind: DependencyKind,
    /// The folder of a crate of ours, relative to the root.
    pub folder: Option<String>,
}

/// The tables of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyKind {
    /// `[dependencies]`
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// Something built from a crate.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Its root file, relative to the workspace's root.
    pub root: String,
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A library, also a procedural macro.
    Library,
    /// A program.
    Program,
    /// A build script.
    Build,
    /// Tests, benches, examples.
    Other,
}

impl Workspace {
    /// The source with this path.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// The sources in a crate's folder, without those of crates further down.
    pub fn sources_of<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Source> {
        self.sources.iter().filter(move |source| {
            self.packages
                .iter()
                .filter(|other| within(&source.path, &other.folder))
                .max_by_key(|other| other.folder.len())
                .is_some_and(|nearest| nearest.folder == package.folder)
        })
    }
}

impl Package {
    /// The manifest's path.
    pub fn manifest(&self) -> String {
        join(&self.folder, "Cargo.toml")
    }
}

/// Whether a path lies in a folder.
pub fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// A name in a folder.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
