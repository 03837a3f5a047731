//! The expressions of nftables rules, one after the other.

use super::netlink::Message;
use super::nft::{Family, LIST_ELEMENT, padded};

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Four bytes each; register 1 is the first four of them.
const FIRST: u32 = 8;
/// What differs between IPv4 and IPv6 in rules: places in headers, lengths of addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) family: Family,
    /// Where the sender's address stands in the network's header.
    pub(super) source: u32,
    pub(super) destination: u32,
    /// Bytes of an address.
    pub(super) length: u32,
}

pub(super) const IPV4: Kind = Kind {
    family: Family::Ipv4,
    source: 12,
    destination: 16,
    length: 4,
};

pub(super) const IPV6: Kind = Kind {
    family: Family::Ipv6,
    source: 8,
    destination: 24,
    length: 16,
};

impl Kind {
    /// Registers that an address needs.
    fn words(self) -> u32 {
        self.length / 4
    }

    /// Where a map's answer goes: behind the longest key.
    fn answer(self) -> u32 {
        FIRST + self.words() + 3
    }
}

/// A part of a packet that a rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// What rules are made of.
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

    /// Loads the protocol and, of what is to be looked up in a map, address and port: four bytes
    /// each, an IPv6 address sixteen, from register 1 on.
    pub(super) fn load_destination(self, address: Option<Kind>) -> Self {
        let list = self.expression("meta", |data| data.be32(1, FIRST).be32(2, META_L4PROTO));
        let next = FIRST + 1;
        let (list, port) = match address {
            Some(kind) => (
                list.load(next, Header::Network, kind.destination, kind.length),
                next + kind.words(),
            ),
            None => (list, next),
        };
        list.load(port, Header::Transport, 2, 2)
    }

    /// Looks up what is in register 1 and those after it, and sends the packet to the address and
    /// port that it leads to; ends the rule when it leads nowhere.
    pub(super) fn redirect_by(self, kind: Kind, map: &str) -> Self {
        const DESTINATION: u32 = 1;
        let answer = kind.answer();
        let list = self.expression("lookup", |data| {
            data.string(1, map).be32(2, FIRST).be32(3, answer)
        });
        list.expression("nat", |data| {
            data.be32(1, DESTINATION)
                .be32(2, kind.family as u32)
                .be32(3, answer)
                .be32(5, answer + kind.words())
        })
    }

    /// Sends the packet to this address and port.
    pub(super) fn redirect_to(self, address: [u8; 4], port: u16) -> Self {
        const DESTINATION: u32 = 1;
        const IPV4: u32 = 2;
        let value = |list: Self, register: u32, bytes: &[u8]| {
            list.expression("immediate", |data| {
                data.be32(1, register).nest(2, |value| value.attr(1, bytes))
            })
        };
        let list = value(self, FIRST, &address);
        let list = value(list, FIRST + 1, &port.to_be_bytes());
        list.expression("nat", |data| {
            data.be32(1, DESTINATION)
                .be32(2, IPV4)
                .be32(3, FIRST)
                .be32(5, FIRST + 1)
        })
    }

    /// Ends the rule unless the packet is for this host.
    pub(super) fn bound_for_this_host(self) -> Self {
        const BY_DESTINATION: u32 = 2;
        const TYPE_OF_ADDRESS: u32 = 3;
        const LOCAL: u32 = 2;
        self.expression("fib", |data| {
            data.be32(1, 1)
                .be32(2, TYPE_OF_ADDRESS)
                .be32(3, BY_DESTINATION)
        })
        .equals(&LOCAL.to_ne_bytes())
    }

    /// Ends the rule unless the packet's destination was changed, when its connection began.
    pub(super) fn was_redirected(self) -> Self {
        const STATUS: u32 = 2;
        const DESTINATION_CHANGED: u32 = 1 << 5;
        self.expression("ct", |data| data.be32(1, 1).be32(2, STATUS))
            .mask(&DESTINATION_CHANGED.to_ne_bytes())
            .compare(NOT_EQUAL, &[0; 4])
    }

    /// Ends the rule unless the packet's protocol is this.
    pub(super) fn speaking(self, number: u8) -> Self {
        self.expression("meta", |data| data.be32(1, 1).be32(2, META_L4PROTO))
            .equals(&[number])
    }

    /// Keeps the bits of `mask`, of four or of sixteen bytes, in register 1.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        let none = vec![0; mask.len()];
        self.expression("bitwise", |data| {
            data.be32(1, 1)
                .be32(2, 1)
                .be32(3, none.len() as u32)
                .nest(4, |value| value.attr(1, mask))
                .nest(5, |xor| xor.attr(1, &none))
        })
    }

    /// Ends the rule unless register 1 holds `value`.
    pub(super) fn equals(self, value: &[u8]) -> Self {
        self.compare(EQUAL, value)
    }

    /// Ends the rule if register 1 holds `value`.
    pub(super) fn differs(self, value: &[u8]) -> Self {
        self.compare(NOT_EQUAL, value)
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

    /// Ends the rule unless the name of the interface where it comes from begins otherwise.
    pub(super) fn comes_from_none_of(self, prefix: &str) -> Self {
        self.expression("meta", |data| data.be32(1, 1).be32(2, META_IIFNAME))
            .compare(NOT_EQUAL, prefix.as_bytes())
    }

    /// The same of where it goes.
    pub(super) fn goes_to_none_of(self, prefix: &str) -> Self {
        self.expression("meta", |data| data.be32(1, 1).be32(2, META_OIFNAME))
            .compare(NOT_EQUAL, prefix.as_bytes())
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
            .mask(&ESTABLISHED_OR_RELATED.to_ne_bytes())
            .compare(NOT_EQUAL, &[0; 4])
    }

    /// The same as the iptables program writes it (`-m conntrack`), who could not read ours:
    /// `struct xt_conntrack_mtinfo3`. What was redirected passes too.
    pub(super) fn answers_for_iptables(self) -> Self {
        const MATCH_FLAGS: usize = 146;
        const STATE_MASK: usize = 150;
        const BY_STATE: u16 = 1;
        const ESTABLISHED: u16 = 1 << 1;
        const RELATED: u16 = 1 << 2;
        const REDIRECTED: u16 = 1 << 7;
        let mut info = [0; 168];
        info[MATCH_FLAGS..MATCH_FLAGS + 2].copy_from_slice(&BY_STATE.to_ne_bytes());
        let states = ESTABLISHED | RELATED | REDIRECTED;
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
