//! Dockerfiles of real projects.

use std::path::{Path, PathBuf};

use crate::{corpus, entries};

/// All Dockerfiles below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if path.is_dir() {
            files(&path, found);
        } else if !path.extension().is_some_and(|e| e == "json" || e == "txt") {
            found.push(path);
        }
    }
}

#[test]
fn all_parse() {
    let Some(folder) = corpus("dockerfiles") else { return };
    let mut found = Vec::new();
    files(&folder, &mut found);
    let mut failed = Vec::new();
    for path in &found {
        let bytes = std::fs::read(path).unwrap();
        let parsed = dockerfile::parse_bytes(&bytes);
        if parsed.has_errors() {
            let name = path.display().to_string();
            failed.push(dockerfile::diagnostic::render_all(
                &parsed.diagnostics,
                &name,
                &parsed.source,
                false,
            ));
        }
    }
    println!("{} of {} parse", found.len() - failed.len(), found.len());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(!found.is_empty());
}
