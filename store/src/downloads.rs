//! Downloads that builds keep below `build/`: how much they are, and what of them is old.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The folder, below that of derived data.
pub(crate) const FOLDER: &str = "downloads";

/// Bytes of the files in `dir` that were not used for the time of `until`. Unless it is a dry run
/// they are removed; who uses one has a name of its own for it.
pub(crate) fn old(dir: &Path, until: Option<Duration>, remove: bool) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut size = 0;
    for entry in entries {
        let entry = entry?;
        // One that has gone meanwhile counts for nothing.
        let Ok(status) = entry.metadata() else {
            continue;
        };
        let age = SystemTime::now().duration_since(status.modified()?);
        if until.is_some_and(|until| age.unwrap_or_default() < until) {
            continue;
        }
        if remove {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                removed => removed?,
            }
        }
        size += status.len();
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_lately_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        assert_eq!(old(&folder, None, true).unwrap(), 0);
        fs::create_dir(&folder).unwrap();
        for (name, age) in [("new", 10), ("old", 100)] {
            fs::write(folder.join(name), name).unwrap();
            let file = fs::File::open(folder.join(name)).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(time).unwrap();
        }
        let minute = Some(Duration::from_secs(60));
        assert_eq!(old(&folder, minute, false).unwrap(), 3);
        assert_eq!(old(&folder, None, false).unwrap(), 6);
        assert_eq!(old(&folder, minute, true).unwrap(), 3);
        assert!(folder.join("new").exists() && !folder.join("old").exists());
    }
}
