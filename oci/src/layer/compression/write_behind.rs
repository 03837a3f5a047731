//! Working in one thread on what another one makes.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const CHUNK: usize = 256 << 10;
const RING: usize = 4;

/// Hands what is written to it to a thread of its own: put behind a compressor, compression and
/// whatever is done with its output run at the same time. Without [`finish`](Self::finish) the end
/// is missing.
#[derive(Debug)]
pub struct WriteBehind<T> {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    /// Until it has failed.
    worker: Option<JoinHandle<io::Result<T>>>,
}

impl<T: Write + Send + 'static> WriteBehind<T> {
    /// Writes everything to `out`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(mut out: T) -> io::Result<Self> {
        WriteBehind::reading("write-behind", move |mut incoming| {
            while incoming.advance() {
                out.write_all(&incoming.chunk)?;
            }
            match incoming.whole {
                true => Ok(out),
                false => Err(lost()),
            }
        })
    }
}

impl<T: Send + 'static> WriteBehind<T> {
    /// Has `work` read everything, in a thread of this name.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn reading(
        name: &str,
        work: impl FnOnce(Incoming) -> io::Result<T> + Send + 'static,
    ) -> io::Result<Self> {
        let (full, todo) = sync_channel::<Vec<u8>>(RING);
        let (recycled, empty) = sync_channel(RING);
        let incoming = Incoming {
            todo,
            recycled,
            chunk: Vec::new(),
            used: 0,
            whole: false,
        };
        let worker = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(incoming))?;
        Ok(Self {
            full,
            empty,
            chunk: Vec::with_capacity(CHUNK),
            worker: Some(worker),
        })
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv();
        let next = next.unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let chunk = std::mem::replace(&mut self.chunk, next);
        match self.full.send(chunk) {
            Ok(()) => Ok(()),
            Err(_) => Err(match join(self.worker.take()) {
                Ok(_) => lost(),
                Err(cause) => cause,
            }),
        }
    }

    /// Waits until all is written; returns what the thread came to.
    ///
    /// # Errors
    /// What stopped the thread.
    pub fn finish(mut self) -> io::Result<T> {
        if !self.chunk.is_empty() {
            self.pass_on()?;
        }
        // An empty chunk is the end; without it, what came is not all.
        let told = self.full.send(Vec::new());
        let done = join(self.worker.take())?;
        told.map(|()| done).map_err(|_| lost())
    }
}

/// What was written, as the thread reads it. Reading fails when the writer is dropped early.
#[derive(Debug)]
pub(crate) struct Incoming {
    todo: Receiver<Vec<u8>>,
    recycled: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    used: usize,
    /// The end has come.
    whole: bool,
}

impl Incoming {
    /// Goes on to the next chunk, if there is one.
    fn advance(&mut self) -> bool {
        if self.whole {
            return false;
        }
        let next = self.todo.recv().ok();
        self.whole = next.as_ref().is_some_and(Vec::is_empty);
        let mut old = std::mem::replace(&mut self.chunk, next.unwrap_or_default());
        self.used = 0;
        if old.capacity() > 0 {
            old.clear();
            // The other side stops taking chunks back when it is done.
            let _ = self.recycled.try_send(old);
        }
        !self.chunk.is_empty()
    }
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() && !self.advance() {
            return match self.whole {
                true => Ok(0),
                false => Err(lost()),
            };
        }
        let rest = &self.chunk[self.used..];
        let n = buf.len().min(rest.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.used += n;
        Ok(n)
    }
}

fn lost() -> io::Error {
    io::Error::other("a writing thread was lost")
}

fn join<T>(worker: Option<JoinHandle<io::Result<T>>>) -> io::Result<T> {
    match worker {
        Some(worker) => worker.join().map_err(|_| lost())?,
        None => Err(lost()),
    }
}

impl<T: Send + 'static> Write for WriteBehind<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&buf[..n]);
        if self.chunk.len() == CHUNK {
            self.pass_on()?;
        }
        Ok(n)
    }

    /// Does nothing: what is written comes to the other side by itself.
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
    fn what_is_dropped_early_does_not_look_whole() {
        let (told, outcome) = sync_channel(1);
        let mut out = WriteBehind::reading("test", move |mut incoming| {
            let mut bytes = Vec::new();
            let read = incoming.read_to_end(&mut bytes);
            told.send((read.is_ok(), bytes.len()))
                .map_err(io::Error::other)
        })
        .unwrap();
        out.write_all(&[1; CHUNK]).unwrap();
        drop(out);
        assert_eq!(outcome.recv(), Ok((false, CHUNK)));
        let mut out = WriteBehind::reading("test", |mut incoming| {
            let mut bytes = Vec::new();
            incoming.read_to_end(&mut bytes).map(|_| bytes)
        })
        .unwrap();
        out.write_all(&[1; 10]).unwrap();
        assert_eq!(out.finish().unwrap(), [1; 10]);
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
