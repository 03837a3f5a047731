//! Files that say something of a process for as long as it is there, a folder a subject.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often a file is written whose folder another takes away meanwhile.
const TRIES: u32 = 10;

/// What was left, until dropped.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<PathBuf>);

impl Marks {
    /// Leaves a file in a folder, made when needed.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn leave(&mut self, folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
        let path = folder.join(name);
        let mut tries = 0;
        loop {
            fs::create_dir_all(folder)?;
            match fs::write(&path, content) {
                // Who was the last in there has just gone.
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                other => break other?,
            }
        }
        self.0.push(path);
        Ok(())
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        for path in &self.0 {
            forget(path);
        }
    }
}

/// Takes a file away, and its folder when no other is in it.
pub(crate) fn forget(path: &Path) {
    let _ = fs::remove_file(path);
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
}
