//! A connection to a monitor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::launch::Streams;
use crate::protocol::{self, Answer, Kind, Request, Until};

/// What may wait to be sent to one client, in bytes; beyond it the container waits.
const ENOUGH: usize = 64 << 10;
/// What is read at once.
const CHUNK: usize = 16 << 10;

/// What a client is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It has asked for something, or will.
    Asks,
    /// It takes part in the standard streams.
    Attached(Streams),
    /// It waits.
    Waits(Until),
}

/// What has come from a client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// It wants something.
    Request(Request),
    /// Bytes for standard input.
    Stdin(Vec<u8>),
    /// It has no more of those.
    StdinEnd,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
    pub(super) purpose: Purpose,
    /// It has started the container, and removes it if that is to be done.
    pub(super) is_starter: bool,
    /// It has hung up, or is to be.
    pub(super) is_gone: bool,
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            purpose: Purpose::Asks,
            is_starter: false,
            is_gone: false,
        })
    }

    /// Leaves the connection to somebody else, who answers.
    pub(super) fn hand_over(&mut self) -> io::Result<UnixStream> {
        let socket = self.socket.try_clone()?;
        rustix::io::ioctl_fionbio(&socket, false)?;
        self.is_gone = true;
        Ok(socket.into())
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something is left to be sent.
    pub(super) fn is_owed(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether so much is left that no more should come.
    pub(super) fn is_slow(&self) -> bool {
        !self.is_gone && self.outgoing.len() >= ENOUGH
    }

    /// Whether it takes part in standard output, or in standard error.
    pub(super) fn listens(&self, kind: Kind) -> bool {
        match (self.purpose, kind) {
            (Purpose::Attached(streams), Kind::Stdout) => streams.stdout,
            (Purpose::Attached(streams), Kind::Stderr) => streams.stderr,
            _ => false,
        }
    }

    /// Whether it takes part in standard input.
    pub(super) fn speaks(&self) -> bool {
        matches!(self.purpose, Purpose::Attached(streams) if streams.stdin)
    }

    pub(super) fn send(&mut self, kind: Kind, content: &[u8]) {
        self.outgoing.extend(protocol::frame(kind, content));
        self.flush();
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        if let Ok(content) = serde_json::to_vec(answer) {
            self.send(Kind::Answer, &content);
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) {
        while !self.outgoing.is_empty() && !self.is_gone {
            let (first, _) = self.outgoing.as_slices();
            match rustix::net::send(&self.socket, first, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.is_gone = true,
            }
        }
    }

    /// Reads what there is, and tells the whole frames of it.
    pub(super) fn read(&mut self) -> Vec<Incoming> {
        let mut chunk = [0u8; CHUNK];
        match rustix::io::read(&self.socket, &mut chunk) {
            Ok(0) => self.is_gone = true,
            Ok(length) => self
                .incoming
                .extend(chunk.get(..length).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.is_gone = true,
        }
        let mut came = Vec::new();
        let mut done = 0;
        loop {
            match protocol::parse(self.incoming.get(done..).unwrap_or_default()) {
                Ok(Some((kind, content, length))) => {
                    done += length;
                    match kind {
                        Kind::Stdin => came.push(Incoming::Stdin(content.to_vec())),
                        Kind::StdinEnd => came.push(Incoming::StdinEnd),
                        Kind::Request => match serde_json::from_slice(content) {
                            Ok(request) => came.push(Incoming::Request(request)),
                            Err(_) => self.is_gone = true,
                        },
                        // Only monitors say these.
                        Kind::Stdout | Kind::Stderr | Kind::Answer => self.is_gone = true,
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.is_gone = true;
                    break;
                }
            }
        }
        self.incoming.drain(..done);
        came
    }
}
