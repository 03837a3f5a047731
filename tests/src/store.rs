//! `rbuild` on a store of a test's own.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Archive, Cmd, Dir, Done, Missing, Tree, assert_nothing_left, bases, is_root, rbuild};

/// A temporary store. When the test ends well, nothing of it may be mounted or running.
#[derive(Debug)]
pub struct Store {
    dir: TempDir,
}

impl Store {
    /// An empty store.
    ///
    /// # Errors
    /// [`Missing`] without root.
    pub fn new() -> Result<Self, Missing> {
        is_root()?;
        let dir = tempfile::Builder::new().prefix("e2e-store.").tempdir();
        let dir = dir.expect("temporary folder");
        Ok(Self { dir })
    }

    /// A store that has `busybox:latest`.
    ///
    /// # Errors
    /// [`Missing`] without root or busybox.
    pub fn busybox() -> Result<Self, Missing> {
        let store = Self::new()?;
        let tar = bases::busybox()?;
        store
            .rbuild(["import", "--change", r#"CMD ["sh"]"#])
            .arg(tar)
            .arg("busybox:latest")
            .ok();
        Ok(store)
    }

    /// A store that has `debian:bookworm`.
    ///
    /// # Errors
    /// [`Missing`] without root or debootstrap.
    pub fn debian() -> Result<Self, Missing> {
        let store = Self::new()?;
        let (tar, changes) = bases::debian()?;
        store
            .rbuild(["import"])
            .args(changes.iter().map(|line| format!("--change={line}")))
            .arg(tar)
            .arg("debian:bookworm")
            .ok();
        Ok(store)
    }

    /// The store's folder.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// The user's home folder, empty at first.
    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    /// A file beside the store.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `rbuild` with these arguments.
    pub fn rbuild<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> Cmd {
        Cmd::new(rbuild())
            .env("RBUILD_ROOT", self.root())
            .env("RBUILD_PROGRESS", "plain")
            .env("HOME", self.home())
            .args(args)
    }

    /// `rbuild build -t TAG CONTEXT`; RUN steps have no network, which is quicker to set up.
    pub fn build(&self, tag: &str, context: &Dir) -> Cmd {
        self.rbuild(["build", "--network", "none", "-t", tag])
            .arg(context.path())
    }

    /// The ID of an image.
    #[track_caller]
    pub fn id(&self, image: &str) -> String {
        let id = self.inspect(image)["Id"].clone();
        id.as_str().expect("an ID").to_owned()
    }

    /// Whether there is such an image.
    pub fn has(&self, image: &str) -> bool {
        self.rbuild(["inspect", image]).run().status.success()
    }

    /// What `rbuild inspect` tells of an image.
    #[track_caller]
    pub fn inspect(&self, image: &str) -> Value {
        let all = self.rbuild(["inspect", image]).ok().json();
        all[0].clone()
    }

    /// The `Config` of an image.
    #[track_caller]
    pub fn config(&self, image: &str) -> Value {
        self.inspect(image)["Config"].clone()
    }

    /// The files of an image.
    #[track_caller]
    pub fn tree(&self, image: &str) -> Tree {
        let tar = tempfile::NamedTempFile::new_in(self.dir.path()).expect("file");
        self.rbuild(["export", "-o"])
            .arg(tar.path())
            .arg(image)
            .ok();
        Tree::from_tar(tar.path())
    }

    /// The image as `rbuild save` writes it.
    #[track_caller]
    pub fn archive(&self, image: &str) -> Archive {
        let tar = tempfile::NamedTempFile::new_in(self.dir.path()).expect("file");
        self.rbuild(["save", "-o"]).arg(tar.path()).arg(image).ok();
        Archive::read(tar.path())
    }

    /// Builds and returns the files of the image.
    #[track_caller]
    pub fn built(&self, context: &Dir) -> (Done, Tree) {
        let done = self.build("built", context).ok();
        (done, self.tree("built"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return assert_nothing_left(self.dir.path());
        }
        // A story that has failed leaves no container behind, and says why it failed all the same.
        let all = self.rbuild(["ps", "-aq"]).run().out();
        let ids: Vec<&str> = all.lines().collect();
        if !ids.is_empty() {
            self.rbuild(["rm", "-f"]).args(ids).run();
        }
    }
}
