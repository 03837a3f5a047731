//! Reading the workspace: `cargo metadata`, every Rust file, every document.

use crate::source::Source;
use crate::workspace::{Dependency, DependencyKind, Package, Target, TargetKind, Workspace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why the workspace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// `cargo metadata` failed.
    #[error("cargo metadata for {manifest}: {message}")]
    Metadata {
        /// The manifest that it was asked about.
        manifest: String,
        /// What it printed.
        message: String,
    },
    /// A source file is no Rust.
    #[error("{0}")]
    Syntax(String),
    /// The workspace's manifest is no TOML.
    #[error("Cargo.toml: {0}")]
    Manifest(#[from] toml::de::Error),
}

/// Reads the workspace whose root is `root`, and workspaces in folders directly below it.
///
/// # Errors
///
/// When anything cannot be read or understood.
pub fn load(root: &Path) -> Result<Workspace, LoadError> {
    let mut workspace = Workspace::default();
    metadata(root, root, &mut workspace.packages)?;
    for folder in entries(root)? {
        let name = relative(root, &folder);
        if folder.join("Cargo.toml").exists()
            && !workspace
                .packages
                .iter()
                .any(|package| package.folder == name)
        {
            metadata(root, &folder, &mut workspace.packages)?;
        }
    }
    let mut texts = Vec::new();
    walk(root, root, &mut texts, &mut workspace.documents)?;
    workspace.sources = parse(&texts)?;
    workspace.sources.sort_by(|a, b| a.path.cmp(&b.path));

    let manifest: toml::Table = toml::from_str(&text(&root.join("Cargo.toml"))?)?;
    let shared = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table);
    workspace.shared = shared
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    Ok(workspace)
}

fn text(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|error| LoadError::File {
        path: path.into(),
        error,
    })
}

/// What a folder holds, sorted, without hidden files and build products.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let failed = |error| LoadError::File {
        path: folder.into(),
        error,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Cargo marks its own folder so, whatever CARGO_TARGET_DIR calls it.
        let built = path.join("CACHEDIR.TAG").exists() || name == "target";
        if !name.starts_with('.') && !built && !path.is_symlink() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads the texts of Rust files and documents, each with its path.
fn walk(
    root: &Path,
    folder: &Path,
    sources: &mut Vec<(String, String)>,
    documents: &mut BTreeMap<String, String>,
) -> Result<(), LoadError> {
    for path in entries(folder)? {
        let name = relative(root, &path);
        if path.is_dir() {
            walk(root, &path, sources, documents)?;
        } else if name.ends_with(".rs") {
            sources.push((name, text(&path)?));
        } else if name.ends_with(".md") {
            documents.insert(name, text(&path)?);
        }
    }
    Ok(())
}

/// Parsing is nearly all of the work, and files don't need each other.
fn parse(texts: &[(String, String)]) -> Result<Vec<Source>, LoadError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |part: &[(String, String)]| -> Result<Vec<Source>, String> {
        part.iter()
            .map(|(path, text)| Source::read(path, text))
            .collect()
    };
    let parts = std::thread::scope(|scope| {
        let chunks = texts.chunks(texts.len().div_ceil(threads).max(1));
        let running: Vec<_> = chunks.map(|part| scope.spawn(move || read(part))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|cause| resume_unwind(cause)))
            .collect::<Result<Vec<_>, String>>()
    });
    Ok(parts
        .map_err(LoadError::Syntax)?
        .into_iter()
        .flatten()
        .collect())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

fn metadata(root: &Path, folder: &Path, packages: &mut Vec<Package>) -> Result<(), LoadError> {
    let manifest = folder.join("Cargo.toml");
    let failed = |message: String| LoadError::Metadata {
        manifest: manifest.display().to_string(),
        message,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--offline",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
        ])
        .arg(&manifest)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    for package in list(&answer, "packages") {
        packages.push(Package {
            name: string(package, "name").to_owned(),
            folder: relative(root, Path::new(string(package, "manifest_path")))
                .trim_end_matches("Cargo.toml")
                .trim_end_matches('/')
                .to_owned(),
            member: folder == root,
            dependencies: list(package, "dependencies")
                .map(|it| dependency(root, it))
                .collect(),
            targets: list(package, "targets")
                .map(|it| target(root, it))
                .collect(),
        });
    }
    Ok(())
}

fn dependency(root: &Path, value: &Value) -> Dependency {
    let rename = value.get("rename").and_then(Value::as_str);
    Dependency {
        name: rename.unwrap_or(string(value, "name")).to_owned(),
        kind: match value.get("kind").and_then(Value::as_str) {
            Some("dev") => DependencyKind::Dev,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        },
        folder: value
            .get("path")
            .and_then(Value::as_str)
            .map(|path| relative(root, Path::new(path))),
    }
}

fn target(root: &Path, value: &Value) -> Target {
    let kind = list(value, "kind")
        .find_map(Value::as_str)
        .unwrap_or_default();
    Target {
        kind: match kind {
            "bin" => TargetKind::Program,
            "custom-build" => TargetKind::Build,
            "lib" | "rlib" | "cdylib" | "staticlib" | "dylib" | "proc-macro" => TargetKind::Library,
            _ => TargetKind::Other,
        },
        root: relative(root, Path::new(string(value, "src_path"))),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
