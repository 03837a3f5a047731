//! Whether mounts of this machine are shared (mount_namespaces(7)): what is made below one can be
//! seen elsewhere only then.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::Propagation;

use crate::error::{Error, Result};

use super::invalid;

const TABLE: &str = "/proc/self/mountinfo";

/// Refuses propagation from or to a mount that is not shared.
///
/// # Errors
/// docker's sentences.
pub(super) fn check(path: &Path, propagation: Propagation) -> Result<()> {
    if propagation == Propagation::Private {
        return Ok(());
    }
    let real = path.canonicalize().map_err(Error::io("look at", path))?;
    let table = fs::read_to_string(TABLE).map_err(Error::io("read", TABLE))?;
    let Some((at, is_shared, is_slave)) = mount_of(&table, &real) else {
        return Ok(());
    };
    let (fits, kind) = match propagation {
        Propagation::Slave => (is_shared || is_slave, "shared or slave"),
        _ => (is_shared, "shared"),
    };
    match fits {
        true => Ok(()),
        false => Err(invalid(format!(
            "path {} is mounted on {} but it is not a {kind} mount",
            path.display(),
            at.display()
        ))),
    }
}

/// The mount that a path is on, and whether it is shared or follows another.
fn mount_of(table: &str, path: &Path) -> Option<(PathBuf, bool, bool)> {
    let mounts = table.lines().filter_map(|line| {
        // proc_pid_mountinfo(5): optional fields go up to a hyphen.
        let fields: Vec<&str> = line.split(' ').collect();
        let at = PathBuf::from(unescaped(fields.get(4)?));
        let optional = fields.get(6..)?.iter().take_while(|field| **field != "-");
        let has = |start: &str| optional.clone().any(|field| field.starts_with(start));
        let (is_shared, is_slave) = (has("shared:"), has("master:"));
        path.starts_with(&at).then_some((at, is_shared, is_slave))
    });
    // The deepest; of several at one place, the last.
    mounts.max_by_key(|(at, ..)| at.components().count())
}

/// The kernel writes blanks, newlines and backslashes in octal.
fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (code, c) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        out = out.replace(code, c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_tells() {
        let table = "\
21 1 8:1 / / rw - ext4 /dev/sda rw
22 21 0:5 / /mnt rw,relatime shared:3 - tmpfs tmpfs rw
23 22 0:6 / /mnt/a\\040b rw master:3 - tmpfs tmpfs rw
24 21 0:7 / /mnt2 rw shared:9 master:3 - tmpfs tmpfs rw
";
        for (path, at, is_shared, is_slave) in [
            ("/etc", "/", false, false),
            ("/mnt/x", "/mnt", true, false),
            ("/mnt/a b/c", "/mnt/a b", false, true),
            ("/mnt2", "/mnt2", true, true),
        ] {
            let found = mount_of(table, Path::new(path)).unwrap();
            assert_eq!(found, (PathBuf::from(at), is_shared, is_slave));
        }
    }
}
