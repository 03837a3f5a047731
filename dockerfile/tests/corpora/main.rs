//! Test data from elsewhere, where it is present: beside the checkout in `../shared/corpora`, or
//! in the folder that `RBUILD_CORPORA` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod buildkit;
mod patternmatcher;
mod real_world;

use std::path::PathBuf;

/// The folder `name` of the corpora, or `None` after saying so.
fn corpus(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("RBUILD_CORPORA") {
        Some(root) => PathBuf::from(root),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"),
    };
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {}", path.display());
    None
}

/// The entries of a folder, sorted.
fn entries(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
