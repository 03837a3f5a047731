//! The rules of the house, applied to this workspace.
#![allow(clippy::panic, reason = "a test fails by it")]

use house::finding::Finding;
use house::rules::{
    arrows, circles, dependencies, dependencies::Unnamed, forbidden, layers, length, length::Table,
    offered, prose,
};
use house::workspace::Workspace;
use std::path::Path;
use std::sync::LazyLock;

/// Functions that are tables, which are not read from top to bottom.
const TABLES: &[Table] = &[];

/// Dependencies that are there for something else than their names.
const UNNAMED: &[Unnamed] = &[];

static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize()
        .map_err(|error| error.to_string())
        .and_then(|root| house::load::load(&root).map_err(|error| error.to_string()))
        .unwrap_or_else(|error| panic!("the workspace can't be read: {error}"))
});

/// Fails with all that breaks a rule, and what to do about it.
#[track_caller]
fn holds(findings: Vec<Finding>, rule: &str) {
    if !findings.is_empty() {
        let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!(
            "{} times not so:\n{}\n{rule}\n",
            findings.len(),
            list.join("\n")
        );
    }
}

#[test]
fn arrows_between_crates_are_drawn() {
    holds(
        arrows::check(&WORKSPACE),
        "Crates use each other as the table in docs/ARCHITECTURE.md says. Move the code to where \
         it may be used, or change table and picture if the new arrow is worth it.",
    );
}

#[test]
fn services_know_no_http() {
    holds(
        layers::http(&WORKSPACE),
        "registry/src/{service,meta,storage} know no HTTP. Give and take own types there, and \
         turn them into requests and answers in registry/src/http.",
    );
}

#[test]
fn sql_stands_in_meta_and_db() {
    holds(
        layers::sql(&WORKSPACE),
        "SQL stands in registry/src/meta and store/src/db alone. Write a method there, named by \
         what it is for, and call that.",
    );
}

#[test]
fn modules_make_no_circle() {
    holds(
        circles::check(&WORKSPACE),
        "Modules use each other in one direction. Move what both need (a type, an error, a \
         function) to a module of its own below them, or what calls both to one above them.",
    );
}

#[test]
fn files_are_short() {
    holds(
        length::files(&WORKSPACE),
        "A file has at most 600 lines. Find the second job that it does, and make it a module.",
    );
}

#[test]
fn functions_are_short() {
    holds(
        length::functions(&WORKSPACE, TABLES),
        "A function has at most 100 lines. Give its steps names, or, if it is a table, put it \
         into TABLES in tests/house/tests/house.rs with the reason.",
    );
}

#[test]
fn dependencies_are_used() {
    holds(
        dependencies::check(&WORKSPACE, UNNAMED),
        "Take the line out of the manifest, or, if it is needed without being named, put it into \
         UNNAMED in tests/house/tests/house.rs with the reason.",
    );
}

#[test]
fn unsafe_code_stands_in_one_room() {
    holds(
        forbidden::unsafe_code(&WORKSPACE),
        "`unsafe` stands in runtime/src/sys alone. Use a safe call, or give sys a safe one.",
    );
}

#[test]
fn nothing_is_left_undone() {
    holds(
        forbidden::unfinished(&WORKSPACE),
        "What is not done is not merged: write it, or take it out with all that leads to it.",
    );
}

#[test]
fn prose_fits_the_page() {
    holds(
        prose::check(&WORKSPACE),
        "Comments and documents have at most 100 columns. Wrap the line.",
    );
}

#[test]
fn what_is_offered_is_wanted() {
    holds(
        offered::check(&WORKSPACE),
        "What no other file names isn't `pub`. Take `pub` or the item away.",
    );
}
