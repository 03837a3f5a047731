//! The connections of a network namespace (sock_diag(7)).

use std::io;

use nix::libc;

use super::netlink::{DUMP, Message, REQUEST, Socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const EVERY_STATE: u32 = u32::MAX;

/// Whether there is a TCP socket in the namespace of `diag`, be it one that no process has any
/// more: a connection outlives its process, for a minute in TIME-WAIT, and keeps its port.
/// Sockets of other kinds end with the process.
pub(super) fn any_connection(diag: &mut Socket) -> io::Result<bool> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        // `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, an empty ID.
        let mut body = [0; 56];
        body[0] = family as u8;
        body[1] = libc::IPPROTO_TCP as u8;
        body[4..8].copy_from_slice(&EVERY_STATE.to_ne_bytes());
        let message = Message::new(SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, &body);
        if !diag.request(message)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
