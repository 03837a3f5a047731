//! The other clients: podman, buildah and skopeo, with storage of their own.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Cmd, Missing, is_root, program};

/// `skopeo`, told nothing by this machine's configuration.
///
/// # Errors
/// [`Missing`] when it is not installed.
pub fn skopeo(args: &[&str]) -> Result<Cmd, Missing> {
    Ok(Cmd::new(program("skopeo")?)
        .env("HOME", "/nonexistent")
        .arg("--insecure-policy")
        .args(args))
}

/// podman and buildah with one private storage, and mount namespaces that end with each command.
#[derive(Debug)]
pub struct Podman {
    podman: PathBuf,
    dir: TempDir,
}

impl Podman {
    /// Empty storage.
    ///
    /// # Errors
    /// [`Missing`] without podman or root.
    pub fn new() -> Result<Self, Missing> {
        is_root()?;
        let podman = program("podman")?;
        let dir = tempfile::Builder::new().prefix("e2e-podman.").tempdir();
        let dir = dir.expect("temporary folder");
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(dir.path().join("policy.json"), policy).expect("write");
        Ok(Self { podman, dir })
    }

    /// A file beside the storage.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `podman` with these arguments.
    pub fn podman(&self, args: &[&str]) -> Cmd {
        let mut cmd = self
            .with_storage(&self.podman)
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .arg("--tmpdir")
            .arg(self.file("tmp"));
        // crun refuses hosts that have both versions of control groups.
        if Path::new("/sys/fs/cgroup/unified").exists()
            && let Ok(runc) = program("runc")
        {
            cmd = cmd.arg("--runtime").arg(runc);
        }
        cmd.args(args)
    }

    /// `podman run --rm` of an image, on the host's network and with limits that any host allows.
    pub fn run(&self, image: &str) -> Cmd {
        self.podman(&["run", "--rm", "--network", "host"])
            .arg(format!("--cgroup-parent=/{}", self.group()))
            .args([
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=1024:1024",
            ])
            .arg(image)
    }

    /// The control group of its containers.
    fn group(&self) -> String {
        let name = self.dir.path().file_name().expect("a name");
        format!("rbuild-{}", name.to_string_lossy())
    }

    fn with_storage(&self, tool: &Path) -> Cmd {
        Cmd::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .arg(tool)
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.file("xdg"))
            .env("TMPDIR", self.dir.path())
            .arg("--root")
            .arg(self.file("storage"))
            .arg("--runroot")
            .arg(self.file("run"))
            .args(["--storage-driver", "overlay"])
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
        for dir in hierarchies.map(|e| e.path()).chain([top.to_owned()]) {
            remove_groups(&dir.join(self.group()));
        }
    }
}

/// Removes control groups that podman leaves empty.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// `buildah` on the storage of a [`Podman`].
///
/// # Errors
/// [`Missing`] when it is not installed.
pub fn buildah(storage: &Podman, args: &[&str]) -> Result<Cmd, Missing> {
    Ok(storage.with_storage(&program("buildah")?).args(args))
}
