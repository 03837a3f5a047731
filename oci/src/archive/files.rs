//! The files in an archive, be it a tar or a directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::error::{ArchiveError, failed, invalid};
use crate::layer::reader::{EntryKind, Reader};
use crate::layer::unpack::clean;

/// How many bytes of names are kept.
const MAX_NAMES: usize = 64 << 20;
/// How many links lead to a file at most.
const MAX_LINKS: usize = 16;

/// Where to look for files.
#[derive(Clone, Debug)]
pub(super) enum Files {
    Tar {
        file: Arc<File>,
        nodes: Arc<HashMap<Vec<u8>, Node>>,
    },
    Dir(Arc<OwnedFd>),
}

/// A file in a tar, or a link to one.
#[derive(Debug)]
pub(super) enum Node {
    File { offset: u64, size: u64 },
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
}

/// A file's content, wherever it is; can be read several times, also at once.
#[derive(Clone, Debug)]
pub(super) struct Content {
    source: Source,
    pub size: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Tar { file: Arc<File>, offset: u64 },
    Dir { dir: Arc<OwnedFd>, path: String },
}

/// Reads a [`Content`].
#[derive(Debug)]
pub struct ContentReader {
    file: Arc<File>,
    offset: u64,
    left: u64,
    whole: bool,
}

impl ContentReader {
    /// The file that holds this and nothing else, to share its blocks; none in a tar.
    pub fn whole_file(&self) -> Option<&File> {
        self.whole.then_some(&*self.file)
    }
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buf[..wanted], self.offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

impl Content {
    pub(super) fn open(&self) -> io::Result<ContentReader> {
        let (file, offset, whole) = match &self.source {
            Source::Tar { file, offset } => (Arc::clone(file), *offset, false),
            Source::Dir { dir, path } => (Arc::new(open_in(dir, path)?), 0, true),
        };
        Ok(ContentReader {
            file,
            offset,
            left: self.size,
            whole,
        })
    }
}

/// Opens a file inside a directory, wherever links in it may point.
fn open_in(dir: &OwnedFd, path: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(dir, path, flags, Mode::empty(), resolve)?.into())
}

impl Files {
    /// The files of an OCI image layout's directory.
    pub(super) fn directory(path: &Path) -> Result<Self, ArchiveError> {
        let dir = File::open(path).map_err(failed(format!("opening {}", path.display())))?;
        Ok(Self::Dir(Arc::new(dir.into())))
    }

    /// Looks through a tar that is not compressed.
    pub(super) fn tar(file: File) -> Result<Self, ArchiveError> {
        let reading = "reading the archive";
        let len = file.metadata().map_err(failed(reading))?.len();
        let mut reader = Reader::new(file.try_clone().map_err(failed(reading))?);
        let mut nodes = HashMap::new();
        let mut names = 0;
        while let Some(entry) = reader.next_entry()? {
            let offset = reader.offset();
            if len.checked_sub(offset).is_none_or(|left| left < entry.size)
                && entry.segments.is_none()
            {
                return Err(failed(reading)(io::ErrorKind::UnexpectedEof.into()));
            }
            let node = match entry.kind {
                EntryKind::File if entry.segments.is_none() => Node::File {
                    offset,
                    size: entry.size,
                },
                EntryKind::Symlink(target) => Node::Symlink(target),
                EntryKind::HardLink(target) => Node::HardLink(target),
                _ => {
                    reader.seek_past_content().map_err(failed(reading))?;
                    continue;
                }
            };
            reader.seek_past_content().map_err(failed(reading))?;
            let shown = || String::from_utf8_lossy(&entry.path).into_owned();
            let path = clean(&entry.path).map_err(|e| invalid(shown(), e.to_string()))?;
            names += path.len() + size_of::<Node>();
            if names > MAX_NAMES {
                return Err(invalid("list of files", "it is too long"));
            }
            nodes.insert(path, node);
        }
        Ok(Self::Tar {
            file: Arc::new(file),
            nodes: Arc::new(nodes),
        })
    }

    /// Finds a file; `None` when the archive has none of that name.
    pub(super) fn find(&self, name: &str) -> Result<Option<Content>, ArchiveError> {
        let outside = |e: crate::layer::unpack::Problem| invalid(name, e.to_string());
        let not_a_file = || ArchiveError::NotAFile(name.to_owned());
        let mut path = clean(name.as_bytes()).map_err(outside)?;
        match self {
            Self::Dir(dir) => {
                let path = String::from_utf8(path).map_err(|_| not_a_file())?;
                let file = match open_in(dir, &path) {
                    Ok(file) => file,
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    Err(e) => return Err(failed(format!("opening {name}"))(e.into())),
                };
                let metadata = file
                    .metadata()
                    .map_err(failed(format!("reading the size of {name}")))?;
                if !metadata.is_file() {
                    return Err(not_a_file());
                }
                Ok(Some(Content {
                    source: Source::Dir {
                        dir: Arc::clone(dir),
                        path,
                    },
                    size: metadata.len(),
                }))
            }
            Self::Tar { file, nodes } => {
                for _ in 0..MAX_LINKS {
                    path = match nodes.get(&path) {
                        None => return Ok(None),
                        Some(&Node::File { offset, size }) => {
                            return Ok(Some(Content {
                                source: Source::Tar {
                                    file: Arc::clone(file),
                                    offset,
                                },
                                size,
                            }));
                        }
                        Some(Node::HardLink(target)) => clean(target).map_err(outside)?,
                        Some(Node::Symlink(target)) => follow(&path, target).map_err(outside)?,
                    };
                }
                Err(not_a_file())
            }
        }
    }

    /// Finds a file that must be there.
    pub(super) fn get(&self, name: &str) -> Result<Content, ArchiveError> {
        self.find(name)?
            .ok_or_else(|| ArchiveError::Missing(name.to_owned()))
    }

    /// Reads a small file whole.
    pub(super) fn read(&self, name: &str, max: usize) -> Result<Vec<u8>, ArchiveError> {
        let content = self.get(name)?;
        if content.size > max as u64 {
            return Err(ArchiveError::TooLarge {
                name: name.to_owned(),
                max: max as u64,
            });
        }
        let mut bytes = Vec::new();
        content
            .open()
            .and_then(|mut reader| reader.read_to_end(&mut bytes))
            .map_err(failed(format!("reading {name}")))?;
        Ok(bytes)
    }
}

/// Where a symbolic link leads, inside the archive.
fn follow(link: &[u8], target: &[u8]) -> Result<Vec<u8>, crate::layer::unpack::Problem> {
    let parent = match link.iter().rposition(|&b| b == b'/') {
        Some(slash) if !target.starts_with(b"/") => &link[..slash],
        _ => b"",
    };
    clean(&[parent, b"/", target].concat())
}
