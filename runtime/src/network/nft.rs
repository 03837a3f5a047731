//! nftables messages: tables, chains, sets, maps and rules; what rules say is in
//! [`super::expression`].

use std::io;

use super::netlink::{ACK, CREATE, Message, REQUEST, Reply, Socket};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
pub(super) const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
pub(super) const GET_RULE: u16 = SUBSYSTEM | 7;
const DEL_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_SET_ELEMENTS: u16 = SUBSYSTEM | 12;
const DEL_SET_ELEMENTS: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const TABLE_NAME: u16 = 1;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_TYPE: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
pub(super) const LIST_ELEMENT: u16 = 1;

/// Length of an interface's name with its padding (IFNAMSIZ).
pub(super) const NAME_LENGTH: usize = 16;

/// How nft is told that names are to be read as they stand: type 0, length, 1 in four bytes.
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// The same for numbers as packets hold them: of keys and of what they lead to.
const NETWORK_ORDER: [u8; 12] = {
    let [a, b, c, d] = 2u32.to_ne_bytes();
    [0, 4, a, b, c, d, 1, 4, a, b, c, d]
};

/// A family of tables, as `struct nfgenmsg` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4 = 2,
    Bridge = 7,
    Ipv6 = 10,
}

impl Family {
    fn body(self) -> [u8; 4] {
        [self as u8, 0, 0, 0]
    }

    /// A message that changes something and is acknowledged.
    fn change(self, kind: u16, flags: u16) -> Message {
        Message::new(kind, REQUEST | ACK | flags, &self.body())
    }

    /// A question.
    pub(super) fn ask(self, kind: u16, flags: u16) -> Message {
        Message::new(kind, REQUEST | flags, &self.body())
    }

    pub(super) fn new_table(self, name: &str) -> Message {
        self.change(NEW_TABLE, CREATE).string(TABLE_NAME, name)
    }

    pub(super) fn delete_table(self, name: &str) -> Message {
        self.change(DEL_TABLE, 0).string(TABLE_NAME, name)
    }

    /// Asks for one table.
    pub(super) fn ask_table(self, name: &str) -> Message {
        self.ask(GET_TABLE, ACK).string(TABLE_NAME, name)
    }

    /// A chain that nothing calls.
    pub(super) fn chain(self, table: &str, name: &str) -> Message {
        self.change(NEW_CHAIN, CREATE)
            .string(CHAIN_TABLE, table)
            .string(CHAIN_NAME, name)
    }

    /// Asks for one chain.
    pub(super) fn ask_chain(self, table: &str, name: &str) -> Message {
        self.ask(GET_CHAIN, ACK)
            .string(CHAIN_TABLE, table)
            .string(CHAIN_NAME, name)
    }

    /// Messages that leave an empty table of this name, whether there was one or not.
    pub(super) fn fresh_table(self, name: &str) -> [Message; 3] {
        [
            self.new_table(name),
            self.delete_table(name),
            self.new_table(name),
        ]
    }

    /// A chain that the kernel calls at `hook`.
    pub(super) fn base_chain(self, table: &str, name: &str, kind: &str, hook: Hook) -> Message {
        self.change(NEW_CHAIN, CREATE)
            .string(CHAIN_TABLE, table)
            .string(CHAIN_NAME, name)
            .nest(CHAIN_HOOK, |nest| {
                nest.be32(HOOK_NUMBER, hook.number)
                    .be32(HOOK_PRIORITY, hook.priority.cast_unsigned())
            })
            .string(CHAIN_TYPE, kind)
    }

    /// A rule at the end of a chain, or at its head without [`super::netlink::APPEND`].
    pub(super) fn rule(
        self,
        table: &str,
        chain: &str,
        position: u16,
        note: &str,
        fill: impl FnOnce(Message) -> Message,
    ) -> Message {
        self.change(NEW_RULE, CREATE | position)
            .string(RULE_TABLE, table)
            .string(RULE_CHAIN, chain)
            .nest(RULE_EXPRESSIONS, fill)
            .attr(RULE_USERDATA, &comment(note))
    }

    /// `handle` as the kernel gave it.
    pub(super) fn delete_rule(self, table: &str, chain: &str, handle: &[u8]) -> Message {
        self.change(DEL_RULE, 0)
            .string(RULE_TABLE, table)
            .string(RULE_CHAIN, chain)
            .attr(RULE_HANDLE, handle)
    }

    /// A set of `length` bytes a key; `id` tells the sets of one transaction apart, and
    /// `key_type` is only for who lists them.
    pub(super) fn new_set(self, table: &str, name: &str, id: u32, key: (u32, u32)) -> Message {
        let (key_type, length) = key;
        self.change(NEW_SET, CREATE)
            .string(SET_TABLE, table)
            .string(SET_NAME, name)
            .be32(SET_KEY_TYPE, key_type)
            .be32(SET_KEY_LENGTH, length)
            .be32(SET_ID, id)
            .attr(SET_USERDATA, &HOST_ORDER)
    }

    /// A map from `key` to `data`, each with its type and its length, as those of sets.
    pub(super) fn new_map(
        self,
        table: &str,
        name: &str,
        id: u32,
        (key, data): ((u32, u32), (u32, u32)),
    ) -> Message {
        const IS_MAP: u32 = 8;
        self.change(NEW_SET, CREATE)
            .string(SET_TABLE, table)
            .string(SET_NAME, name)
            .be32(SET_FLAGS, IS_MAP)
            .be32(SET_KEY_TYPE, key.0)
            .be32(SET_KEY_LENGTH, key.1)
            .be32(SET_DATA_TYPE, data.0)
            .be32(SET_DATA_LENGTH, data.1)
            .be32(SET_ID, id)
            .attr(SET_USERDATA, &NETWORK_ORDER)
    }

    /// Elements of a set; those that are there are no error.
    pub(super) fn add_elements(self, table: &str, set: &str, keys: &[Vec<u8>]) -> Vec<Message> {
        self.elements(
            (NEW_SET_ELEMENTS, CREATE),
            (table, set),
            keys,
            |one, key| one.nest(1, |value| value.attr(1, key)),
        )
    }

    /// Elements of a map, each a key and what it leads to; a key that leads elsewhere is refused.
    pub(super) fn add_mappings(
        self,
        table: &str,
        map: &str,
        pairs: &[(Vec<u8>, Vec<u8>)],
    ) -> Vec<Message> {
        let change = (NEW_SET_ELEMENTS, CREATE);
        self.elements(change, (table, map), pairs, |one, (key, data)| {
            one.nest(1, |value| value.attr(1, key))
                .nest(2, |value| value.attr(1, data))
        })
    }

    /// Takes elements out of a set or a map; one that is not there is an error.
    pub(super) fn delete_elements(self, table: &str, set: &str, keys: &[Vec<u8>]) -> Vec<Message> {
        self.elements((DEL_SET_ELEMENTS, 0), (table, set), keys, |one, key| {
            one.nest(1, |value| value.attr(1, key))
        })
    }

    /// The lengths of messages and attributes are limited: several messages for many elements.
    fn elements<T>(
        self,
        (kind, flags): (u16, u16),
        (table, set): (&str, &str),
        all: &[T],
        fill: impl Fn(Message, &T) -> Message,
    ) -> Vec<Message> {
        const AT_ONCE: usize = 500;
        let message = |some: &[T]| {
            let message = self
                .change(kind, flags)
                .string(ELEMENTS_TABLE, table)
                .string(ELEMENTS_SET, set);
            message.nest(ELEMENTS, |list| {
                some.iter().fold(list, |list, element| {
                    list.nest(LIST_ELEMENT, |one| fill(one, element))
                })
            })
        };
        all.chunks(AT_ONCE).map(message).collect()
    }
}

/// Where the kernel calls a chain, and in which order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// Applies messages all at once or not at all.
pub(super) fn transaction(socket: &mut Socket, messages: Vec<Message>) -> io::Result<()> {
    let body = [0, 0, 0, 10];
    let begin = Message::new(BATCH_BEGIN, REQUEST, &body);
    socket.batch(begin, messages, Message::new(BATCH_END, REQUEST, &body))
}

/// The same of messages that take something away each, which may be gone already: all at once, or
/// where that cannot be one after the other.
pub(super) fn tolerate(socket: &mut Socket, messages: Vec<Message>) -> io::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let one_by_one = match messages.len() {
        1 => Vec::new(),
        _ => messages.clone(),
    };
    match transaction(socket, messages) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => one_by_one
            .into_iter()
            .try_for_each(|message| tolerate(socket, vec![message])),
        other => other,
    }
}

/// Whether a rule carries this note.
pub(super) fn is_noted(rule: &Reply, note: &str) -> bool {
    rule.attrs(4)
        .iter()
        .any(|(kind, data)| *kind == RULE_USERDATA && *data == comment(note))
}

/// A comment as nft stores it: type 0, length, text with NUL.
fn comment(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, (text.len() + 1) as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// An interface's name as registers and sets hold it.
pub(super) fn padded(name: &str) -> [u8; NAME_LENGTH] {
    let mut padded = [0; NAME_LENGTH];
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attrs;
    use super::*;

    #[test]
    fn notes_are_found_again() {
        let body = Family::Ipv4.body();
        let reply = Reply([&body[..], &[18, 0, 7, 0], &comment("network br0"), &[0, 0]].concat());
        assert_eq!(attrs(&reply.0[4..]).len(), 1);
        assert!(is_noted(&reply, "network br0"));
        assert!(!is_noted(&reply, "network br1"));
    }
}
