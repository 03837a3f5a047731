//! Temporary folders with files in them: build contexts.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::Cmd;

/// Modification time of every file of a [`Dir`], seconds: told apart from any file that was made
/// by a build.
pub const OLD: u64 = 1_000_000_000;

/// A temporary folder.
#[derive(Debug)]
pub struct Dir(TempDir);

impl Default for Dir {
    fn default() -> Self {
        Self::new()
    }
}

impl Dir {
    /// An empty one.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("e2e-dir.").tempdir();
        Self(dir.expect("temporary folder"))
    }

    /// One with this Dockerfile.
    pub fn dockerfile(text: &str) -> Self {
        Self::new().file("Dockerfile", text)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file of it is.
    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// With a file, mode 0644; missing folders are made.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Writes a file as [`Dir::file`] does.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.join(path);
        self.folders(&file);
        fs::write(&file, content).expect("write a file");
        self.chmod(path, 0o644);
        self.touch(path, OLD);
    }

    /// With a folder, mode 0755.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        self.folders(&self.join(path).join("file"));
        self
    }

    /// With this mode on a file.
    #[must_use]
    pub fn mode(self, path: &str, mode: u32) -> Self {
        self.chmod(path, mode);
        self
    }

    /// With a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        let link = self.join(path);
        self.folders(&link);
        symlink(target, link).expect("symlink");
        self
    }

    /// With a copy of a folder's content.
    #[must_use]
    pub fn copy_of(self, folder: &Path) -> Self {
        Cmd::new("cp")
            .args(["-a", "--"])
            .arg(folder.join("."))
            .arg(self.path())
            .ok();
        self
    }

    /// Changes a file's mode.
    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.join(path), Permissions::from_mode(mode)).expect("chmod");
    }

    /// Sets a file's modification time, seconds since 1970.
    pub fn touch(&self, path: &str, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let times = FileTimes::new().set_modified(time).set_accessed(time);
        let file = File::open(self.join(path)).expect("open");
        file.set_times(times).expect("touch");
    }

    /// A file's text.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Parents of `file` get a mode and a time that no umask and no clock decides.
    fn folders(&self, file: &Path) {
        let below = file.strip_prefix(self.path()).expect("inside");
        let mut at = self.path().to_owned();
        for name in below.parent().into_iter().flat_map(Path::components) {
            at.push(name);
            if !at.is_dir() {
                fs::create_dir(&at).expect("mkdir");
                fs::set_permissions(&at, Permissions::from_mode(0o755)).expect("chmod");
            }
        }
    }
}
