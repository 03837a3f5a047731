//! The entries of a tar that nobody vouches for.
//!
//! Reads ustar, PAX and GNU archives as GNU tar and Go's archive/tar do, with bounds on all that
//! is kept in memory. The `tar` crate is not used for this: it reads PAX headers of any size
//! whole, splits their records at newlines (binary attribute values contain them), and knows
//! only the oldest kind of sparse file.

mod block;
mod field;
mod pax;
mod sparse;

use std::io::{self, BufRead, BufReader, Read, Seek};

use block::{BLOCK, until_nul};
use field::RawHeader;
use pax::Pax;

pub use block::MAX_EXTENSION;
pub use sparse::Segment;

const BUFFER: usize = 256 << 10;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed, or ended early.
    #[error("reading the archive: {0}")]
    Io(io::Error),
    /// The archive is malformed.
    #[error("the archive is malformed at byte {offset}: {problem}")]
    Malformed {
        /// Where the header of the entry is.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// An entry of a kind that is not unpacked.
    #[error("{:?} is an archive entry of the unsupported type {:?}", path, char::from(*flag))]
    Unsupported {
        /// The entry's path.
        path: String,
        /// The type flag.
        flag: u8,
    },
}

impl From<io::Error> for ReadError {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            // Rust's own sentence tells of a buffer.
            io::ErrorKind::UnexpectedEof => {
                Self::Io(io::Error::new(cause.kind(), "unexpected EOF"))
            }
            _ => Self::Io(cause),
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Another name of the file at this path.
    HardLink(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device of these major and minor numbers.
    Char(u32, u32),
    /// A block device of these major and minor numbers.
    Block(u32, u32),
}

/// One entry's metadata, as the archive has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path, raw.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permissions, setuid, setgid and sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since the epoch, and nanoseconds.
    pub mtime: (i64, u32),
    /// The file's size in bytes, holes included.
    pub size: u64,
    /// `SCHILY.xattr.*` names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content goes when the file has holes; `None` when it has none.
    pub segments: Option<Vec<Segment>>,
}

/// Reads an archive entry by entry.
#[derive(Debug)]
pub struct Reader<R> {
    inner: BufReader<R>,
    offset: u64,
    /// Content of the current entry that was not read yet.
    content: u64,
    /// Zeros after it.
    padding: u64,
}

impl<R: Read> Reader<R> {
    /// Reads `archive`, buffered.
    pub fn new(archive: R) -> Self {
        Self {
            inner: BufReader::with_capacity(BUFFER, archive),
            offset: 0,
            content: 0,
            padding: 0,
        }
    }

    /// The next entry, or `None` at the archive's end. Content of the one before that was not
    /// read is skipped.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        let mut pax: Option<Vec<u8>> = None;
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip_rest()?;
            let start = self.offset;
            let malformed = |problem| ReadError::Malformed {
                offset: start,
                problem,
            };
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(malformed(
                        "extended headers without the entry they describe",
                    ));
                }
                return Ok(None);
            };
            let extension = match header.flag() {
                b'x' => &mut pax,
                b'L' => &mut long_name,
                b'K' => &mut long_link,
                b'g' => {
                    self.begin(header.size().map_err(malformed)?);
                    continue;
                }
                _ => {
                    let pax = Pax::parse(pax.as_deref().unwrap_or_default()).map_err(malformed)?;
                    return self
                        .entry(&header, pax, long_name, long_link, start)
                        .map(Some);
                }
            };
            if extension.is_some() {
                return Err(malformed(
                    "two extended headers of one kind before an entry",
                ));
            }
            let size = header.size().map_err(malformed)?;
            if size > MAX_EXTENSION {
                return Err(malformed("an extended header of more than 1 MiB"));
            }
            self.begin(size);
            *extension = Some(self.rest()?);
        }
    }

    /// A piece of the current entry's content, as it is stored (without holes); empty at its
    /// end. [`consume`](Self::consume) tells how much of it was used.
    ///
    /// # Errors
    /// When the source fails or ends early.
    pub fn content(&mut self) -> io::Result<&[u8]> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let buffer = self.inner.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(self.content).unwrap_or(usize::MAX);
        Ok(&buffer[..buffer.len().min(len)])
    }

    /// Drops `n` bytes of what [`content`](Self::content) returned.
    pub fn consume(&mut self, n: usize) {
        self.inner.consume(n);
        self.content -= n as u64;
        self.offset += n as u64;
    }

    /// Where the archive is being read: right after [`next_entry`](Self::next_entry), where the
    /// entry's content begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The source. What was read of it ahead is lost.
    pub(crate) fn into_inner(self) -> R {
        self.inner.into_inner()
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// What is left of the content; the caller has checked that it is small.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let piece = self.content()?;
            if piece.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(piece);
            let n = piece.len();
            self.consume(n);
        }
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        self.content += std::mem::take(&mut self.padding);
        loop {
            let n = self.content()?.len();
            if n == 0 {
                return Ok(());
            }
            self.consume(n);
        }
    }

    /// Reads one block; `None` when the source ends right here.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        if self.inner.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.inner.read_exact(&mut block)?;
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    /// The next header, or `None` at the end: two zero blocks, or that of the source.
    fn header(&mut self) -> Result<Option<RawHeader>, ReadError> {
        let offset = self.offset;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK] {
            return match self.block()? {
                Some(second) if second != [0; BLOCK] => Err(ReadError::Malformed {
                    offset,
                    problem: "a single block of zeros in the middle",
                }),
                _ => Ok(None),
            };
        }
        RawHeader::new(block)
            .map(Some)
            .map_err(|problem| ReadError::Malformed { offset, problem })
    }

    fn entry(
        &mut self,
        header: &RawHeader,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        offset: u64,
    ) -> Result<Entry, ReadError> {
        let malformed = |problem| ReadError::Malformed { offset, problem };
        let path = match long_name {
            Some(name) => until_nul(name),
            None => pax.path.take().unwrap_or_else(|| header.path()),
        };
        let link = match long_link {
            Some(link) => until_nul(link),
            None => pax.link.take().unwrap_or_else(|| header.link()),
        };
        let flag = match header.flag() {
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => b'5',
            flag => flag,
        };
        let kind = match flag {
            b'0' | b'\0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' | b'4' => {
                let (major, minor) = header.device().map_err(malformed)?;
                if flag == b'3' {
                    EntryKind::Char(major, minor)
                } else {
                    EntryKind::Block(major, minor)
                }
            }
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            _ => {
                return Err(ReadError::Unsupported {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    flag,
                });
            }
        };
        // Only files have content: what other entries claim as their size does not follow.
        let stored = match (&kind, pax.size) {
            (EntryKind::File, Some(size)) => size,
            (EntryKind::File, None) => header.size().map_err(malformed)?,
            _ => 0,
        };
        let sparse = if flag == b'S' {
            Some(self.old_gnu_sparse(header, offset)?)
        } else {
            None
        };
        self.begin(stored);
        let sparse = match sparse {
            None if kind == EntryKind::File => self.pax_sparse(&pax, offset)?,
            other => other,
        };
        let (size, segments) = match sparse {
            None => (stored, None),
            Some((size, segments)) => {
                sparse::validate(&segments, size, self.content).map_err(malformed)?;
                (size, Some(segments))
            }
        };
        Ok(Entry {
            path: pax.sparse.name.take().unwrap_or(path),
            kind,
            mode: header.mode().map_err(malformed)?,
            uid: match pax.uid {
                Some(uid) => uid,
                None => header.uid().map_err(malformed)?,
            },
            gid: match pax.gid {
                Some(gid) => gid,
                None => header.gid().map_err(malformed)?,
            },
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (header.mtime().map_err(malformed)?, 0),
            },
            size,
            xattrs: pax.xattrs,
            segments,
        })
    }

    /// The map in an old GNU header and the blocks that continue it.
    fn old_gnu_sparse(
        &mut self,
        header: &RawHeader,
        offset: u64,
    ) -> Result<(u64, Vec<Segment>), ReadError> {
        let malformed = |problem| ReadError::Malformed { offset, problem };
        let (size, mut segments, mut more) = header.sparse().map_err(malformed)?;
        while more {
            let block = self
                .block()?
                .ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            more = sparse::continuation(&block, &mut segments).map_err(malformed)?;
            if segments.len() > sparse::MAX_SEGMENTS {
                return Err(malformed("a sparse file of too many pieces"));
            }
        }
        Ok((size, segments))
    }

    /// The map of a sparse file in PAX format: in the header (0.0, 0.1) or in front of the
    /// content (1.0).
    fn pax_sparse(
        &mut self,
        pax: &Pax,
        offset: u64,
    ) -> Result<Option<(u64, Vec<Segment>)>, ReadError> {
        let malformed = |problem| ReadError::Malformed { offset, problem };
        match pax.sparse.map().map_err(malformed)? {
            sparse::Map::None => Ok(None),
            sparse::Map::Given(size, segments) => Ok(Some((size, segments))),
            sparse::Map::InContent(size) => {
                let mut parser = sparse::ContentMap::default();
                // The map is padded to whole blocks.
                while !parser.done() {
                    if self.content < BLOCK as u64 {
                        return Err(malformed("a sparse map that does not end"));
                    }
                    let block = self.block()?.ok_or(malformed("the archive ends early"))?;
                    self.content -= BLOCK as u64;
                    parser.feed(&block).map_err(malformed)?;
                }
                Ok(Some((size, parser.segments())))
            }
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Passes over the current entry's content without reading it. That it is all there is for
    /// the caller to see to.
    ///
    /// # Errors
    /// When seeking fails.
    pub(crate) fn seek_past_content(&mut self) -> io::Result<()> {
        let Ok(forward) = i64::try_from(self.content) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.inner.seek_relative(forward)?;
        self.offset += std::mem::take(&mut self.content);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
