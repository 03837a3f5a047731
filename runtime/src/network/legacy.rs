//! The old iptables, whose chains are not nftables': what they drop we cannot let pass.

use crate::sys;

/// The tables that there are; looking at others would make them.
const TABLES: &str = "/proc/net/ip_tables_names";
/// What the names of our bridges begin with.
const OURS: &[u8] = b"rbuild";
/// `struct ipt_entry`: interfaces, and the offsets of the target and of the next entry.
const IN: usize = 16;
const OUT: usize = 32;
const NAME: usize = 16;
const TARGET_AT: usize = 88;
const NEXT_AT: usize = 90;
/// Where a standard target's verdict is.
const VERDICT: usize = 32;
const DROP: i32 = -1;

/// Whether the policy of the old FORWARD chain is to drop, and no rule of it is about our bridges.
pub(super) fn drops_forwarded() -> bool {
    let tables = std::fs::read_to_string(TABLES).unwrap_or_default();
    if !tables.lines().any(|table| table == "filter") {
        return false;
    }
    sys::filter_table().is_ok_and(|(table, first, last)| blocks(&table, first, last))
}

fn blocks(table: &[u8], first: usize, last: usize) -> bool {
    let number = |at: usize| {
        let bytes = table.get(at..at + 2)?;
        Some(usize::from(u16::from_ne_bytes(bytes.try_into().ok()?)))
    };
    let mut at = first;
    while at < last {
        for name in [IN, OUT] {
            let name = table.get(at + name..at + name + NAME);
            if name.is_some_and(|name| name.starts_with(OURS)) {
                return false;
            }
        }
        match number(at + NEXT_AT) {
            Some(next) if next > 0 => at += next,
            _ => return false,
        }
    }
    let verdict = number(last + TARGET_AT).and_then(|target| {
        let at = last + target + VERDICT;
        let bytes = table.get(at..at + 4)?;
        Some(i32::from_ne_bytes(bytes.try_into().ok()?))
    });
    verdict == Some(DROP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with a standard target, for packets that come from an interface.
    fn entry(from: &str, verdict: i32) -> Vec<u8> {
        let mut bytes = vec![0; 112 + 40];
        bytes[IN..IN + from.len()].copy_from_slice(from.as_bytes());
        bytes[TARGET_AT..TARGET_AT + 2].copy_from_slice(&112u16.to_ne_bytes());
        bytes[NEXT_AT..NEXT_AT + 2].copy_from_slice(&152u16.to_ne_bytes());
        bytes[112 + VERDICT..112 + VERDICT + 4].copy_from_slice(&verdict.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_policy_of_dropping_blocks_unless_a_rule_is_about_us() {
        let (drop, accept) = (entry("", DROP), entry("", -2));
        assert!(blocks(&drop, 0, 0));
        assert!(!blocks(&accept, 0, 0));
        assert!(blocks(
            &[entry("docker0", -2), drop.clone()].concat(),
            0,
            152
        ));
        assert!(!blocks(&[entry("rbuild+", -2), drop].concat(), 0, 152));
        assert!(
            !blocks(&[], 0, 0),
            "what cannot be read is no reason to warn"
        );
    }
}
