//! What goes between the container's streams, its log and its clients.

use rustix::io::Errno;

use super::serve::{Monitor, trouble};
use crate::log::entry::Stream;
use crate::protocol::Kind;

/// Bytes of output that are read at once.
const CHUNK: usize = 32 << 10;

impl Monitor {
    /// Reads output, keeps it, and tells it to those who listen.
    pub(super) fn read_output(&mut self, index: usize) {
        let Some(output) = self.run.as_mut().and_then(|run| run.outputs.get_mut(index)) else {
            return;
        };
        let mut chunk = [0u8; CHUNK];
        let length = match rustix::io::read(&output.fd, &mut chunk) {
            Err(Errno::INTR | Errno::AGAIN) => return,
            // A terminal that nobody has open any more fails, a pipe just ends.
            Ok(0) | Err(_) => {
                output.is_open = false;
                let stream = output.stream;
                if let Err(error) = self.log.end(stream) {
                    trouble("write the log", &error);
                }
                return;
            }
            Ok(length) => length,
        };
        let bytes = chunk.get(..length).unwrap_or_default();
        let kind = match output.stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        if let Err(error) = self.log.write(output.stream, bytes) {
            trouble("write the log", &error);
        }
        for client in self
            .clients
            .iter_mut()
            .filter(|client| client.listens(kind))
        {
            client.send(kind, bytes);
        }
    }

    /// Writes to standard input what it takes, and ends it when nothing is left.
    pub(super) fn write_input(&mut self) {
        let Some(run) = &mut self.run else {
            return;
        };
        if let Some(input) = &run.input {
            let (first, _) = self.input.as_slices();
            match rustix::io::write(input, first) {
                Ok(written) => drop(self.input.drain(..written)),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.input.clear();
                    run.input = None;
                }
            }
        } else {
            self.input.clear();
        }
        if self.input.is_empty() && self.input_ends && !self.launch.tty {
            run.input = None;
        }
    }
}
