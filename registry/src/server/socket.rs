//! What connections come in by: TCP, or a unix socket.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who may use a socket: its owner and its group, a proxy's perhaps.
const MODE: u32 = 0o660;

/// What connections come in by.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Socket {
        listener: UnixListener,
        /// Held for as long as it listens.
        _placed: Placed,
    },
}

/// A connection that came in.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Socket(UnixStream),
}

/// A socket's place in the file system; empty again when dropped.
#[derive(Debug)]
pub(super) struct Placed(PathBuf);

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// The socket that systemd listens on for this process (sd_listen_fds(3)), if there is one.
    pub(super) fn inherited() -> io::Result<Option<Self>> {
        let mut given = listenfd::ListenFd::from_env();
        let Some(listener) = given.take_tcp_listener(0)? else {
            return Ok(None);
        };
        listener.set_nonblocking(true)?;
        Ok(Some(Self::Tcp(TcpListener::from_std(listener)?)))
    }

    pub(super) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(addr).await.map(Self::Tcp)
    }

    /// As [`Server::bind_socket`](super::Server::bind_socket).
    pub(super) fn bind_socket(path: &Path) -> io::Result<Self> {
        if let Ok(there) = std::fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "something that is no socket is there",
                ));
            }
            if Probe::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            // Nobody listens: a process that was killed left it.
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let placed = Placed(path.to_owned());
        std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(Self::Socket {
            listener,
            _placed: placed,
        })
    }

    /// The next connection, and where it comes from; a socket's comes from nowhere.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                // On all addresses, those of IPv4 come as if they were of IPv6.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Accepted::Tcp(stream), Some(peer)))
            }
            Self::Socket { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Socket(stream), None))
            }
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Socket { .. } => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.sock");
        let first = Listener::bind_socket(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let taken = Listener::bind_socket(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists());
        // As a process that was killed leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let again = Listener::bind_socket(&path).unwrap();
        drop(again);
        std::fs::write(&path, "mine").unwrap();
        let other = Listener::bind_socket(&path).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
