//! How a process that becomes a container's is told what to do, and tells how it went.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, Result};
use crate::init::Failure;
use crate::plan::Plan;

/// This process's ends.
pub(crate) struct Line {
    plan: OwnedFd,
    errors: OwnedFd,
    terminal: Option<OwnedFd>,
}

/// The other's.
pub(crate) struct Ends {
    pub(crate) plan: OwnedFd,
    pub(crate) errors: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
}

/// How it went.
pub(crate) enum Heard {
    /// The command is being executed.
    Running { terminal: Option<OwnedFd> },
    /// It ended without a word.
    Died,
    /// It ended with one.
    Failed(Error),
}

impl Line {
    pub(crate) fn new(terminal: bool) -> Result<(Self, Ends)> {
        let (plan, theirs) = pair("make a socket pair for the plan")?;
        let errors = pipe_with(PipeFlags::CLOEXEC);
        let errors = errors.map_err(|error| Error::setup("make a pipe for errors", error))?;
        let terminal = match terminal {
            true => Some(pair("make a socket pair for the terminal")?),
            false => None,
        };
        let (own, other) = match terminal {
            Some((own, other)) => (Some(own), Some(other)),
            None => (None, None),
        };
        let line = Self {
            plan,
            errors: errors.0,
            terminal: own,
        };
        let ends = Ends {
            plan: theirs,
            errors: errors.1,
            terminal: other,
        };
        Ok((line, ends))
    }

    /// Sends the plan, and hears how it went. The other's ends must be nobody else's by now.
    pub(crate) fn talk(self, plan: &Plan) -> Result<Heard> {
        let plan =
            serde_json::to_vec(plan).map_err(|error| Error::InvalidSpec(error.to_string()))?;
        // A broken connection means that the init has failed, and says why on the other one.
        let written = send_all(self.plan, &plan);
        let mut report = Vec::new();
        File::from(self.errors)
            .read_to_end(&mut report)
            .map_err(|error| Error::setup("hear from the container's init", error))?;
        if report.is_empty() {
            return Ok(match written {
                Ok(()) => Heard::Running {
                    terminal: self.terminal.map(receive).transpose()?,
                },
                Err(_) => Heard::Died,
            });
        }
        Ok(Heard::Failed(match serde_json::from_slice(&report) {
            Ok(failure) => explain(failure),
            Err(_) => Error::InitDied(String::from_utf8_lossy(&report).into_owned()),
        }))
    }
}

/// A socket pair, not a pipe: writing to a pipe whose reader is gone raises SIGPIPE, and a program
/// may have chosen to die from that.
fn pair(what: &str) -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| Error::setup(what, error))
}

/// Sends everything and closes the socket.
fn send_all(socket: OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match send(&socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The descriptor that has been sent.
fn receive(socket: OwnedFd) -> Result<OwnedFd> {
    let failed = |error: io::Error| Error::setup("get the terminal", error);
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let mut bytes = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket.as_fd(), &mut bytes, &mut rights, flags).map_err(|e| failed(e.into()))?;
    let sent = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    sent.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))
}

fn explain(failure: Failure) -> Error {
    match failure {
        Failure::Step { step, errno } => Error::setup(step, io::Error::from_raw_os_error(errno)),
        Failure::Cwd { cwd } => Error::CwdOutsideRoot { cwd },
        Failure::NotFound { message } => Error::CommandNotFound { message },
        Failure::NotExecutable { message } => Error::CommandNotExecutable { message },
    }
}
