//! A kernel that writes down what it is asked, and fails where a test says so.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::syscall::{Attrs, FsType, Syscall};
use crate::limits::Ulimit;
use crate::mount::Propagation;
use crate::node::Node;
use crate::seccomp::Instruction;
use crate::window::WindowSize;

/// Records calls; descriptors appear in the record as what they were opened as.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) calls: RefCell<Vec<String>>,
    pub(crate) names: RefCell<HashMap<i32, String>>,
    /// Calls (as recorded, or their first word) that fail, with the errno.
    pub(crate) failures: HashMap<String, i32>,
    /// Paths that are directories.
    pub(crate) dirs: Vec<String>,
    /// What getcwd(2) answers; the path itself when not set.
    pub(crate) cwd: Option<String>,
}

impl Fake {
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// A descriptor that shows as `name`.
    pub(crate) fn fd(&self, name: &str) -> OwnedFd {
        let fd = OwnedFd::from(File::open("/dev/null").unwrap());
        self.names
            .borrow_mut()
            .insert(fd.as_raw_fd(), name.to_owned());
        fd
    }

    fn name(&self, fd: BorrowedFd<'_>) -> String {
        self.names
            .borrow()
            .get(&fd.as_raw_fd())
            .cloned()
            .unwrap_or_default()
    }

    fn call(&self, text: String) -> io::Result<()> {
        let verb = text.split(' ').next().unwrap_or_default();
        let errno = self
            .failures
            .get(&text)
            .or_else(|| self.failures.get(verb))
            .copied();
        self.calls.borrow_mut().push(text);
        errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

fn flags(attrs: Attrs) -> String {
    [
        (attrs.readonly, "ro"),
        (attrs.nosuid, "nosuid"),
        (attrs.nodev, "nodev"),
        (attrs.noexec, "noexec"),
    ]
    .iter()
    .filter(|(on, _)| *on)
    .map(|(_, name)| *name)
    .collect::<Vec<_>>()
    .join(",")
}

impl Syscall for Fake {
    fn open_terminal(&self, size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)> {
        self.call(format!("terminal {}x{}", size.rows, size.columns))?;
        Ok((self.fd("master"), self.fd("slave")))
    }

    fn take_terminal(&self, slave: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!("take {}", self.name(slave)))
    }

    fn send(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!("send {} {}", self.name(socket), self.name(fd)))
    }

    fn join_namespaces(&self, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!("join {}", self.name(pidfd)))
    }

    fn hide(&self) -> io::Result<()> {
        self.call("hide".to_owned())
    }

    fn make_dirs(&self, path: &str) -> io::Result<()> {
        self.call(format!("mkdirs {path}"))
    }

    fn setsid(&self) -> io::Result<()> {
        self.call("setsid".to_owned())
    }

    fn join_network(&self, netns: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!("setns {}", self.name(netns)))
    }

    fn raise_loopback(&self) -> io::Result<()> {
        self.call("lo-up".to_owned())
    }

    fn unshare_cgroup(&self) -> io::Result<()> {
        self.call("unshare cgroup".to_owned())
    }

    fn write_setting(&self, path: &str, value: &str) -> io::Result<()> {
        self.call(format!("write {path} {value}"))
    }

    fn set_oom_score(&self, score: i32) -> io::Result<()> {
        self.call(format!("oom-score {score}"))
    }

    fn set_domain(&self, name: &str) -> io::Result<()> {
        self.call(format!("setdomainname {name}"))
    }

    fn set_hostname(&self, name: &str) -> io::Result<()> {
        self.call(format!("sethostname {name}"))
    }

    fn private_mounts(&self) -> io::Result<()> {
        self.call("private-mounts".to_owned())
    }

    fn enter_root(&self, tree: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!("pivot_root {}", self.name(tree)))
    }

    fn make_mount(&self, fs: &FsType, attrs: Attrs) -> io::Result<OwnedFd> {
        let options: Vec<String> = fs.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        self.call(format!(
            "fsmount {} [{}] {}",
            fs.name,
            options.join(","),
            flags(attrs)
        ))?;
        Ok(self.fd(&fs.name))
    }

    fn clone_tree(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        let from = format!("{}:{name}", self.name(dir));
        self.call(format!("open_tree {from}"))?;
        Ok(self.fd(&format!("copy of {from}")))
    }

    fn set_attrs(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
        let deep = if recursive { " recursive" } else { "" };
        self.call(format!(
            "mount_setattr {} {}{deep}",
            self.name(tree),
            flags(attrs)
        ))
    }

    fn set_flags(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
        let deep = if recursive { " recursive" } else { "" };
        let name = self.name(tree);
        self.call(format!("mount_setattr {name} {} kept{deep}", flags(attrs)))
    }

    fn set_propagation(
        &self,
        tree: BorrowedFd<'_>,
        how: Propagation,
        recursive: bool,
    ) -> io::Result<()> {
        let deep = if recursive { " recursive" } else { "" };
        self.call(format!("mount_setattr {} {how:?}{deep}", self.name(tree)))
    }

    fn attach(&self, tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
        self.call(format!(
            "move_mount {} -> {}",
            self.name(tree),
            self.name(target)
        ))
    }

    fn detach(&self, path: &str) -> io::Result<()> {
        self.call(format!("umount {path}"))
    }

    fn open_path(&self, path: &str) -> io::Result<OwnedFd> {
        self.call(format!("open {path}"))?;
        Ok(self.fd(path))
    }

    fn is_dir(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(self.dirs.contains(&self.name(fd)))
    }

    fn make_file(&self, dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(content);
        self.call(format!("create {}:{name} {text:?}", self.name(dir)))
    }

    fn hand_over(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> io::Result<()> {
        let dir = self.name(dir);
        self.call(format!("chown {dir}:{name} {uid}:{gid} {mode:o}"))
    }

    fn open_in(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        let path = format!("{}:{path}", self.name(dir));
        self.call(format!("open {path}"))?;
        Ok(self.fd(&path))
    }

    fn make_dir(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.call(format!("mkdir {}:{name}", self.name(dir)))
    }

    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()> {
        self.call(format!("symlink {}:{name} -> {target}", self.name(dir)))
    }

    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, node: &Node) -> io::Result<()> {
        let (dir, kind) = (self.name(dir), if node.block { "b " } else { "" });
        self.call(format!(
            "mknod {dir}:{name} {kind}{}:{}",
            node.major, node.minor
        ))
    }

    fn set_umask(&self, mask: u32) {
        self.calls.borrow_mut().push(format!("umask {mask:04o}"));
    }

    fn reset_signals(&self) -> io::Result<()> {
        self.call("reset-signals".to_owned())
    }

    fn new_keyring(&self) -> io::Result<()> {
        self.call("keyctl".to_owned())
    }

    fn set_ulimit(&self, limit: &Ulimit) -> io::Result<()> {
        self.call(format!(
            "setrlimit {:?} {}:{}",
            limit.resource, limit.soft, limit.hard
        ))
    }

    fn change_dir(&self, path: &str) -> io::Result<String> {
        self.call(format!("chdir {path}"))?;
        Ok(self.cwd.clone().unwrap_or_else(|| path.to_owned()))
    }

    fn limit_bounding_set(&self, keep: u64) -> io::Result<()> {
        self.call(format!("bounding-set {keep:x}"))
    }

    fn install_filter(&self, filter: &[Instruction]) -> io::Result<()> {
        assert!(!filter.is_empty());
        self.call("seccomp".to_owned())
    }

    fn forbid_new_privileges(&self) -> io::Result<()> {
        self.call("no-new-privileges".to_owned())
    }

    fn own_pipes(&self, uid: u32) -> io::Result<()> {
        self.call(format!("chown stdio {uid}"))
    }

    fn set_identity(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
        self.call(format!("setuid {uid}:{gid} {groups:?}"))
    }

    fn set_capabilities(&self, mask: u64) -> io::Result<()> {
        self.call(format!("capset {mask:x}"))
    }

    fn die_with_parent(&self) -> io::Result<()> {
        self.call("pdeathsig".to_owned())
    }

    fn check_executable(&self, path: &str) -> io::Result<()> {
        self.call(format!("executable? {path}"))
    }

    fn exec(&self, path: &str, argv: &[String], env: &[String]) -> io::Error {
        match self.call(format!("exec {path} {argv:?} {env:?}")) {
            Ok(()) => io::Error::from_raw_os_error(nix::libc::ENOEXEC),
            Err(error) => error,
        }
    }
}
