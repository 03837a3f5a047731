//! Base images, made once and kept between runs in `RBUILD_TEST_CACHE` (`target/test-bases`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::{Cmd, Missing, is_root, program, repository};

/// A root file system of Debian's busybox, as a tar archive.
///
/// # Errors
/// [`Missing`] without busybox.
pub fn busybox() -> Result<PathBuf, Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    MADE.get_or_init(|| {
        program("busybox")?;
        let tar = cache().join("busybox.tar");
        let script = repository().join("scripts/base-busybox.sh");
        // Only one process makes it; the others wait and take it.
        let lock = File::create(cache().join("busybox.lock")).expect("lock file");
        lock.lock().expect("lock");
        if !newer(&tar, &script) {
            Cmd::new(script).arg(&tar).ok();
        }
        Ok(tar)
    })
    .clone()
}

/// A root file system of Debian's busybox for arm64, as a tar archive.
///
/// # Errors
/// [`Missing`] where Debian's packages cannot be had.
pub fn arm64() -> Result<PathBuf, Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    MADE.get_or_init(|| {
        program("apt-get")?;
        program("dpkg-deb")?;
        let tar = cache().join("arm64.tar");
        let script = repository().join("scripts/base-arm64.sh");
        let lock = File::create(cache().join("arm64.lock")).expect("lock file");
        lock.lock().expect("lock");
        if !newer(&tar, &script) {
            Cmd::new(script).arg(&tar).ok();
        }
        Ok(tar)
    })
    .clone()
}

/// A debootstrap'ed Debian, as a tar archive, and the `--change` lines that belong to it.
///
/// # Errors
/// [`Missing`] without root or debootstrap.
pub fn debian() -> Result<(PathBuf, Vec<String>), Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let tar = MADE
        .get_or_init(|| {
            is_root()?;
            program("debootstrap")?;
            let tar = cache().join("debian-bookworm.tar");
            // It locks, and keeps an archive that is up to date.
            Cmd::new(repository().join("scripts/base-debian.sh"))
                .arg(&tar)
                .limit(Duration::from_secs(1800))
                .ok();
            Ok(tar)
        })
        .clone()?;
    let changes = fs::read_to_string(tar.with_extension("tar.changes")).unwrap_or_default();
    Ok((tar, changes.lines().map(str::to_owned).collect()))
}

/// The archive that the tomcat example adds, which is made of Debian's packages.
///
/// # Errors
/// [`Missing`] where there are no such packages.
pub fn tomcat() -> Result<PathBuf, Missing> {
    program("apt-get")?;
    program("dpkg-deb")?;
    let tar = cache().join("apache-tomcat.tar.gz");
    let script = repository().join("Dockerfile.examples/tomcat/make-context.sh");
    let make = Cmd::new(script).arg(&tar);
    if !make.run().status.success() {
        // Package lists may be missing or old.
        Cmd::new("apt-get").args(["-qq", "update"]).run();
        make.ok();
    }
    Ok(tar)
}

fn cache() -> PathBuf {
    let dir = std::env::var_os("RBUILD_TEST_CACHE").map_or_else(
        || repository().join("target/test-bases"),
        |dir| repository().join(dir),
    );
    fs::create_dir_all(&dir).expect("make the folder of base images");
    dir
}

fn newer(file: &Path, than: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    time(file).is_some_and(|file| time(than).is_some_and(|than| file > than))
}
