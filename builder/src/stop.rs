//! A flag that ends long work early: everything that reads, writes or hashes files looks at it
//! every few hundred KiB, so that a build ends when it is told to, however large its files are.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// What work that was told to stop fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the build was cancelled")]
pub struct Stopped;

impl Stop {
    /// Tells all work that looks at the flag to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether [`Stop::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Stopped`], within an error of its kind's most general one, once [`Stop::stop`] was called.
    pub fn check(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(io::Error::other(Stopped)),
            false => Ok(()),
        }
    }

    /// `reader`, failing once it is told to stop.
    pub fn reader<R: Read>(&self, reader: R) -> Stoppable<'_, R> {
        Stoppable { reader, stop: self }
    }
}

/// A reader that fails once it is told to stop.
#[derive(Debug)]
pub struct Stoppable<'s, R> {
    reader: R,
    stop: &'s Stop,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.reader.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_never_ends_is_stopped() {
        let stop = Stop::default();
        let other = stop.clone();
        let mut read: u64 = 0;
        let counted = io::repeat(7).chain(io::empty());
        let mut reader = stop.reader(counted);
        let mut buffer = [0; 4096];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(n) => read += n as u64,
                Err(e) => break e,
            }
            if read > 100_000 {
                other.stop();
            }
        };
        assert!(
            error.get_ref().is_some_and(|e| e.is::<Stopped>()),
            "{error}"
        );
        assert!(stop.is_stopped());
    }
}
