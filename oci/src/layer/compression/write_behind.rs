//! Writing in one thread what another one makes.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const CHUNK: usize = 256 << 10;
const RING: usize = 4;

/// Writes in a thread of its own: put behind a compressor, compression and whatever is done with
/// its output run at the same time. Without [`finish`](Self::finish) what is left is dropped.
#[derive(Debug)]
pub struct WriteBehind<W> {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    /// Until it has failed.
    writer: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> WriteBehind<W> {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn new(mut out: W) -> io::Result<Self> {
        let (full, todo) = sync_channel::<Vec<u8>>(RING);
        let (recycled, empty) = sync_channel(RING);
        let writer = std::thread::Builder::new()
            .name("write-behind".to_owned())
            .spawn(move || {
                for mut chunk in todo {
                    out.write_all(&chunk)?;
                    chunk.clear();
                    // The other side stops taking chunks back when it is done.
                    let _ = recycled.try_send(chunk);
                }
                Ok(out)
            })?;
        Ok(Self {
            full,
            empty,
            chunk: Vec::with_capacity(CHUNK),
            writer: Some(writer),
        })
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv();
        let next = next.unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let chunk = std::mem::replace(&mut self.chunk, next);
        match self.full.send(chunk) {
            Ok(()) => Ok(()),
            Err(_) => Err(match join(self.writer.take()) {
                Ok(_) => lost(),
                Err(cause) => cause,
            }),
        }
    }

    /// Waits until all is written; returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.chunk.is_empty() {
            self.pass_on()?;
        }
        let Self { full, writer, .. } = self;
        drop(full);
        join(writer)
    }
}

fn lost() -> io::Error {
    io::Error::other("the writing thread was lost")
}

fn join<W>(writer: Option<JoinHandle<io::Result<W>>>) -> io::Result<W> {
    match writer {
        Some(writer) => writer.join().map_err(|_| lost())?,
        None => Err(lost()),
    }
}

impl<W: Write + Send + 'static> Write for WriteBehind<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&buf[..n]);
        if self.chunk.len() == CHUNK {
            self.pass_on()?;
        }
        Ok(n)
    }

    /// Does nothing: what is written comes to the other writer by itself.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_everything_in_order() {
        for len in [0, 1, CHUNK, 10 * CHUNK + 3] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
            let mut out = WriteBehind::new(Vec::new()).unwrap();
            for piece in bytes.chunks(77_777) {
                out.write_all(piece).unwrap();
            }
            assert!(out.finish().unwrap() == bytes, "{len}");
        }
    }

    #[test]
    fn what_stops_the_writer_is_told() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(buf.len())
                    .ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "no space left"))?;
                Ok(buf.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = WriteBehind::new(Full(3 * CHUNK)).unwrap();
        let error = loop {
            if let Err(e) = out.write_all(&[7; 1000]) {
                break e;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(out.finish().is_err());
        let mut out = WriteBehind::new(Full(3)).unwrap();
        out.write_all(&[7; 1000]).unwrap();
        let error = out.finish().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
