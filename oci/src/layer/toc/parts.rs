//! Pieces of a stream that are compressed on their own, several at a time, and written one after
//! the other.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use crate::Digest;
use crate::layer::compression::pool::{Pool, Worker};

/// A part without content of a file is ended when it is this long, in bytes.
const LONG: usize = 4 << 20;

/// A part, and how many bytes at its beginning are content of a file.
pub(super) type Raw = (Vec<u8>, usize);

/// Compresses one part after the other.
pub(super) trait Compress: Send + 'static {
    /// One part, in a form that can be read alone and in a row with others.
    fn compress(&mut self, part: &[u8]) -> io::Result<Vec<u8>>;
}

struct Hashed<C>(C);

impl<C: Compress> Worker for Hashed<C> {
    type Job = Raw;
    type Done = (Vec<u8>, Option<Digest>);

    fn work(&mut self, (part, content): Raw) -> io::Result<Self::Done> {
        let digest = (content > 0).then(|| Digest::sha256(&part[..content]));
        Ok((self.0.compress(&part)?, digest))
    }
}

/// A part that is written.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Where in the output it begins.
    pub(super) start: u64,
    /// Of its content.
    pub(super) digest: Option<Digest>,
}

/// Compresses what is written to it, part by part.
pub(super) struct Parts<W, C: Compress> {
    out: W,
    pool: Pool<Hashed<C>>,
    /// How many may be on their way.
    ahead: usize,
    current: Vec<u8>,
    content: usize,
    /// How many were begun before the current one.
    ended: usize,
    written: Vec<Part>,
    len: u64,
}

impl<W: Write, C: Compress> Parts<W, C> {
    pub(super) fn new(
        out: W,
        threads: NonZeroUsize,
        compressor: impl Fn() -> C,
    ) -> io::Result<Self> {
        Ok(Self {
            out,
            pool: Pool::start(threads, || Hashed(compressor()))?,
            ahead: 2 * threads.get(),
            current: Vec::new(),
            content: 0,
            ended: 0,
            written: Vec::new(),
            len: 0,
        })
    }

    /// Goes on with the part at hand: what is no content of a file.
    pub(super) fn plain(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = LONG.saturating_sub(self.current.len() - self.content);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.current.extend_from_slice(now);
            if now.len() == room {
                self.cut()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Goes on with the part at hand, which has been [cut off](Self::cut) for content.
    pub(super) fn content(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
        self.content = self.current.len();
    }

    /// Ends the part at hand, if anything is in it; the number of the next one.
    pub(super) fn cut(&mut self) -> io::Result<usize> {
        if self.current.is_empty() {
            return Ok(self.ended);
        }
        let content = std::mem::take(&mut self.content);
        self.pool
            .submit((std::mem::take(&mut self.current), content))?;
        self.ended += 1;
        self.collect(self.ahead)?;
        Ok(self.ended)
    }

    fn collect(&mut self, left: usize) -> io::Result<()> {
        while let Some((bytes, digest)) = self.pool.next(left)? {
            self.out.write_all(&bytes)?;
            self.written.push(Part {
                start: self.len,
                digest,
            });
            self.len += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes what is left; returns the output, its length, and where all parts are. Behind the
    /// last one there is one more that tells where it ends.
    pub(super) fn finish(mut self) -> io::Result<(W, u64, Vec<Part>)> {
        self.cut()?;
        self.collect(0)?;
        self.written.push(Part {
            start: self.len,
            digest: None,
        });
        Ok((self.out, self.len, self.written))
    }
}

/// A piece of a file that is content of one part.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The number of the part.
    pub(super) part: usize,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) size: u64,
}

/// What cannot happen: a part that nobody has written.
pub(super) fn part(parts: &[Part], number: usize) -> io::Result<&Part> {
    let missing = || io::Error::other("a part of the layer was lost");
    parts.get(number).ok_or_else(missing)
}
