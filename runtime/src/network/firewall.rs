//! Address translation and forwarding for the bridge, through nftables.

use std::io;

use super::netlink::{ACK, APPEND, CREATE, DUMP, Message, REQUEST, Reply, Socket};
use super::subnet::Subnet;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

const IPV4: u8 = 2;
const POST_ROUTING: u32 = 4;
const SOURCE_NAT: u32 = 100;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NF_ACCEPT: u32 = 1;

/// `struct nfgenmsg` for IPv4 tables.
const BODY: [u8; 4] = [IPV4, 0, 0, 0];

fn transaction(socket: &mut Socket, messages: Vec<Message>) -> io::Result<()> {
    let body = [0, 0, 0, 10];
    let begin = Message::new(BATCH_BEGIN, REQUEST, &body);
    socket.batch(begin, messages, Message::new(BATCH_END, REQUEST, &body))
}

/// Replaces the bridge's own table, named like it, by one that translates the addresses of
/// `subnet` to the host's when they leave it. One transaction: no packet sees it half-made.
pub(super) fn masquerade(socket: &mut Socket, bridge: &str, subnet: Subnet) -> io::Result<()> {
    let table =
        |kind, flags| Message::new(kind, REQUEST | ACK | flags, &BODY).string(TABLE_NAME, bridge);
    let chain = Message::new(NEW_CHAIN, REQUEST | ACK | CREATE, &BODY)
        .string(CHAIN_TABLE, bridge)
        .string(CHAIN_NAME, "postrouting")
        .nest(CHAIN_HOOK, |hook| {
            hook.be32(HOOK_NUMBER, POST_ROUTING)
                .be32(HOOK_PRIORITY, SOURCE_NAT)
        })
        .string(CHAIN_TYPE, "nat");
    let rule = rule(
        bridge,
        "postrouting",
        APPEND,
        "leaves the build network",
        |list| {
            let list = element(list, "payload", |data| {
                // Source address: 4 bytes at 12 of the network header.
                data.be32(1, 1).be32(2, 1).be32(3, 12).be32(4, 4)
            });
            let list = element(list, "bitwise", |data| {
                data.be32(1, 1)
                    .be32(2, 1)
                    .be32(3, 4)
                    .nest(4, |mask| mask.attr(1, &subnet.mask().octets()))
                    .nest(5, |xor| xor.attr(1, &[0; 4]))
            });
            let list = compare(list, EQUAL, &subnet.base().octets());
            let list = interface(list, META_OIFNAME, NOT_EQUAL, bridge);
            element(list, "masq", |data| data)
        },
    );
    transaction(
        socket,
        vec![
            table(NEW_TABLE, CREATE),
            table(DEL_TABLE, 0),
            table(NEW_TABLE, CREATE),
            chain,
            rule,
        ],
    )
}

/// Lets the bridge's traffic pass a host's own filter where Docker or an administrator forbids
/// forwarding: rules at the head of `DOCKER-USER` or, without it, `FORWARD` of the IPv4 `filter`
/// table. They use only what the iptables program can read back.
pub(super) fn accept_forwarding(socket: &mut Socket, bridge: &str) -> io::Result<()> {
    let Some(chain) = forwarding_chain(socket)? else {
        return Ok(());
    };
    let mark = format!("build network {bridge}");
    let existing = socket.request(
        Message::new(GET_RULE, REQUEST | DUMP, &BODY)
            .string(RULE_TABLE, "filter")
            .string(RULE_CHAIN, chain),
    )?;
    let marked = existing
        .iter()
        .filter(|reply| is_marked(reply, &mark))
        .count();
    if marked >= 2 {
        return Ok(());
    }
    let outgoing = rule("filter", chain, 0, &mark, |list| {
        accept(interface(list, META_IIFNAME, EQUAL, bridge))
    });
    let answers = rule("filter", chain, 0, &mark, |list| {
        let list = interface(list, META_OIFNAME, EQUAL, bridge);
        accept(element(list, "match", |data| {
            data.attr(1, b"conntrack\0")
                .be32(2, 3)
                .attr(3, &established_or_related())
        }))
    });
    transaction(socket, vec![outgoing, answers])
}

/// `struct xt_conntrack_mtinfo3` for "established or related", as `-m conntrack` passes it.
fn established_or_related() -> [u8; 168] {
    const MATCH_FLAGS: usize = 146;
    const STATE_MASK: usize = 150;
    const BY_STATE: u16 = 1;
    const ESTABLISHED: u16 = 1 << 1;
    const RELATED: u16 = 1 << 2;
    let mut info = [0; 168];
    info[MATCH_FLAGS..MATCH_FLAGS + 2].copy_from_slice(&BY_STATE.to_ne_bytes());
    let states = ESTABLISHED | RELATED;
    info[STATE_MASK..STATE_MASK + 2].copy_from_slice(&states.to_ne_bytes());
    info
}

fn forwarding_chain(socket: &mut Socket) -> io::Result<Option<&'static str>> {
    let chains = socket.request(Message::new(GET_CHAIN, REQUEST | DUMP, &BODY))?;
    let has = |name: &str| {
        chains.iter().any(|reply| {
            let attrs = reply.attrs(4);
            let is = |kind, text: &str| {
                attrs
                    .iter()
                    .any(|(k, v)| *k == kind && v.strip_suffix(&[0]) == Some(text.as_bytes()))
            };
            is(CHAIN_TABLE, "filter") && is(CHAIN_NAME, name)
        })
    };
    Ok(["DOCKER-USER", "FORWARD"]
        .into_iter()
        .find(|name| has(name)))
}

fn is_marked(reply: &Reply, mark: &str) -> bool {
    reply
        .attrs(4)
        .iter()
        .filter(|(kind, _)| *kind == RULE_USERDATA)
        .any(|(_, data)| *data == comment(mark))
}

/// A comment as nft stores it: type 0, length, text with NUL.
fn comment(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, (text.len() + 1) as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

fn rule(
    table: &str,
    chain: &str,
    position: u16,
    note: &str,
    fill: impl FnOnce(Message) -> Message,
) -> Message {
    Message::new(NEW_RULE, REQUEST | ACK | CREATE | position, &BODY)
        .string(RULE_TABLE, table)
        .string(RULE_CHAIN, chain)
        .nest(RULE_EXPRESSIONS, fill)
        .attr(RULE_USERDATA, &comment(note))
}

fn element(list: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    list.nest(LIST_ELEMENT, |element| {
        element
            .string(EXPRESSION_NAME, name)
            .nest(EXPRESSION_DATA, fill)
    })
}

/// Compares register 1.
fn compare(list: Message, operator: u32, value: &[u8]) -> Message {
    element(list, "cmp", |data| {
        data.be32(1, 1)
            .be32(2, operator)
            .nest(3, |nested| nested.attr(1, value))
    })
}

fn interface(list: Message, key: u32, operator: u32, name: &str) -> Message {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    compare(
        element(list, "meta", |data| data.be32(1, 1).be32(2, key)),
        operator,
        &padded,
    )
}

fn accept(list: Message) -> Message {
    element(list, "immediate", |data| {
        data.be32(1, 0).nest(2, |value| {
            value.nest(2, |verdict| verdict.be32(1, NF_ACCEPT))
        })
    })
}

/// Removes the bridge's own table.
pub(super) fn remove(socket: &mut Socket, bridge: &str) -> io::Result<()> {
    let message = Message::new(DEL_TABLE, REQUEST | ACK, &BODY).string(TABLE_NAME, bridge);
    transaction(socket, vec![message])
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attrs;
    use super::*;

    #[test]
    fn marks_are_found_again() {
        let reply = Reply([&BODY[..], &[18, 0, 7, 0], &comment("network br0"), &[0, 0]].concat());
        assert_eq!(attrs(&reply.0[4..]).len(), 1);
        assert!(is_marked(&reply, "network br0"));
        assert!(!is_marked(&reply, "network br1"));
    }
}
