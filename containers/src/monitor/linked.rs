//! Links on the bridge that all containers share: who is linked to a container has its address in
//! /etc/hosts, and is told when it has another one.
//!
//! Each leaves a file `BRIDGE.links/CONTAINER/WHO` that says where its monitor is to be found, and
//! the monitor of the other looks there when it has started: nobody else is asked.

use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::launch::Launch;
use crate::marks::{Marks, forget};
use crate::network;
use crate::protocol::{self, Kind, Request};

/// What a container has left for those that it is linked to, until dropped.
#[derive(Debug, Default)]
pub(super) struct Linked(Marks);

fn folder(dir: &Path, container: &str) -> PathBuf {
    dir.join(format!("{}.links", network::BRIDGE))
        .join(container)
}

/// Leaves word for those that a container is linked to.
pub(super) fn register(launch: &Launch) -> io::Result<Linked> {
    let mut linked = Linked::default();
    if launch.etc.links.is_empty() {
        return Ok(linked);
    }
    let dir = network::directory().map_err(io::Error::other)?;
    for link in &launch.etc.links {
        let folder = folder(&dir, &link.container);
        let place = launch.folder.as_os_str().as_encoded_bytes();
        linked.0.leave(&folder, &launch.id, place)?;
    }
    Ok(linked)
}

/// Tells those that are linked to a container where it is now. Nobody is waited for.
pub(super) fn tell(container: &str, address: Ipv4Addr) {
    use std::os::unix::ffi::OsStringExt as _;
    let Ok(dir) = network::directory() else {
        return;
    };
    let entries = fs::read_dir(folder(&dir, container));
    for path in entries.into_iter().flatten().flatten().map(|e| e.path()) {
        let Ok(at) = fs::read(&path) else {
            continue;
        };
        let request = Request::Linked {
            container: container.to_owned(),
            address,
        };
        let at = Folder::new(PathBuf::from(std::ffi::OsString::from_vec(at)));
        let told = at.connect().and_then(|socket| {
            UnixStream::from(socket).write_all(&protocol::json(Kind::Request, &request)?)
        });
        if told.is_err() {
            // Whoever left it was killed.
            forget(&path);
        }
    }
}
