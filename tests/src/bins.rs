//! The programs under test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The top of the source tree.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `rbuild`: `RBUILD_BIN`, or built here.
pub fn rbuild() -> PathBuf {
    named("RBUILD_BIN", "rbuild")
}

/// `rregistry`: `RREGISTRY_BIN`, or built here.
pub fn rregistry() -> PathBuf {
    named("RREGISTRY_BIN", "rregistry")
}

fn named(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    built().join(name)
}

/// The folder of the programs, brought up to date once a test run.
fn built() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = target();
        let folder = target.join("debug");
        // A runner with a process for each test builds once, not once a test.
        let run = std::env::var("NEXTEST_RUN_ID").ok();
        let marker = target.join("tmp").join("e2e-built");
        fs::create_dir_all(marker.parent().unwrap()).unwrap();
        let lock = File::create(marker.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if run.is_none() || fs::read_to_string(&marker).ok() != run {
            build();
            fs::write(&marker, run.unwrap_or_default()).unwrap();
        }
        folder
    })
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

fn build() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(repository())
        .args([
            "build", "--quiet", "--bins", "-p", "rbuild", "-p", "registry",
        ])
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "the programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
