//! The entries of a tar, with the very bytes that make their headers.

use std::cell::RefCell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use crate::layer::reader::{Entry, Reader};

/// Pieces of what follows the end of an archive, in bytes.
const REST: u64 = 64 << 10;

/// Takes a tar apart. All that it is given, in order, is the tar.
pub(super) trait Pack {
    /// An entry, with what comes before its content: padding of the one before, and headers.
    fn entry(&mut self, entry: &Entry, header: &[u8]) -> io::Result<()>;
    /// A piece of the entry's content.
    fn content(&mut self, piece: &[u8]) -> io::Result<()>;
    /// The content has ended.
    fn entry_done(&mut self) -> io::Result<()>;
    /// What follows the last entry's content.
    fn trailer(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What was read of a source and not passed yet.
#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    /// So many of them are passed.
    passed: usize,
    /// Where in the source the next one is.
    at: u64,
}

impl Tape {
    /// Passes everything up to a place in the source; what that was.
    fn until(&mut self, place: u64) -> &[u8] {
        let n = usize::try_from(place - self.at).unwrap_or(usize::MAX);
        let from = self.passed;
        self.at = place;
        self.passed = from.saturating_add(n).min(self.bytes.len());
        &self.bytes[from..self.passed]
    }
}

/// Keeps a copy of what is read.
struct Taped<R> {
    inner: R,
    tape: Rc<RefCell<Tape>>,
}

impl<R: Read> Read for Taped<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let mut tape = self.tape.borrow_mut();
        let passed = std::mem::take(&mut tape.passed);
        tape.bytes.drain(..passed);
        tape.bytes.extend_from_slice(&buf[..n]);
        Ok(n)
    }
}

/// Reads a tar to its very end.
///
/// # Errors
/// When it cannot be read, is malformed, or is refused.
pub(super) fn pack(tar: impl Read, packer: &mut dyn Pack) -> io::Result<()> {
    let tape = Rc::<RefCell<Tape>>::default();
    let mut reader = Reader::new(Taped {
        inner: tar,
        tape: Rc::clone(&tape),
    });
    loop {
        let entry = reader.next_entry().map_err(io::Error::other)?;
        let mut passed = tape.borrow_mut();
        let header = passed.until(reader.offset());
        let Some(entry) = entry else {
            packer.trailer(header)?;
            break;
        };
        if entry.segments.is_some() {
            return Err(refused(&entry, "is a sparse file"));
        }
        packer.entry(&entry, header)?;
        drop(passed);
        loop {
            let piece = reader.content()?;
            let n = piece.len();
            if n == 0 {
                break;
            }
            packer.content(piece)?;
            reader.consume(n);
        }
        tape.borrow_mut().until(reader.offset());
        packer.entry_done()?;
    }
    // Archives may be longer than they are; it all counts for the diff ID.
    let source = reader.into_inner().inner;
    let left = tape.borrow().bytes[tape.borrow().passed..].to_vec();
    let mut rest = Cursor::new(left).chain(source);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        (&mut rest).take(REST).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        packer.trailer(&piece)?;
    }
}

/// An entry that no table of contents has a word for.
pub(super) fn refused(entry: &Entry, why: &str) -> io::Error {
    let path = String::from_utf8_lossy(&entry.path);
    io::Error::other(format!(
        "no table of contents can tell of {path:?}, which {why}: use gzip or zstd for this layer"
    ))
}
