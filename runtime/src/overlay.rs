//! Overlay mounts of layer directories, attached nowhere.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, utimensat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags};

use crate::error::{Error, Result, lacks_privilege};
use crate::sys::{self, Attrs};

/// Features that would make a layer depend on the mount it was written through.
const OFF: [&str; 3] = ["redirect_dir", "metacopy", "index"];

/// Mounts `lowers` (topmost first), with changes going to `upper_work` when given, and returns
/// the mount; nothing is left of it when the descriptor is closed, however this process ends.
///
/// With `upper_work` the mount is volatile: fsync(2) below it does nothing, so sync the upper
/// directory's file system (syncfs(2)) before relying on what was written. `work` must be empty
/// or have been the work directory of an earlier mount. Device nodes do not work below it.
/// A single lower directory without an upper one becomes a read-only bind mount.
///
/// # Errors
/// [`Error::Overlay`] with the kernel's message, [`Error::NotPermitted`] without privileges.
pub fn mount_detached(
    lowers: &[impl AsRef<Path>],
    upper_work: Option<(&Path, &Path)>,
) -> Result<OwnedFd> {
    mount(lowers, upper_work, Syncs::No)
}

/// The same, but for what lasts: fsync(2) below the mount does what it says.
///
/// # Errors
/// As [`mount_detached`].
pub fn mount_lasting(lowers: &[impl AsRef<Path>], upper_work: (&Path, &Path)) -> Result<OwnedFd> {
    mount(lowers, Some(upper_work), Syncs::Yes)
}

/// Whether fsync(2) reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Yes,
    No,
}

fn mount(
    lowers: &[impl AsRef<Path>],
    upper_work: Option<(&Path, &Path)>,
    syncs: Syncs,
) -> Result<OwnedFd> {
    let dirs: Vec<&Path> = lowers.iter().map(AsRef::as_ref).collect();
    let fail = |(step, cause): Failed| {
        let cause: io::Error = cause;
        if lacks_privilege(&cause) {
            return Error::NotPermitted {
                what: "mounting an overlay".to_owned(),
            };
        }
        Error::Overlay {
            layers: dirs.len(),
            step,
            cause,
        }
    };
    if let ([only], None) = (dirs.as_slice(), upper_work) {
        return bind_read_only(only).map_err(fail);
    }
    let mut opened = Vec::with_capacity(dirs.len());
    for dir in &dirs {
        opened.push(open_dir(dir).map_err(fail)?);
    }
    let upper = match upper_work {
        None => None,
        Some((upper, work)) => {
            let work_fd = open_dir(work).map_err(fail)?;
            forget_volatile(work);
            Some((open_dir(upper).map_err(fail)?, work_fd))
        }
    };
    match with_fds(&opened, upper.as_ref(), syncs) {
        // Kernels before 6.5 take no lower directories one by one.
        Err(first) if first.1.kind() == io::ErrorKind::InvalidInput => {
            with_option_string(&dirs, upper_work, syncs).map_err(|_| fail(first))
        }
        other => other.map_err(fail),
    }
}

type Failed = (String, io::Error);
type UpperWork = (OwnedFd, OwnedFd);

fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    move |error| (what.into(), error.into())
}

fn open_dir(path: &Path) -> Result<OwnedFd, Failed> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(step(format!("open {}", path.display())))
}

fn bind_read_only(dir: &Path) -> Result<OwnedFd, Failed> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, dir, flags)
        .map_err(step(format!("clone {}", dir.display())))?;
    let attrs = Attrs {
        readonly: true,
        nodev: true,
        ..Attrs::default()
    };
    sys::mount_setattr(tree.as_fd(), attrs, false).map_err(step("make read-only"))?;
    Ok(tree)
}

/// An overlay refuses a work directory that a volatile mount used before, because it cannot know
/// whether the data was synced; here the caller does.
fn forget_volatile(work: &Path) {
    let mark = work.join("work/incompat/volatile");
    let _ = fs::remove_file(mark.join("dirty"));
    let _ = fs::remove_dir(mark);
}

/// fsconfig(2) with one call per directory: any number of them, any names.
fn with_fds(
    lowers: &[OwnedFd],
    upper: Option<&UpperWork>,
    syncs: Syncs,
) -> Result<OwnedFd, Failed> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(step("open an overlay context"))?;
    let fs = context.as_fd();
    let explain = |what: &str, errno: Errno| (what.to_owned(), with_log(fs, errno));
    let dir = |key: &str, fd: &OwnedFd| {
        match rustix::mount::fsconfig_set_fd(fs, key, fd.as_fd()) {
            // Taking a directory by its magic link is as free of races and odd names.
            Err(Errno::INVAL) => rustix::mount::fsconfig_set_string(fs, key, link_to(fd).as_str()),
            other => other,
        }
        .map_err(|errno| explain(&format!("set {key}"), errno))
    };
    for lower in lowers {
        dir("lowerdir+", lower)?;
    }
    if let Some((upper, work)) = upper {
        dir("upperdir", upper)?;
        dir("workdir", work)?;
        if syncs == Syncs::No {
            rustix::mount::fsconfig_set_flag(fs, "volatile")
                .map_err(|errno| explain("set volatile", errno))?;
        }
    }
    for key in OFF {
        rustix::mount::fsconfig_set_string(fs, key, "off")
            .map_err(|errno| explain(&format!("set {key}"), errno))?;
    }
    rustix::mount::fsconfig_create(fs).map_err(|errno| explain("create", errno))?;
    let mut attrs = MountAttrFlags::MOUNT_ATTR_NODEV;
    attrs.set(MountAttrFlags::MOUNT_ATTR_RDONLY, upper.is_none());
    rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attrs).map_err(step("mount"))
}

/// Adds what the kernel left to read on the context to the error.
fn with_log(context: BorrowedFd<'_>, errno: Errno) -> io::Error {
    let mut buffer = [0u8; 1024];
    let mut lines = Vec::new();
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        lines.push(
            String::from_utf8_lossy(&buffer[..length])
                .trim_end()
                .to_owned(),
        );
    }
    let error = io::Error::from(errno);
    if lines.is_empty() {
        return error;
    }
    io::Error::new(error.kind(), format!("{error}: {}", lines.join("; ")))
}

fn link_to(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// mount(2) with one page of options, in a mount namespace of a thread of its own, from which
/// the mount is then taken out.
fn with_option_string(
    lowers: &[&Path],
    upper_work: Option<(&Path, &Path)>,
    syncs: Syncs,
) -> Result<OwnedFd, Failed> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| mount_aside(lowers, upper_work, syncs))
            .join()
    })
    .unwrap_or_else(|_| Err(("mount".to_owned(), io::ErrorKind::Other.into())))
}

fn mount_aside(
    lowers: &[&Path],
    upper_work: Option<(&Path, &Path)>,
    syncs: Syncs,
) -> Result<OwnedFd, Failed> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).map_err(step("make a namespace"))?;
    let private =
        rustix::mount::MountPropagationFlags::REC | rustix::mount::MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).map_err(step("make mounts private"))?;
    // Opened here, because the mount must be of this namespace. As descriptors the names are
    // short and free of separators: some 200 layers fit.
    let opened: Vec<OwnedFd> = lowers
        .iter()
        .map(|dir| open_dir(dir))
        .collect::<Result<_, _>>()?;
    let joined: Vec<String> = opened.iter().map(link_to).collect();
    let mut options = format!("lowerdir={}", joined.join(":"));
    let written = match upper_work {
        Some((upper, work)) => Some((open_dir(upper)?, open_dir(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &written {
        let (upper, work) = (link_to(upper), link_to(work));
        options.push_str(&format!(",upperdir={upper},workdir={work}"));
        if syncs == Syncs::No {
            options.push_str(",volatile");
        }
    }
    for key in OFF {
        options.push_str(&format!(",{key}=off"));
    }
    let options = std::ffi::CString::new(options)
        .map_err(|_| ("options".to_owned(), io::ErrorKind::InvalidInput.into()))?;
    let mut flags = MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, written.is_none());
    // Over the whole of /proc: it exists everywhere, and only this thread sees it.
    rustix::mount::mount("overlay", "/proc", "overlay", flags, options.as_c_str())
        .map_err(step("mount"))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, "/proc", flags).map_err(step("take the mount out"))
}

/// Makes a directory to be the bottom-most lower one of every container's overlay: it holds the
/// mount points every container has, so that they need not be made in the upper directory.
/// Times and modes are fixed. Making it again is harmless.
///
/// # Errors
/// [`Error::Setup`] naming the path.
pub fn prepare_stub_dir(path: &Path) -> Result<()> {
    let files = ["etc/hosts", "etc/resolv.conf"];
    prepare_stub(path, (&files, 0o644), &[])
}

/// The same for containers that are kept: they have a few files more, as docker's have.
///
/// # Errors
/// [`Error::Setup`] naming the path.
pub fn prepare_lasting_stub_dir(path: &Path) -> Result<()> {
    let files = [
        ".dockerenv",
        "dev/console",
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
    ];
    prepare_stub(path, (&files, 0o755), &["dev/pts", "dev/shm"])
}

fn prepare_stub(path: &Path, (files, mode): (&[&str], u32), dirs: &[&str]) -> Result<()> {
    let make = || -> io::Result<()> {
        for dir in ["", "dev", "etc", "proc", "sys"].iter().chain(dirs) {
            let dir = path.join(dir);
            fs::create_dir_all(&dir)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        }
        for file in files {
            let file = path.join(file);
            if !file.exists() {
                fs::write(&file, "")?;
            }
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            epoch(&file)?;
        }
        // What Docker has in every container.
        let mtab = path.join("etc/mtab");
        match symlink("/proc/mounts", &mtab) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => epoch(&mtab)?,
        }
        dirs.iter()
            .chain(&["dev", "etc", "proc", "sys", ""])
            .try_for_each(|dir| epoch(&path.join(dir)))
    };
    make().map_err(|error| Error::setup(format!("make {}", path.display()), error))
}

fn epoch(path: &Path) -> io::Result<()> {
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: zero,
        last_modification: zero,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What kernels before 6.5 get.
    #[test]
    fn an_option_string_does_the_same() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let odd = ["a:b", "c,d", "e\\f"].map(|name| dir.path().join(name));
        for (n, lower) in odd.iter().enumerate() {
            fs::create_dir(lower).unwrap();
            fs::write(lower.join("top"), n.to_string()).unwrap();
        }
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let lowers: Vec<&Path> = odd.iter().map(AsRef::as_ref).collect();
        // Twice: the work directory of a volatile mount is used again.
        for round in ["first", "second"] {
            forget_volatile(&work);
            let tree = with_option_string(&lowers, Some((&upper, &work)), Syncs::No).unwrap();
            let open = |name: &str, flags| {
                rustix::fs::openat(&tree, name, flags, Mode::RUSR)
                    .map(fs::File::from)
                    .unwrap()
            };
            let mut text = String::new();
            open("top", OFlags::RDONLY)
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "0");
            open(round, OFlags::WRONLY | OFlags::CREATE);
            assert!(upper.join(round).exists());
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(
            !mounts.contains(dir.path().to_str().unwrap()),
            "attached nowhere"
        );
    }

    #[test]
    fn stub_is_the_same_every_time() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let stub = dir.path().join("stub");
        prepare_stub_dir(&stub).unwrap();
        prepare_stub_dir(&stub).unwrap();
        for name in [
            "",
            "dev",
            "proc",
            "sys",
            "etc",
            "etc/hosts",
            "etc/resolv.conf",
            "etc/mtab",
        ] {
            let found = stub.join(name).symlink_metadata().unwrap();
            assert_eq!(found.mtime(), 0, "{name}");
        }
        assert_eq!(
            fs::read_link(stub.join("etc/mtab")).unwrap(),
            Path::new("/proc/mounts")
        );
    }
}
