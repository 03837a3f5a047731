//! Questions that are for other servers.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use super::answer;

/// Where names are asked for.
const PORT: u16 = 53;
/// What each server gets.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question that came by datagram and waits for a server.
#[derive(Debug)]
pub(super) struct Pending {
    question: Vec<u8>,
    /// Who has asked.
    pub(super) client: SocketAddr,
    socket: UdpSocket,
    /// The servers that are still to be asked.
    left: Vec<IpAddr>,
    pub(super) until: Instant,
}

impl Pending {
    /// Asks the first server that can be asked.
    pub(super) fn new(question: &[u8], client: SocketAddr, servers: &[IpAddr]) -> Option<Self> {
        let mut left: Vec<IpAddr> = servers.iter().rev().copied().collect();
        let socket = ask(question, &mut left)?;
        Some(Self {
            question: question.to_vec(),
            client,
            socket,
            left,
            until: Instant::now() + PATIENCE,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The answer, when it has come.
    pub(super) fn answer(&mut self, buffer: &mut [u8]) -> Option<Vec<u8>> {
        let length = self.socket.recv(buffer);
        let bytes = match length {
            Ok(length) => buffer.get(..length)?,
            Err(error) => {
                // Nobody is there: the next server is asked at once.
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.until = Instant::now();
                }
                return None;
            }
        };
        let same = bytes.len() >= 12 && bytes.get(..2) == self.question.get(..2);
        same.then(|| bytes.to_vec())
    }

    /// Asks the next server; false when there is none.
    pub(super) fn next(&mut self) -> bool {
        match ask(&self.question, &mut self.left) {
            Some(socket) => {
                self.socket = socket;
                self.until = Instant::now() + PATIENCE;
                true
            }
            None => false,
        }
    }

    /// What is told when nobody has answered.
    pub(super) fn failed(&self) -> Option<Vec<u8>> {
        answer::failed(&self.question)
    }
}

/// A socket for each question: its port is a guess to make for who would forge an answer.
fn ask(question: &[u8], left: &mut Vec<IpAddr>) -> Option<UdpSocket> {
    while let Some(server) = left.pop() {
        let any: IpAddr = match server {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect((server, PORT))?;
            socket.send(question)?;
            Ok(socket)
        });
        if let Ok(socket) = asked {
            return Some(socket);
        }
    }
    None
}

/// Asks by stream, and waits for the answer.
pub(super) fn ask_by_stream(question: &[u8], servers: &[IpAddr]) -> Option<Vec<u8>> {
    servers.iter().find_map(|server| {
        let mut stream = TcpStream::connect_timeout(&(*server, PORT).into(), PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        write(&mut stream, question).ok()?;
        read(&mut stream).ok()
    })
}

/// Reads a message of a stream (RFC 1035, 4.2.2).
pub(super) fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Writes a message to a stream.
pub(super) fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes)
}
