//! nftables messages: tables, chains, sets, rules and the expressions of rules.

use std::io;

use super::netlink::{ACK, CREATE, Message, REQUEST, Reply, Socket};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
pub(super) const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
pub(super) const GET_RULE: u16 = SUBSYSTEM | 7;
const DEL_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_SET_ELEMENTS: u16 = SUBSYSTEM | 12;
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
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// Length of an interface's name with its padding (IFNAMSIZ).
pub(super) const NAME_LENGTH: usize = 16;

/// How nft is told that names are to be read as they stand: type 0, length, 1 in four bytes.
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// A family of tables, as `struct nfgenmsg` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4 = 2,
    Bridge = 7,
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

    pub(super) fn add_elements(self, table: &str, set: &str, keys: &[Vec<u8>]) -> Message {
        let message = self
            .change(NEW_SET_ELEMENTS, CREATE)
            .string(ELEMENTS_TABLE, table)
            .string(ELEMENTS_SET, set);
        message.nest(ELEMENTS, |list| {
            keys.iter().fold(list, |list, key| {
                list.nest(LIST_ELEMENT, |one| one.nest(1, |value| value.attr(1, key)))
            })
        })
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

/// A part of a packet that a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Header {
    Link = 0,
    Network = 1,
}

/// Expressions of a rule, one after the other.
impl Message {
    fn expression(self, name: &str, fill: impl FnOnce(Self) -> Self) -> Self {
        self.nest(LIST_ELEMENT, |element| {
            element
                .string(EXPRESSION_NAME, name)
                .nest(EXPRESSION_DATA, fill)
        })
    }

    /// Loads `length` bytes of a header into a register.
    pub(super) fn load(self, register: u32, header: Header, offset: u32, length: u32) -> Self {
        self.expression("payload", |data| {
            data.be32(1, register)
                .be32(2, header as u32)
                .be32(3, offset)
                .be32(4, length)
        })
    }

    /// Loads the name of the incoming interface into register 1, which it fills.
    pub(super) fn load_incoming(self) -> Self {
        self.expression("meta", |data| data.be32(1, 1).be32(2, META_IIFNAME))
    }

    /// Keeps the bits of `mask` in register 1.
    pub(super) fn mask(self, mask: [u8; 4]) -> Self {
        self.expression("bitwise", |data| {
            data.be32(1, 1)
                .be32(2, 1)
                .be32(3, 4)
                .nest(4, |value| value.attr(1, &mask))
                .nest(5, |xor| xor.attr(1, &[0; 4]))
        })
    }

    /// Ends the rule unless register 1 holds `value`.
    pub(super) fn equals(self, value: &[u8]) -> Self {
        self.compare(EQUAL, value)
    }

    fn compare(self, operator: u32, value: &[u8]) -> Self {
        self.expression("cmp", |data| {
            data.be32(1, 1)
                .be32(2, operator)
                .nest(3, |nested| nested.attr(1, value))
        })
    }

    /// Ends the rule unless the set has what is in register 1 and those after it.
    pub(super) fn among(self, set: &str) -> Self {
        self.expression("lookup", |data| data.string(1, set).be32(2, 1))
    }

    pub(super) fn comes_from(self, interface: &str) -> Self {
        self.interface(META_IIFNAME, EQUAL, interface)
    }

    pub(super) fn comes_from_another_than(self, interface: &str) -> Self {
        self.interface(META_IIFNAME, NOT_EQUAL, interface)
    }

    pub(super) fn goes_to(self, interface: &str) -> Self {
        self.interface(META_OIFNAME, EQUAL, interface)
    }

    pub(super) fn goes_to_another_than(self, interface: &str) -> Self {
        self.interface(META_OIFNAME, NOT_EQUAL, interface)
    }

    fn interface(self, key: u32, operator: u32, name: &str) -> Self {
        self.expression("meta", |data| data.be32(1, 1).be32(2, key))
            .compare(operator, &padded(name))
    }

    /// Ends the rule unless the packet belongs to a connection that is there already.
    pub(super) fn answers(self) -> Self {
        const STATE: u32 = 0;
        const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
        self.expression("ct", |data| data.be32(1, 1).be32(2, STATE))
            .mask(ESTABLISHED_OR_RELATED.to_ne_bytes())
            .compare(NOT_EQUAL, &[0; 4])
    }

    /// The same as the iptables program writes it (`-m conntrack`), who could not read ours:
    /// `struct xt_conntrack_mtinfo3`.
    pub(super) fn answers_for_iptables(self) -> Self {
        const MATCH_FLAGS: usize = 146;
        const STATE_MASK: usize = 150;
        const BY_STATE: u16 = 1;
        const ESTABLISHED: u16 = 1 << 1;
        const RELATED: u16 = 1 << 2;
        let mut info = [0; 168];
        info[MATCH_FLAGS..MATCH_FLAGS + 2].copy_from_slice(&BY_STATE.to_ne_bytes());
        let states = ESTABLISHED | RELATED;
        info[STATE_MASK..STATE_MASK + 2].copy_from_slice(&states.to_ne_bytes());
        self.expression("match", |data| {
            data.attr(1, b"conntrack\0").be32(2, 3).attr(3, &info)
        })
    }

    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", |data| data)
    }

    pub(super) fn accept(self) -> Self {
        self.verdict(NF_ACCEPT)
    }

    pub(super) fn drop_packet(self) -> Self {
        self.verdict(NF_DROP)
    }

    fn verdict(self, code: u32) -> Self {
        self.expression("immediate", |data| {
            data.be32(1, 0)
                .nest(2, |value| value.nest(2, |verdict| verdict.be32(1, code)))
        })
    }
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
