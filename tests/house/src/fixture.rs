//! Small workspaces for the rules' own tests.

use crate::source::Source;
use crate::workspace::{Dependency, DependencyKind, Package, Target, TargetKind, Workspace};

/// A workspace of these files alone.
pub fn of(files: &[(&str, &str)]) -> Workspace {
    let mut workspace = Workspace::default();
    for (path, text) in files {
        if path.ends_with(".rs") {
            workspace.sources.push(Source::read(path, text).unwrap());
        } else {
            workspace
                .documents
                .insert((*path).to_owned(), (*text).to_owned());
        }
    }
    workspace
}

/// The same with one crate, `one`, which has a library.
pub fn of_one(files: &[(&str, &str)]) -> Workspace {
    let mut workspace = of(files);
    workspace.packages.push(package("one"));
    workspace
}

/// A crate with a library.
pub fn package(name: &str) -> Package {
    Package {
        name: name.to_owned(),
        folder: name.to_owned(),
        member: true,
        dependencies: Vec::new(),
        targets: vec![Target {
            kind: TargetKind::Library,
            root: format!("{name}/src/lib.rs"),
        }],
    }
}

/// A dependency, on a crate of the workspace if it has a folder.
pub fn dependency(name: &str, kind: DependencyKind, folder: Option<&str>) -> Dependency {
    Dependency {
        name: name.to_owned(),
        kind,
        folder: folder.map(str::to_owned),
    }
}
