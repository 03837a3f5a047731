//! What we add to, and read of, other programs' nftables tables.

use std::io;

use super::netlink::{APPEND, DUMP, Reply, Socket};
use super::nft::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_TABLE, CHAIN_TYPE, Family, GET_CHAIN, GET_RULE, HOOK_NUMBER,
    RULE_CHAIN, RULE_HANDLE, RULE_TABLE, is_noted, transaction,
};

const TABLE: &str = "filter";
const CHAIN: &str = "FORWARD";
/// Chains that may hold our rules: earlier versions put them into Docker's.
const CHAINS: [&str; 2] = [CHAIN, "DOCKER-USER"];
const POST_ROUTING: u32 = 4;

fn note(bridge: &str) -> String {
    format!("rbuild network {bridge}")
}

/// The note of earlier versions.
fn old_note(bridge: &str) -> String {
    format!("build network {bridge}")
}

/// Lets the bridge's traffic pass where Docker has set the policy of `FORWARD` to DROP: rules at
/// the very end of it, so that every rule of the administrator comes first. They use only what
/// the iptables program can read back.
pub(super) fn accept_forwarding(
    socket: &mut Socket,
    family: Family,
    bridge: &str,
) -> io::Result<()> {
    if !chains(socket, family)?
        .iter()
        .any(|chain| chain.is(TABLE, CHAIN))
    {
        return Ok(());
    }
    let note = note(bridge);
    let rules = rules_of(socket, family, CHAIN)?;
    let last: Vec<bool> = rules.iter().map(|rule| is_noted(rule, &note)).collect();
    if last.ends_with(&[true, true]) {
        return Ok(());
    }
    // Rules that others have got behind since are moved.
    withdraw(socket, family, bridge)?;
    let outgoing = family.rule(TABLE, CHAIN, APPEND, &note, |list| {
        list.comes_from(bridge).accept()
    });
    let answers = family.rule(TABLE, CHAIN, APPEND, &note, |list| {
        list.goes_to(bridge).answers_for_iptables().accept()
    });
    transaction(socket, vec![outgoing, answers])
}

/// Takes our rules out again.
pub(super) fn withdraw(socket: &mut Socket, family: Family, bridge: &str) -> io::Result<()> {
    let notes = [note(bridge), old_note(bridge)];
    let mut messages = Vec::new();
    for chain in CHAINS {
        for rule in rules_of(socket, family, chain)? {
            let handle = rule.attr(4, RULE_HANDLE);
            let handle = handle.filter(|_| notes.iter().any(|note| is_noted(&rule, note)));
            messages.extend(handle.map(|h| family.delete_rule(TABLE, chain, h)));
        }
    }
    match messages.is_empty() {
        true => Ok(()),
        false => transaction(socket, messages),
    }
}

/// Whether another program translates addresses on this host: it relies on forwarding, then.
pub(super) fn others_translate(
    socket: &mut Socket,
    family: Family,
    bridge: &str,
) -> io::Result<bool> {
    // Those of the old iptables are not among nftables' chains.
    let names = match family {
        Family::Ipv6 => "/proc/net/ip6_tables_names",
        Family::Ipv4 | Family::Bridge => "/proc/net/ip_tables_names",
    };
    let old = std::fs::read_to_string(names).unwrap_or_default();
    let chains = chains(socket, family)?;
    Ok(old.lines().any(|table| table == "nat")
        || chains.iter().any(|chain| chain.translates_for(bridge)))
}

/// A chain as the kernel tells of it.
struct Chain(Reply);

impl Chain {
    fn text(&self, kind: u16) -> Option<&str> {
        let bytes = self.0.attr(4, kind)?.strip_suffix(&[0])?;
        std::str::from_utf8(bytes).ok()
    }

    fn is(&self, table: &str, name: &str) -> bool {
        self.text(CHAIN_TABLE) == Some(table) && self.text(CHAIN_NAME) == Some(name)
    }

    fn translates_for(&self, bridge: &str) -> bool {
        let hook = self
            .0
            .attr(4, CHAIN_HOOK)
            .and_then(|hook| super::netlink::find(hook, HOOK_NUMBER));
        self.text(CHAIN_TABLE) != Some(bridge)
            && self.text(CHAIN_TYPE) == Some("nat")
            && hook == Some(&POST_ROUTING.to_be_bytes()[..])
    }
}

fn chains(socket: &mut Socket, family: Family) -> io::Result<Vec<Chain>> {
    let replies = socket.request(family.ask(GET_CHAIN, DUMP))?;
    Ok(replies.into_iter().map(Chain).collect())
}

fn rules_of(socket: &mut Socket, family: Family, chain: &str) -> io::Result<Vec<Reply>> {
    let question = family
        .ask(GET_RULE, DUMP)
        .string(RULE_TABLE, TABLE)
        .string(RULE_CHAIN, chain);
    match socket.request(question) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}
