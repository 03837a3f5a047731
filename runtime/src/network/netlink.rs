//! Netlink messages and a socket to exchange them with the kernel (RFC 3549, netlink(7)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;
pub(super) const REPLACE: u16 = 0x100;
pub(super) const EXCL: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

/// A message being put together.
#[derive(Debug, Clone)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of `kind` whose fixed part is `body`.
    pub(super) fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        let mut message = Self(bytes);
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Adds an attribute.
    pub(super) fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        self.0
            .extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a NUL-terminated string.
    pub(super) fn string(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds a number in the machine's byte order (rtnetlink).
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order (nfnetlink).
    pub(super) fn be32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(super) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        let mut filled = fill(self);
        let length = (filled.0.len() - start) as u16;
        filled.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        filled.0[start + 2..start + 4].copy_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        filled
    }

    /// Adds bytes as they are: the fixed part inside a nested attribute.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// What follows a fixed part of `fixed` bytes.
    #[cfg(test)]
    pub(super) fn attributes(&self, fixed: usize) -> &[u8] {
        &self.0[HEADER + fixed..]
    }

    fn sealed(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// One message from the kernel: what follows the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    /// The attributes after a fixed part of `fixed` bytes.
    pub(super) fn attrs(&self, fixed: usize) -> Vec<(u16, &[u8])> {
        attrs(self.0.get(fixed.next_multiple_of(4)..).unwrap_or_default())
    }

    /// The first attribute of this kind.
    pub(super) fn attr(&self, fixed: usize, kind: u16) -> Option<&[u8]> {
        find(self.0.get(fixed.next_multiple_of(4)..)?, kind)
    }
}

/// Splits attributes; stops at the first that is cut off.
pub(super) fn attrs(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        found.push((kind & NLA_TYPE_MASK, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The first of `bytes`' attributes that is of this kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = attrs(bytes).into_iter().find(|(k, _)| *k == kind);
    found.map(|(_, value)| value)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// For links, addresses and routes.
    pub(super) fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    /// For nftables.
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> io::Result<Self> {
        let family = AddressFamily::Netlink;
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends one request and waits for its answer: every message of a dump, else at most one.
    pub(super) fn request(&mut self, message: Message) -> io::Result<Vec<Reply>> {
        self.sequence += 1;
        let bytes = message.sealed(self.sequence);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        self.answer(self.sequence, self.sequence)
    }

    /// Sends messages as one transaction; each must ask for an acknowledgement. The first error
    /// is the transaction's.
    pub(super) fn batch(
        &mut self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.sequence += 1;
        bytes.extend(begin.sealed(self.sequence));
        let begun = self.sequence;
        for message in messages {
            self.sequence += 1;
            bytes.extend(message.sealed(self.sequence));
        }
        let last = self.sequence;
        self.sequence += 1;
        bytes.extend(end.sealed(self.sequence));
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        (begun + 1..=last).try_for_each(|sequence| self.answer(begun, sequence).map(drop))
    }

    /// Waits for the answer to a message. Errors of those since `begun` are its own, too; those of
    /// requests before that failed are of no interest any more.
    fn answer(&mut self, begun: u32, sequence: u32) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::new();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while let (Some(size), Some(kind), Some(seq)) =
                (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8))
            {
                let size = size as usize;
                let Some(body) = rest.get(HEADER..size) else {
                    break;
                };
                match kind {
                    _ if seq < begun => {}
                    // An error of an earlier message in a batch counts as well.
                    NLMSG_ERROR => match u32_at(body, 0).map_or(0, |errno| errno as i32) {
                        0 if seq == sequence => return Ok(replies),
                        0 => {}
                        errno => return Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                    },
                    NLMSG_DONE => return Ok(replies),
                    _ if seq == sequence => replies.push(Reply(body.to_vec())),
                    _ => {}
                }
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// Whether a request was refused because what it makes exists.
pub(super) fn exists(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EEXIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let message = Message::new(16, REQUEST, &[1, 2, 3, 4])
            .string(3, "eth0")
            .nest(18, |nested| nested.number(1, 7));
        let bytes = message.sealed(9);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(u32_at(&bytes, 0), Some(bytes.len() as u32));
        let reply = Reply(bytes[HEADER..].to_vec());
        let found = reply.attrs(4);
        assert_eq!(found[0], (3, &b"eth0\0"[..]));
        assert_eq!(found[1].0, 18);
        assert_eq!(attrs(found[1].1), [(1, &7u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn cut_off_attributes_end_the_list() {
        assert!(attrs(&[8, 0, 1, 0, 1]).is_empty());
        assert!(attrs(&[0, 0, 0, 0]).is_empty());
    }
}
