//! Reading in one thread what another one works on.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const CHUNK: usize = 256 << 10;
const RING: usize = 4;

/// Reads ahead in a thread of its own: put around a decompressor, decompression and whatever is
/// done with its output run at the same time.
#[derive(Debug)]
pub struct ReadAhead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    used: usize,
    ended: bool,
}

impl ReadAhead {
    /// Starts reading.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, full) = sync_channel(RING);
        let (empty, recycled) = sync_channel::<Vec<u8>>(RING);
        std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || {
                loop {
                    let mut chunk = recycled.try_recv().unwrap_or_default();
                    chunk.clear();
                    chunk.reserve_exact(CHUNK);
                    let read = (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk);
                    let last = read.as_ref().map_or(true, |&n| n < CHUNK);
                    // What was read before an error comes before the error.
                    let gone = !chunk.is_empty() && sender.send(Ok(chunk)).is_err();
                    if gone {
                        return;
                    }
                    if let Err(e) = read {
                        // Whoever read is gone or gets it.
                        let _ = sender.send(Err(e));
                    }
                    if last {
                        return;
                    }
                }
            })?;
        Ok(Self {
            full,
            empty,
            chunk: Vec::new(),
            used: 0,
            ended: false,
        })
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            if self.ended {
                return Ok(0);
            }
            match self.full.recv() {
                Ok(Ok(chunk)) => {
                    let old = std::mem::replace(&mut self.chunk, chunk);
                    self.used = 0;
                    // A thread that is done takes no more chunks back.
                    let _ = self.empty.try_send(old);
                }
                Ok(Err(e)) => {
                    self.ended = true;
                    return Err(e);
                }
                Err(_) => self.ended = true,
            }
        }
        let n = buf.len().min(self.chunk.len() - self.used);
        buf[..n].copy_from_slice(&self.chunk[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_everything_and_passes_errors_on() {
        for len in [0, 1, CHUNK, 10 * CHUNK + 3] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 253) as u8).collect();
            let mut read = Vec::new();
            ReadAhead::new(io::Cursor::new(bytes.clone()))
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == bytes);
        }
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut reader = ReadAhead::new(io::Cursor::new(b"ab").chain(Fails)).unwrap();
        let mut read = Vec::new();
        assert_eq!(
            reader.read_to_end(&mut read).unwrap_err().to_string(),
            "broken"
        );
        assert_eq!(read, b"ab");
    }

    #[test]
    fn may_be_dropped_early() {
        let mut reader = ReadAhead::new(io::repeat(1)).unwrap();
        reader.read_exact(&mut [0; 10]).unwrap();
    }
}
