//! What lies in a container's folder: every path of it is made here.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

const SOCKET: &str = "socket";

/// The folder of one container.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// From its path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What has become of the container.
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Its log, for a container of this ID.
    pub fn log(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}-json.log"))
    }

    /// What it sees as a file of /etc.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The log of its monitor's own troubles.
    pub fn troubles(&self) -> PathBuf {
        self.0.join("monitor.log")
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        options.open(self.0.join(name))
    }

    /// Takes the lock of whoever runs the container; nothing when somebody does.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn run(&self) -> io::Result<Option<File>> {
        let file = self.lock_file("monitor.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock of whoever changes the container.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn change(&self) -> io::Result<File> {
        let file = self.lock_file("change.lock")?;
        file.lock()?;
        Ok(file)
    }

    /// The address of the monitor's socket, by way of the open folder: names of sockets are short.
    fn address(&self) -> io::Result<(OwnedFd, SocketAddrUnix)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, &self.0, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        Ok((dir, SocketAddrUnix::new(path)?))
    }

    /// Connects to the monitor.
    ///
    /// # Errors
    /// When there is none.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        let (_dir, address) = self.address()?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)?;
        Ok(socket)
    }

    /// Listens as the monitor.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        match std::fs::remove_file(self.0.join(SOCKET)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let (_dir, address) = self.address()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind(&socket, &address)?;
        listen(&socket, 64)?;
        Ok(socket)
    }
}
