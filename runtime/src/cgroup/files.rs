//! The files of a group.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a setting.
pub(super) fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).map_err(|cause| Error::Cgroup {
        path: file.to_owned(),
        step: format!("write {value:?}"),
        cause,
    })
}
