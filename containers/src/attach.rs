//! The streams of a container, or of a command in one, and those of whoever takes part in them.
//!
//! Descriptors in, descriptors out: what is a terminal, and how it is set, is for the caller.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use runtime::WindowSize;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::engine::Executed;
use crate::error::{Error, Result};
use crate::protocol::{self, Answer, Kind};

/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;

/// The streams of whoever takes part; those that are not there are left out.
#[derive(Debug, Default)]
pub struct Ends {
    /// What is read for the container's standard input.
    pub stdin: Option<OwnedFd>,
    /// Where its standard output goes.
    pub stdout: Option<OwnedFd>,
    /// Where its standard error goes.
    pub stderr: Option<OwnedFd>,
    /// Keys that end the part, and leave the container running.
    pub detach: Vec<u8>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// With the container, or the command: its exit code.
    Ended(i32),
    /// By the keys.
    Detached,
    /// The other side is gone, and did not say how it ended.
    Lost,
}

/// Finds the keys in what is typed; what may be the beginning of them waits.
#[derive(Debug)]
struct Keys {
    keys: Vec<u8>,
    typed: usize,
}

impl Keys {
    /// What is to be sent of `bytes`; true when the keys were among them.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend(self.keys.get(..self.typed).unwrap_or_default());
            self.typed = 0;
            match self.keys.first() == Some(byte) {
                true if self.keys.len() > 1 => self.typed = 1,
                _ => out.push(*byte),
            }
        }
        (out, false)
    }
}

/// Reads `--detach-keys`: letters, `ctrl-` and a letter or one of `@ [ \ ] ^ _`, with commas.
///
/// # Errors
/// In docker's words.
pub fn keys(text: &str) -> Result<Vec<u8>> {
    let unknown = |key: &str| Error::Invalid(format!("Unknown character: '{key}'"));
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] => Ok(*byte),
            _ => match key.strip_prefix("ctrl-").map(str::as_bytes) {
                Some([byte @ b'a'..=b'z']) => Ok(byte - b'a' + 1),
                Some([byte @ (b'@' | b'['..=b'_')]) => Ok(byte - b'@'),
                _ => Err(unknown(key)),
            },
        })
        .collect()
}

/// Sets the size of a terminal, by its master.
///
/// # Errors
/// When it is none.
pub fn set_size(terminal: &OwnedFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Takes part in the streams of a container, over the connection that it was started or joined by.
///
/// # Errors
/// When the caller's own streams fail.
pub fn follow(stream: UnixStream, mut ends: Ends) -> io::Result<Parted> {
    let mut keys = Keys {
        keys: std::mem::take(&mut ends.detach),
        typed: 0,
    };
    let mut incoming = Vec::new();
    let mut outgoing = VecDeque::new();
    stream.set_nonblocking(true)?;
    loop {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, !outgoing.is_empty());
        let mut fds = vec![PollFd::new(&stream, flags)];
        // What the container has not taken yet is not read either.
        let listens = outgoing.len() < CHUNK;
        if let Some(stdin) = ends.stdin.as_ref().filter(|_| listens) {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        let [socket, typed] = [0, 1].map(|at| ready.get(at).copied().unwrap_or(PollFlags::empty()));
        if !typed.is_empty() && !read_stdin(&mut ends.stdin, &mut keys, &mut outgoing)? {
            return Ok(Parted::Detached);
        }
        if !outgoing.is_empty() && !send(&stream, &mut outgoing) {
            ends.stdin = None;
            outgoing.clear();
        }
        if socket.is_empty() {
            continue;
        }
        if let Some(parted) = receive(&stream, &mut incoming, &mut ends)? {
            return Ok(parted);
        }
    }
}

/// Reads what is typed; false when it was the keys that part.
fn read_stdin(
    stdin: &mut Option<OwnedFd>,
    keys: &mut Keys,
    outgoing: &mut VecDeque<u8>,
) -> io::Result<bool> {
    let Some(fd) = stdin.as_ref() else {
        return Ok(true);
    };
    let mut chunk = [0u8; CHUNK];
    match rustix::io::read(fd, &mut chunk) {
        Err(Errno::INTR | Errno::AGAIN) => Ok(true),
        Ok(0) | Err(_) => {
            *stdin = None;
            outgoing.extend(protocol::frame(Kind::StdinEnd, b""));
            Ok(true)
        }
        Ok(length) => {
            let (bytes, parts) = keys.take(chunk.get(..length).unwrap_or_default());
            if !bytes.is_empty() {
                outgoing.extend(protocol::frame(Kind::Stdin, &bytes));
            }
            Ok(!parts)
        }
    }
}

/// Sends what the socket takes; false when nobody listens any more.
fn send(mut stream: &UnixStream, outgoing: &mut VecDeque<u8>) -> bool {
    let (first, _) = outgoing.as_slices();
    match stream.write(first) {
        Ok(sent) => {
            outgoing.drain(..sent);
            true
        }
        Err(e) => matches!(
            e.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ),
    }
}

/// Reads what has come and hands it on; tells how it ended, once it has.
fn receive(
    stream: &UnixStream,
    incoming: &mut Vec<u8>,
    ends: &mut Ends,
) -> io::Result<Option<Parted>> {
    let mut chunk = [0u8; CHUNK];
    match rustix::io::read(stream, &mut chunk) {
        Ok(0) => return Ok(Some(Parted::Lost)),
        Ok(length) => incoming.extend(chunk.get(..length).unwrap_or_default()),
        Err(Errno::INTR | Errno::AGAIN) => return Ok(None),
        Err(_) => return Ok(Some(Parted::Lost)),
    }
    let mut done = 0;
    while let Some((kind, content, length)) =
        protocol::parse(incoming.get(done..).unwrap_or_default())?
    {
        done += length;
        match kind {
            Kind::Stdout => write_all(ends.stdout.as_ref(), content)?,
            Kind::Stderr => write_all(ends.stderr.as_ref(), content)?,
            Kind::Answer => {
                if let Answer::Ended { code } = serde_json::from_slice(content)? {
                    return Ok(Some(Parted::Ended(code)));
                }
            }
            Kind::Stdin | Kind::StdinEnd | Kind::Request => {}
        }
    }
    incoming.drain(..done);
    Ok(None)
}

fn write_all(to: Option<&OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    let Some(to) = to else {
        return Ok(());
    };
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(to, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Takes part in the streams of a command that was run in a container, until it ends.
///
/// # Errors
/// When the caller's own streams fail.
pub fn accompany(mut executed: Executed, mut ends: Ends) -> io::Result<Parted> {
    let mut keys = Keys {
        keys: std::mem::take(&mut ends.detach),
        typed: 0,
    };
    let has_terminal = executed.terminal.is_some();
    if let Some(terminal) = executed.terminal.take() {
        executed.stdout = Some(terminal.try_clone()?);
        executed.stdin = Some(terminal);
    }
    let ours = [&executed.stdin, &executed.stdout, &executed.stderr];
    for fd in ours.into_iter().flatten() {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    let mut outgoing: VecDeque<u8> = VecDeque::new();
    let mut ended = false;
    loop {
        if ends.stdin.is_none() && outgoing.is_empty() && !has_terminal {
            executed.stdin = None;
        }
        let ready = wait(&executed, &ends, outgoing.len(), ended)?;
        let mut quiet = true;
        for what in ready {
            match what {
                Ready::Process => ended = true,
                Ready::Stdout => {
                    quiet = false;
                    pass(&mut executed.stdout, ends.stdout.as_ref())?;
                }
                Ready::Stderr => {
                    quiet = false;
                    pass(&mut executed.stderr, ends.stderr.as_ref())?;
                }
                Ready::Room => give(&mut executed.stdin, &mut outgoing),
                Ready::Typed => {
                    if !type_on(&mut ends.stdin, &mut keys, &mut outgoing) {
                        return Ok(Parted::Detached);
                    }
                }
            }
        }
        if ended && quiet {
            let status = executed.entered.wait();
            return Ok(status.map_or(Parted::Lost, |s| Parted::Ended(s.exit_code())));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    Process,
    Stdout,
    Stderr,
    Room,
    Typed,
}

/// Waits until something can be done for a command.
fn wait(executed: &Executed, ends: &Ends, outgoing: usize, ended: bool) -> io::Result<Vec<Ready>> {
    let process = (!ended).then(|| executed.entered.pidfd());
    let room = executed.stdin.as_ref().filter(|_| outgoing > 0);
    let typed = ends.stdin.as_ref().filter(|_| outgoing < CHUNK);
    let wanted = [
        (Ready::Process, process, PollFlags::IN),
        (
            Ready::Stdout,
            executed.stdout.as_ref().map(AsFd::as_fd),
            PollFlags::IN,
        ),
        (
            Ready::Stderr,
            executed.stderr.as_ref().map(AsFd::as_fd),
            PollFlags::IN,
        ),
        (Ready::Room, room.map(AsFd::as_fd), PollFlags::OUT),
        (Ready::Typed, typed.map(AsFd::as_fd), PollFlags::IN),
    ];
    let mut what = Vec::new();
    let mut fds = Vec::new();
    for (ready, fd, flags) in wanted {
        if let Some(fd) = fd {
            what.push(ready);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
    }
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, ended.then_some(&now)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready = what.into_iter().zip(&fds);
    let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(ready, _)| ready).collect())
}

/// Hands on what a command has written; its end closes the stream.
fn pass(from: &mut Option<OwnedFd>, to: Option<&OwnedFd>) -> io::Result<()> {
    let Some(fd) = from.as_ref() else {
        return Ok(());
    };
    let mut chunk = [0u8; CHUNK];
    match rustix::io::read(fd, &mut chunk) {
        Err(Errno::INTR | Errno::AGAIN) => Ok(()),
        Ok(0) | Err(_) => {
            *from = None;
            Ok(())
        }
        Ok(length) => write_all(to, chunk.get(..length).unwrap_or_default()),
    }
}

/// Gives a command what it takes.
fn give(to: &mut Option<OwnedFd>, outgoing: &mut VecDeque<u8>) {
    let Some(fd) = to.as_ref() else {
        return outgoing.clear();
    };
    match rustix::io::write(fd, outgoing.as_slices().0) {
        Ok(written) => drop(outgoing.drain(..written)),
        Err(Errno::INTR | Errno::AGAIN) => {}
        Err(_) => {
            *to = None;
            outgoing.clear();
        }
    }
}

/// Reads what is typed for a command; false when it was the keys that part.
fn type_on(stdin: &mut Option<OwnedFd>, keys: &mut Keys, outgoing: &mut VecDeque<u8>) -> bool {
    let Some(fd) = stdin.as_ref() else {
        return true;
    };
    let mut chunk = [0u8; CHUNK];
    match rustix::io::read(fd, &mut chunk) {
        Err(Errno::INTR | Errno::AGAIN) => true,
        Ok(0) | Err(_) => {
            *stdin = None;
            true
        }
        Ok(length) => {
            let (bytes, parts) = keys.take(chunk.get(..length).unwrap_or_default());
            outgoing.extend(bytes);
            !parts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_reads_end() {
        let typed = |parts: &[&[u8]]| {
            let mut held = Keys {
                keys: keys("ctrl-p,ctrl-q").unwrap(),
                typed: 0,
            };
            let mut out = Vec::new();
            for part in parts {
                let (bytes, parted) = held.take(part);
                out.extend(bytes);
                if parted {
                    return (out, true);
                }
            }
            (out, false)
        };
        assert_eq!(typed(&[b"ab\x10\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(typed(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(typed(&[b"a\x10b"]), (b"a\x10b".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(typed(&[b"\x11"]), (b"\x11".to_vec(), false));
    }

    #[test]
    fn keys_have_dockers_names() {
        assert_eq!(keys("ctrl-@,a,ctrl-z").unwrap(), [0, b'a', 26]);
        assert_eq!(keys("ctrl-\\").unwrap(), [28]);
        let error = keys("ctrl-1").unwrap_err().to_string();
        assert_eq!(error, "Unknown character: 'ctrl-1'");
    }
}
