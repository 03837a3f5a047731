//! What a machine lacks, and what becomes of a test that needs it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Something a test needs is not there; says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ends the test here, saying why.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        $crate::skipped(format_args!($($why)*));
        return;
    }};
}

/// The value, or the end of the test when it is missing.
#[macro_export]
macro_rules! need {
    ($wanted:expr) => {
        match $wanted {
            Ok(value) => value,
            Err(missing) => $crate::skip!("{missing}"),
        }
    };
}

/// Reports a skipped test.
///
/// # Panics
/// When `RBUILD_TEST_REQUIRE_ALL` is set: nothing may be skipped then.
pub fn skipped(why: fmt::Arguments<'_>) {
    let all =
        std::env::var_os("RBUILD_TEST_REQUIRE_ALL").is_some_and(|v| v != "0" && !v.is_empty());
    assert!(!all, "cannot be skipped here: {why}");
    println!("skipped: {why}");
}

/// Containers and other clients' storage need root.
///
/// # Errors
/// [`Missing`] for other users.
pub fn is_root() -> Result<(), Missing> {
    if nix::unistd::Uid::effective().is_root() {
        Ok(())
    } else {
        Err(Missing("root is needed".to_owned()))
    }
}

/// Where a program is, also in the administrator's folders.
///
/// # Errors
/// [`Missing`] when it is not installed.
pub fn program(name: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
        .ok_or_else(|| Missing(format!("{name} is not installed")))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
