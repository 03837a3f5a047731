//! Which devices a container may open: Docker's list, as a version 1 controller and as a program
//! of version 2. Pure, but for handing them to the kernel.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::files::write;
use super::host::Version;
use crate::error::{Error, Result};
use crate::node::{Access, DeviceRule, Node};
use crate::sys;

const MAKE: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MAKE | READ | WRITE;

/// What may be done with some devices; whatever no rule names is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Rule {
    const fn character(major: u32, minor: Option<u32>) -> Self {
        Self {
            block: false,
            major: Some(major),
            minor,
            access: ALL,
        }
    }

    const fn make(block: bool) -> Self {
        Self {
            block,
            major: None,
            minor: None,
            access: MAKE,
        }
    }

    /// As devices.allow of version 1 reads it.
    fn line(&self) -> String {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let access = [(MAKE, 'm'), (READ, 'r'), (WRITE, 'w')].into_iter();
        let access = access.filter(|(bit, _)| self.access & bit != 0);
        format!(
            "{} {}:{} {}",
            if self.block { 'b' } else { 'c' },
            number(self.major),
            number(self.minor),
            access.map(|(_, letter)| letter).collect::<String>()
        )
    }
}

/// Any node can be made. Opened are null, zero, full, random, urandom, the terminals, and what
/// `nodes` and `others` add.
pub(super) fn rules(nodes: &[Node], others: &[DeviceRule]) -> Vec<Rule> {
    let usual = [
        Rule::make(false),
        Rule::make(true),
        Rule::character(1, Some(3)),
        Rule::character(1, Some(5)),
        Rule::character(1, Some(7)),
        Rule::character(1, Some(8)),
        Rule::character(1, Some(9)),
        Rule::character(5, Some(0)),
        Rule::character(5, Some(1)),
        Rule::character(5, Some(2)),
        Rule::character(136, None),
    ];
    let added = nodes.iter().map(|node| Rule {
        block: node.block,
        access: bits(node.access),
        ..Rule::character(node.major, Some(node.minor))
    });
    let others = others.iter().flat_map(|rule| {
        let kinds = [(rule.block, true), (rule.character, false)];
        let kinds = kinds.into_iter().filter(|(wanted, _)| *wanted);
        kinds.map(|(_, block)| Rule {
            block,
            major: rule.major,
            minor: rule.minor,
            access: bits(rule.access),
        })
    });
    let added = added.chain(others).filter(|rule| rule.access != 0);
    usual.into_iter().chain(added).collect()
}

fn bits(access: Access) -> u8 {
    let bits = [
        (access.make, MAKE),
        (access.read, READ),
        (access.write, WRITE),
    ];
    let given = bits.into_iter().filter(|(given, _)| *given);
    given.fold(0, |all, (_, bit)| all | bit)
}

/// Restricts the group at `path`, which is there.
pub(super) fn restrict(path: &Path, version: Version, rules: &[Rule]) -> Result<()> {
    match version {
        Version::One => {
            write(&path.join("devices.deny"), "a")?;
            let allow = path.join("devices.allow");
            rules
                .iter()
                .try_for_each(|rule| write(&allow, &rule.line()))
        }
        Version::Two => {
            let group = File::open(path);
            let attached =
                group.and_then(|group| sys::attach_device_filter(group.as_fd(), &program(rules)));
            attached.map_err(|cause| Error::Cgroup {
                path: path.to_owned(),
                step: "attach a device filter".to_owned(),
                cause,
            })
        }
    }
}

/// Operations of `struct bpf_insn` (linux/bpf.h), of which each is one 64-bit word here.
const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const COPY: u8 = 0xbc;
const SET: u8 = 0xb4;
const UNLESS_EQUAL: u8 = 0x55;
const UNLESS_SAME: u8 = 0x5d;
const EXIT: u8 = 0x95;

const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

fn instruction(operation: u8, to: u8, from: u8, offset: u16, value: u32) -> u64 {
    u64::from(operation)
        | u64::from(to | from << 4) << 8
        | u64::from(offset) << 16
        | u64::from(value) << 32
}

/// The program that answers 1 for what the rules allow and 0 for the rest. The kernel hands it a
/// `struct bpf_cgroup_dev_ctx`: access and type in the halves of a word, major, minor.
fn program(rules: &[Rule]) -> Vec<u64> {
    // Registers: 1 is the context and later free, 2 the type, 3 the access, 4 and 5 the numbers.
    let mut code = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(COPY, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.block { BLOCK } else { CHARACTER };
        // Each of these skips the rest of the rule, answer included.
        let mut tests = vec![(UNLESS_EQUAL, 2, 0, kind)];
        tests.extend(rule.major.map(|major| (UNLESS_EQUAL, 4, 0, major)));
        tests.extend(rule.minor.map(|minor| (UNLESS_EQUAL, 5, 0, minor)));
        let narrow = rule.access != ALL;
        let mut left = tests.len() + if narrow { 3 } else { 0 } + 2;
        for (operation, to, from, value) in tests {
            left -= 1;
            code.push(instruction(operation, to, from, skip(left), value));
        }
        if narrow {
            // What is asked for beyond the access that the rule gives.
            code.push(instruction(COPY, 1, 3, 0, 0));
            code.push(instruction(AND, 1, 0, 0, rule.access.into()));
            code.push(instruction(UNLESS_SAME, 1, 3, 2, 0));
        }
        code.push(instruction(SET, 0, 0, 0, 1));
        code.push(instruction(EXIT, 0, 0, 0, 0));
    }
    code.push(instruction(SET, 0, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

fn skip(instructions: usize) -> u16 {
    // A rule has a handful of them.
    u16::try_from(instructions).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program answers, by the meaning that the kernel gives its operations.
    fn answer(code: &[u64], block: bool, major: u32, minor: u32, access: u8) -> u32 {
        let kind = if block { BLOCK } else { CHARACTER };
        let context = [u32::from(access) << 16 | kind, major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0;
        loop {
            let word = code[at];
            let (to, from) = ((word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
            let (offset, value) = ((word >> 16 & 0xffff) as usize, (word >> 32) as u32);
            at += 1;
            match (word & 0xff) as u8 {
                LOAD_WORD => registers[to] = context[offset / 4],
                AND => registers[to] &= value,
                SHIFT_RIGHT => registers[to] >>= value,
                COPY => registers[to] = registers[from],
                SET => registers[to] = value,
                UNLESS_EQUAL if registers[to] != value => at += offset,
                UNLESS_SAME if registers[to] != registers[from] => at += offset,
                UNLESS_EQUAL | UNLESS_SAME => {}
                EXIT => return registers[0],
                other => panic!("unknown operation {other:x}"),
            }
        }
    }

    #[test]
    fn the_program_means_what_the_rules_say() {
        let fuse = Node::character("/dev/fuse", 10, 229);
        let tun = Node {
            access: Access {
                write: false,
                ..Access::ALL
            },
            ..Node::character("/dev/net/tun", 10, 200)
        };
        let disks = DeviceRule {
            block: true,
            character: false,
            major: Some(8),
            minor: None,
            access: Access {
                write: false,
                make: false,
                ..Access::ALL
            },
        };
        let code = program(&rules(&[fuse, tun], &[disks]));
        for (block, major, minor, access, allowed) in [
            (false, 1, 3, ALL, 1),
            (false, 1, 3, READ, 1),
            (false, 1, 4, READ, 0),
            (false, 1, 4, MAKE, 1),
            (false, 1, 4, MAKE | READ, 0),
            (true, 1, 3, READ, 0),
            (true, 8, 0, MAKE, 1),
            (true, 8, 0, WRITE, 0),
            (true, 8, 3, READ, 1),
            (false, 8, 3, READ, 0),
            (true, 9, 3, READ, 0),
            (false, 136, 77, READ | WRITE, 1),
            (false, 10, 229, READ | WRITE, 1),
            (false, 10, 201, READ, 0),
            (false, 10, 200, READ, 1),
            (false, 10, 200, READ | WRITE, 0),
        ] {
            let found = answer(&code, block, major, minor, access);
            assert_eq!(found, allowed, "{block} {major}:{minor} {access}");
        }
    }

    /// The kernel takes the program and does what it says, also where the controller of version 1
    /// is what steps get.
    #[test]
    fn version_two_lets_through_what_is_listed() {
        let host = super::super::host::Hierarchies::of_this_host().unwrap();
        let root = rustix::process::geteuid().is_root();
        let Some(mount) = host.unified().filter(|_| root) else {
            println!("skipped: needs root and a hierarchy of version 2");
            return;
        };
        let group = mount.join(format!("rbuild-devices-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        restrict(&group, Version::Two, &rules(&[], &[])).unwrap();
        let script = "echo $$ >\"$0/cgroup.procs\" && echo x >/dev/null && \
            head -c 1 /dev/zero >/dev/null && ! (: </dev/kmsg) 2>/dev/null";
        let status = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(&group)
            .status();
        super::super::remove_all(&[group]);
        assert!(status.unwrap().success());
    }

    #[test]
    fn version_one_reads_lines() {
        let lines: Vec<String> = rules(&[], &[]).iter().map(Rule::line).collect();
        assert_eq!(lines[..3], ["c *:* m", "b *:* m", "c 1:3 mrw"]);
        assert_eq!(lines.last().unwrap(), "c 136:* mrw");
    }
}
