//! How commands and a container's monitor talk: frames on a stream socket in the container's
//! folder, which only its owner can reach. The first frame of a connection says what is wanted.
//!
//! A frame is its kind, its length in four bytes, the most significant first, and its content.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use runtime::Entry;
use serde::{Deserialize, Serialize};

use crate::launch::{Launch, PlacePlan, RestartPolicy, Streams};

/// The longest content of a frame, in bytes.
const MAX_FRAME: usize = 16 << 20;
/// Bytes before a frame's content.
pub const HEADER: usize = 5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes for standard input.
    Stdin,
    /// Bytes of standard output.
    Stdout,
    /// Bytes of standard error.
    Stderr,
    /// Standard input has ended.
    StdinEnd,
    /// A [`Request`] in JSON.
    Request,
    /// An [`Answer`] in JSON.
    Answer,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::StdinEnd => 3,
            Self::Request => 4,
            Self::Answer => 5,
        }
    }

    fn of(number: u8) -> Option<Self> {
        let all = [
            Self::Stdin,
            Self::Stdout,
            Self::Stderr,
            Self::StdinEnd,
            Self::Request,
            Self::Answer,
        ];
        all.get(usize::from(number)).copied()
    }
}

/// What is wanted of a monitor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start the container: the first thing a monitor hears, and from its maker only.
    Launch(Box<Launch>),
    /// Take part in the standard streams, until the container ends.
    Attach(Streams),
    /// Send the first process a signal.
    Signal {
        /// Its number.
        number: i32,
        /// It is meant to end the container, for good.
        for_good: bool,
    },
    /// Answer when the container has ended.
    Wait(Until),
    /// The terminal's size.
    Resize(runtime::WindowSize),
    /// Stop all processes where they are.
    Pause,
    /// Let them go on.
    Unpause,
    /// What is done when it ends.
    Restart(RestartPolicy),
    /// What it is called from now on.
    Rename(String),
    /// Come to one more network.
    Connect(Box<PlacePlan>),
    /// Leave the network of this ID.
    Disconnect(String),
    /// Run a command in the background, and tell when it ends.
    Exec(Box<Background>),
    /// A container that this one is linked to has another address by now. It has no answer.
    Linked {
        /// Its ID.
        container: String,
        /// The address.
        address: Ipv4Addr,
    },
    /// It is linked to a container no more.
    Unlink {
        /// The other's ID.
        container: String,
        /// What it was called.
        alias: String,
    },
}

/// A command in the background.
#[derive(Debug, Serialize, Deserialize)]
pub struct Background {
    /// What is run.
    pub entry: Entry,
    /// How events tell of it.
    pub id: String,
    /// Its command line, as events tell it.
    pub command: String,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// The next end, whether it is started again or not.
    Exit,
    /// Its end for good.
    Stopped,
}

/// What a monitor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
        /// The exit code of a container that could not be started: 125, 126 or 127.
        code: i32,
    },
    /// The container has ended.
    Ended {
        /// Its exit code.
        code: i32,
    },
}

/// A frame as bytes.
pub fn frame(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + content.len());
    bytes.push(kind.number());
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// A frame of JSON.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json<T: Serialize>(kind: Kind, value: &T) -> io::Result<Vec<u8>> {
    Ok(frame(kind, &serde_json::to_vec(value)?))
}

/// The first frame of `bytes`, with its length in all; nothing when more is to come.
///
/// # Errors
/// When it is none.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Kind, &[u8], usize)>> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Ok(None);
    };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let [kind, length @ ..] = header else {
        return Ok(None);
    };
    let kind = Kind::of(*kind).ok_or_else(|| wrong("unknown kind of frame"))?;
    let length: [u8; 4] = length.try_into().map_err(|_| wrong("header"))?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(wrong("frame too long"));
    }
    let content = rest.get(..length);
    Ok(content.map(|content| (kind, content, HEADER + length)))
}

/// Reads one frame; nothing at the end of the stream.
///
/// # Errors
/// When the stream fails, or ends in a frame.
pub fn read(from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut header = [0u8; HEADER];
    match from.read_exact(&mut header) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [kind, length @ ..] = header;
    let length = u32::from_be_bytes(length) as usize;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no frame of a monitor");
    let kind = Kind::of(kind)
        .filter(|_| length <= MAX_FRAME)
        .ok_or_else(wrong)?;
    let mut content = vec![0u8; length];
    from.read_exact(&mut content)?;
    Ok(Some((kind, content)))
}

/// Sends a request and reads the one answer to it.
///
/// # Errors
/// When the monitor is gone.
pub fn ask(stream: &mut (impl Read + Write), request: &Request) -> io::Result<Answer> {
    stream.write_all(&json(Kind::Request, request)?)?;
    loop {
        match read(stream)? {
            Some((Kind::Answer, content)) => return Ok(serde_json::from_slice(&content)?),
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let bytes = [frame(Kind::Stdout, b"hello"), frame(Kind::StdinEnd, b"")].concat();
        for end in 0..HEADER + 5 {
            assert_eq!(parse(&bytes[..end]).unwrap(), None, "{end}");
        }
        let (kind, content, length) = parse(&bytes).unwrap().unwrap();
        assert_eq!((kind, content), (Kind::Stdout, &b"hello"[..]));
        let rest = parse(&bytes[length..]).unwrap().unwrap();
        assert_eq!(rest, (Kind::StdinEnd, &b""[..], HEADER));
        let mut stream = &bytes[..];
        assert_eq!(
            read(&mut stream).unwrap(),
            Some((Kind::Stdout, b"hello".to_vec()))
        );
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(parse(&[9, 0, 0, 0, 0]).is_err());
        assert!(parse(&[0, 0xff, 0, 0, 0]).is_err());
        assert!(read(&mut &[0u8, 0xff, 0, 0, 0][..]).is_err());
    }
}
