//! gzip (RFC 1952) by several threads.
//!
//! Blocks of a fixed size are deflated on their own, each ended by a sync flush, which leaves it
//! at a byte boundary, so that they can simply follow one another in one deflate stream. The
//! checksum of the whole is combined from theirs. What cannot be compressed is stored, and a block
//! of zeros is compressed once.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::deflate::Deflate;
use super::pool::{Pool, Worker};
use super::probe::Probe;

/// How much is deflated on its own; part of what makes the output what it is.
const BLOCK: usize = 1 << 20;
/// No name, no time, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block.
const END: [u8; 2] = [3, 0];

/// Compresses what is written to it to gzip.
pub struct GzipCompressor<W: Write> {
    out: W,
    level: u32,
    threads: NonZeroUsize,
    block: Vec<u8>,
    crc: Crc,
    len: u64,
    begun: bool,
    /// For blocks that are not worth a thread.
    state: Option<Deflater>,
    /// Started when a first block is full: most layers are smaller than that.
    pool: Option<Pool<Deflater>>,
    /// Blocks that were compressed, to be filled again.
    spare: Vec<Vec<u8>>,
}

struct Deflated {
    bytes: Vec<u8>,
    crc: Crc,
}

impl Clone for Deflated {
    fn clone(&self) -> Self {
        let mut crc = Crc::new();
        crc.combine(&self.crc);
        let bytes = self.bytes.clone();
        Self { bytes, crc }
    }
}

impl<W: Write> GzipCompressor<W> {
    /// `level` is 0 to 9.
    pub(super) fn new(out: W, level: u32, threads: NonZeroUsize) -> Self {
        Self {
            out,
            level,
            threads,
            block: Vec::new(),
            crc: Crc::new(),
            len: 0,
            begun: false,
            state: None,
            pool: None,
            spare: Vec::new(),
        }
    }

    /// Writes what is left, and the trailer.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.submit()?;
        }
        self.collect(0)?;
        self.begin()?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        // Modulo 2^32, as the format has it.
        self.out.write_all(&(self.len as u32).to_le_bytes())?;
        Ok(self.out)
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.write_all(&HEADER)?;
        }
        Ok(())
    }

    /// Compresses the block at hand: here when there is but one thread or one block, else in the
    /// pool.
    fn submit(&mut self) -> io::Result<()> {
        let full = self.block.len() == BLOCK;
        let block = std::mem::take(&mut self.block);
        if self.threads == NonZeroUsize::MIN || (self.pool.is_none() && !full) {
            let level = self.level;
            let state = self.state.get_or_insert_with(|| Deflater::new(level));
            let deflated = state.deflate(&block)?;
            self.block = block;
            self.block.clear();
            return self.append(deflated);
        }
        let pool = match &mut self.pool {
            Some(pool) => pool,
            none => none.insert(Pool::start(self.threads, || Deflater::new(self.level))?),
        };
        pool.submit(block)?;
        self.collect(2 * self.threads.get())
    }

    /// Writes finished blocks until at most `left` are pending.
    fn collect(&mut self, left: usize) -> io::Result<()> {
        while let Some(pool) = &mut self.pool
            && let Some((deflated, mut block)) = pool.next(left)?
        {
            self.append(deflated)?;
            block.clear();
            self.spare.push(block);
        }
        Ok(())
    }

    fn append(&mut self, deflated: Deflated) -> io::Result<()> {
        self.begin()?;
        self.crc.combine(&deflated.crc);
        self.out.write_all(&deflated.bytes)
    }
}

impl<W: Write> Write for GzipCompressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block = self.spare.pop().unwrap_or_default();
            self.block.reserve_exact(BLOCK);
        }
        let n = buf.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&buf[..n]);
        self.len += n as u64;
        if self.block.len() == BLOCK {
            self.submit()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Deflates one block after the other.
struct Deflater {
    level: u32,
    engine: Engine,
    probe: Probe,
    /// A whole block of zeros.
    zeros: Option<Deflated>,
}

impl Worker for Deflater {
    type Job = Vec<u8>;
    type Done = (Deflated, Vec<u8>);

    fn work(&mut self, block: Vec<u8>) -> io::Result<(Deflated, Vec<u8>)> {
        Ok((self.deflate(&block)?, block))
    }
}

/// Who deflates.
enum Engine {
    /// Ours, for the low levels.
    Fast(Deflate),
    Zlib(Compress),
}

impl Deflater {
    fn new(level: u32) -> Self {
        Self {
            level,
            engine: match level {
                1 | 2 => Engine::Fast(Deflate::new()),
                _ => Engine::Zlib(Compress::new(Compression::new(level), false)),
            },
            probe: Probe::default(),
            zeros: None,
        }
    }

    fn deflate(&mut self, block: &[u8]) -> io::Result<Deflated> {
        if block.len() < BLOCK || block.iter().any(|byte| *byte != 0) {
            return self.block(block);
        }
        let zeros = match self.zeros.take() {
            Some(zeros) => zeros,
            None => self.block(block)?,
        };
        Ok(self.zeros.insert(zeros).clone())
    }

    fn block(&mut self, block: &[u8]) -> io::Result<Deflated> {
        let mut bytes = Vec::with_capacity(block.len() / 2 + 1024);
        let mut rest = block;
        while !rest.is_empty() {
            // Level 0 stores everything by itself.
            let (len, dense) = match self.level {
                0 => (rest.len(), false),
                _ => self.probe.run(rest),
            };
            let (run, left) = rest.split_at(len);
            match dense {
                true => store(run, &mut bytes),
                false => self.run(run, &mut bytes)?,
            }
            rest = left;
        }
        let mut crc = Crc::new();
        crc.update(block);
        Ok(Deflated { bytes, crc })
    }

    /// Appends `run` deflated on its own.
    fn run(&mut self, run: &[u8], bytes: &mut Vec<u8>) -> io::Result<()> {
        let zlib = match &mut self.engine {
            Engine::Fast(deflate) => {
                deflate.run(run, bytes);
                return Ok(());
            }
            Engine::Zlib(zlib) => zlib,
        };
        zlib.reset();
        loop {
            let consumed = zlib.total_in() as usize;
            zlib.compress_vec(&run[consumed..], bytes, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            // Room left over means that the flush is complete.
            if zlib.total_in() as usize == run.len() && bytes.len() < bytes.capacity() {
                return Ok(());
            }
            bytes.reserve(run.len() / 2 + 1024);
        }
    }
}

/// Appends `run` in stored blocks (RFC 1951, section 3.2.4), of which none is the last.
fn store(run: &[u8], bytes: &mut Vec<u8>) {
    for piece in run.chunks(usize::from(u16::MAX)) {
        let len = piece.len() as u16;
        bytes.push(0);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&(!len).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
}
