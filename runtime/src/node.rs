//! Device nodes, and which of them a container can open.

use std::io;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

/// Which devices a container can open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Devices {
    /// Those that are bound into /dev, and no node beside them.
    #[default]
    Closed,
    /// Docker's list, by a device control group, else as [`Devices::Closed`].
    Usual,
    /// All.
    All,
}

/// A device node in /dev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where, below /dev; made when missing.
    pub path: String,
    /// A block device, else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What the container may do with the device.
    pub access: Access,
}

/// Devices by their numbers, and what may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Block devices.
    pub block: bool,
    /// Character devices.
    pub character: bool,
    /// Major number; nothing for any.
    pub major: Option<u32>,
    /// Minor number; nothing for any.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: Access,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// It can be read from.
    pub read: bool,
    /// It can be written to.
    pub write: bool,
    /// A node of it can be made, as of any device.
    pub make: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        make: true,
    };
}

impl Node {
    /// A character device of root's that everybody may open.
    pub(crate) fn character(path: impl Into<String>, major: u32, minor: u32) -> Self {
        Self {
            path: path.into(),
            block: false,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
            access: Access::ALL,
        }
    }

    /// The device that this machine has at a path, to be at another in the container.
    ///
    /// # Errors
    /// When there is none.
    pub fn like(path: &str, inside: &str) -> io::Result<Self> {
        let stat = rustix::fs::stat(path)?;
        let block = match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => true,
            FileType::CharacterDevice => false,
            _ => return Err(io::Error::other("not a device node")),
        };
        Ok(Self {
            path: inside.to_owned(),
            block,
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
            mode: stat.st_mode & 0o777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            access: Access::ALL,
        })
    }

    /// The device of this machine at a path, or all those in the folder there and below, to be at
    /// `inside` in the container.
    ///
    /// # Errors
    /// When there is none.
    pub fn all_below(path: &str, inside: &str) -> io::Result<Vec<Self>> {
        if !std::fs::metadata(path)?.is_dir() {
            return Ok(vec![Self::like(path, inside)?]);
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            let (Some(name), Some(from)) = (name.to_str(), entry.path().to_str().map(String::from))
            else {
                continue;
            };
            let to = format!("{}/{name}", inside.trim_end_matches('/'));
            // docker leaves these out: they are of a terminal, or of memory, of its own.
            let is_own = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
            if kind.is_dir() && !is_own.contains(&name) {
                found.extend(Self::all_below(&from, &to)?);
            } else if !kind.is_dir() && !kind.is_symlink() && name != "console" {
                // What is no device is left out, as a socket.
                found.extend(Self::like(&from, &to));
            }
        }
        match found.is_empty() {
            true => Err(io::Error::other("not a device node")),
            false => Ok(found),
        }
    }

    /// What BuildKit adds to /dev for `--security=insecure`.
    pub(crate) fn privileged() -> impl Iterator<Item = Self> {
        let characters = [
            ("/dev/kmsg", 1, 11),
            ("/dev/cuse", 10, 203),
            ("/dev/fuse", 10, 229),
            ("/dev/kvm", 10, 232),
            ("/dev/net/tun", 10, 200),
            ("/dev/loop-control", 10, 237),
        ]
        .map(|(path, major, minor)| Self {
            mode: 0o600,
            ..Self::character(path, major, minor)
        });
        let loops = (0..8).map(|minor| Self {
            block: true,
            mode: 0o660,
            ..Self::character(format!("/dev/loop{minor}"), 7, minor)
        });
        characters.into_iter().chain(loops)
    }
}
