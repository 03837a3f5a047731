//! Profiles of the user's, in the form that Docker's engine and `containers/common` read, as a
//! filter of this machine's kernel.
//!
//! What a rule says of system calls that an architecture lacks counts for nothing there, as with
//! libseccomp. A rule without conditions goes before those with conditions. Calls that are newer
//! than all that the profile names are "no such call" where it refuses what it does not name: as
//! with runc, libraries then fall back to older ones.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use serde::{Deserialize, Serialize};
use syscalls::{aarch64, x86, x86_64};

use super::bpf::{Assembler, Instruction, Label};
use super::{
    ALLOW, ARCH, ARCH_AARCH64, ARCH_I386, ARCH_X86_64, ARG0, ENOSYS, EPERM, ERRNO, KILL_PROCESS,
    NR, search,
};
use crate::caps::{self, Capability};

const TRAP: u32 = 0x0003_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const KILL_THREAD: u32 = 0;
/// `BPF_MAXINSNS` of the kernel.
const MAX_INSTRUCTIONS: usize = 4096;
/// The bit that marks calls of the x32 ABI, which kernels for servers do not have.
const X32: u32 = 0x4000_0000;

/// A system call filter that was made of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompProfile {
    pub(crate) program: Vec<Instruction>,
}

impl SeccompProfile {
    /// Reads a profile for containers with Docker's default capabilities; `kernel` is the running
    /// one's version, as uname(2) tells it.
    ///
    /// # Errors
    /// Text that is no profile, or one that names what does not exist, in a sentence.
    pub fn parse(text: &str, kernel: &str) -> Result<Self, String> {
        let profile: Profile = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let program = profile.compile(native(), version(kernel))?;
        if program.len() > MAX_INSTRUCTIONS {
            return Err(format!(
                "it comes to {} instructions, of which a filter has {MAX_INSTRUCTIONS} at most",
                program.len()
            ));
        }
        Ok(Self { program })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    name: String,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Arg>>,
    includes: Option<When>,
    excludes: Option<When>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// For which containers and machines a rule is, or is not.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct When {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// One architecture of this machine: its names, and where its calls are.
#[derive(Clone, Copy)]
struct Arch {
    audit: u32,
    /// In profiles.
    name: &'static str,
    /// In `arches`: Go's.
    go: &'static str,
    number: fn(&str) -> Option<u32>,
    /// Arguments have 64 bits.
    wide: bool,
}

const X86_64: Arch = Arch {
    audit: ARCH_X86_64,
    name: "SCMP_ARCH_X86_64",
    go: "amd64",
    number: |name| {
        x86_64::Sysno::from_str(name)
            .ok()
            .map(|nr| nr.id().unsigned_abs())
    },
    wide: true,
};
const I386: Arch = Arch {
    audit: ARCH_I386,
    name: "SCMP_ARCH_X86",
    go: "x86",
    number: |name| {
        x86::Sysno::from_str(name)
            .ok()
            .map(|nr| nr.id().unsigned_abs())
    },
    wide: false,
};
const AARCH64: Arch = Arch {
    audit: ARCH_AARCH64,
    name: "SCMP_ARCH_AARCH64",
    go: "arm64",
    number: |name| {
        aarch64::Sysno::from_str(name)
            .ok()
            .map(|nr| nr.id().unsigned_abs())
    },
    wide: true,
};

/// The machine's own first.
fn native() -> &'static [Arch] {
    match () {
        () if cfg!(target_arch = "x86_64") => &[X86_64, I386],
        () if cfg!(target_arch = "aarch64") => &[AARCH64],
        () => &[],
    }
}

/// What is decided on one call: conditions, each with what follows where it is met, and what
/// follows where none is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Decision {
    conditional: Vec<(Vec<Condition>, u32)>,
    always: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    index: u32,
    compare: Compare,
    value: u64,
    two: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    MaskedEqual,
}

fn action(name: &str, errno: Option<u32>) -> Result<u32, String> {
    let errno = errno.unwrap_or(EPERM) & 0xffff;
    Ok(match name {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => ERRNO | errno,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_TRACE" => TRACE | errno,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_NOTIFY" => {
            return Err("SCMP_ACT_NOTIFY needs a supervisor, which builds have none of".to_owned());
        }
        other => return Err(format!("invalid action {other:?}")),
    })
}

impl Arg {
    fn condition(&self) -> Result<Condition, String> {
        let compare = match self.op.as_str() {
            "SCMP_CMP_EQ" => Compare::Equal,
            "SCMP_CMP_NE" => Compare::NotEqual,
            "SCMP_CMP_LT" => Compare::Less,
            "SCMP_CMP_LE" => Compare::LessOrEqual,
            "SCMP_CMP_GT" => Compare::Greater,
            "SCMP_CMP_GE" => Compare::GreaterOrEqual,
            "SCMP_CMP_MASKED_EQ" => Compare::MaskedEqual,
            other => return Err(format!("invalid operator {other:?}")),
        };
        if self.index > 5 {
            return Err(format!("system calls have no argument {}", self.index));
        }
        Ok(Condition {
            index: self.index,
            compare,
            value: self.value,
            two: self.value_two,
        })
    }
}

/// Major and minor version.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let mut next = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    (next(), next())
}

impl Rule {
    /// Whether it is for this container on this machine.
    fn applies(&self, native: &Arch, kernel: (u32, u32)) -> bool {
        let held = |name: &String| {
            let capability = Capability::from_name(name);
            capability.is_some_and(|capability| caps::DEFAULT.contains(&capability))
        };
        let here = |name: &String| name == native.go;
        let newer = |text: &String| version(text) <= kernel;
        let included = self.includes.as_ref().is_none_or(|when| {
            when.arches
                .as_ref()
                .is_none_or(|all| all.is_empty() || all.iter().any(here))
                && when.caps.iter().flatten().all(held)
                && when.min_kernel.iter().all(newer)
        });
        let excluded = self.excludes.as_ref().is_some_and(|when| {
            when.arches.iter().flatten().any(here)
                || when.caps.iter().flatten().any(held)
                || when.min_kernel.iter().any(newer)
        });
        included && !excluded
    }

    fn names(&self) -> Result<Vec<&str>, String> {
        let names = self.names.iter().flatten().map(String::as_str);
        let names: Vec<&str> = names.collect();
        match (self.name.as_str(), names.is_empty()) {
            ("", _) => Ok(names),
            (name, true) => Ok(vec![name]),
            (name, false) => Err(format!(
                "a rule has both `name` ({name}) and `names`; keep one"
            )),
        }
    }

    /// Conditions that have to be met together; an argument that is named twice may be either.
    fn conditions(&self) -> Result<Vec<Vec<Condition>>, String> {
        let args = self.args.iter().flatten().map(Arg::condition);
        let args: Vec<Condition> = args.collect::<Result<_, _>>()?;
        let twice = |arg: &Condition| args.iter().filter(|a| a.index == arg.index).count() > 1;
        Ok(match args.iter().any(twice) {
            true => args.iter().map(|arg| vec![*arg]).collect(),
            false => vec![args],
        })
    }
}

impl Profile {
    /// The architectures of this machine that it is about.
    fn arches(&self, known: &[Arch]) -> Result<Vec<Arch>, String> {
        let native = known.first().map_or("", |arch| arch.name);
        let listed = self.architectures.as_deref().unwrap_or_default();
        let mapped = self.arch_map.iter().flatten();
        let named: Vec<&String> = match (listed.len(), self.arch_map.is_some()) {
            (0, _) => {
                let own = mapped.filter(|map| map.architecture == native);
                own.flat_map(|map| map.sub_architectures.iter().flatten())
                    .collect()
            }
            (_, true) => {
                return Err("both `architectures` and `archMap` are given; keep one".to_owned());
            }
            (_, false) => listed.iter().collect(),
        };
        let wanted = |arch: &&Arch| arch.name == native || named.iter().any(|n| *n == arch.name);
        Ok(known.iter().filter(wanted).copied().collect())
    }

    fn compile(&self, known: &[Arch], kernel: (u32, u32)) -> Result<Vec<Instruction>, String> {
        let default = action(&self.default_action, self.default_errno_ret)?;
        let arches = self.arches(known)?;
        let mut asm = Assembler::default();
        let mut ends = Ends::default();
        asm.load(ARCH);
        for arch in &arches {
            let (here, next) = (asm.label(), asm.label());
            asm.jump_eq(arch.audit, here, next);
            asm.place(here);
            let native = arches.first().unwrap_or(arch);
            let decisions = self.decisions(arch, native, kernel)?;
            ends.calls(&mut asm, arch, &decisions, default);
            asm.place(next);
        }
        asm.ret(KILL_PROCESS);
        ends.place(&mut asm);
        Ok(asm.finish())
    }

    /// What is decided on the calls that are named, by their numbers.
    fn decisions(
        &self,
        arch: &Arch,
        native: &Arch,
        kernel: (u32, u32),
    ) -> Result<BTreeMap<u32, Decision>, String> {
        let mut decisions: BTreeMap<u32, Decision> = BTreeMap::new();
        for rule in self.syscalls.iter().flatten() {
            let action = action(&rule.action, rule.errno_ret)?;
            let (names, conditions) = (rule.names()?, rule.conditions()?);
            if !rule.applies(native, kernel) {
                continue;
            }
            for number in names.into_iter().filter_map(arch.number) {
                let decision = decisions.entry(number).or_default();
                for all in &conditions {
                    match all.as_slice() {
                        [] => drop(decision.always.get_or_insert(action)),
                        all => decision.conditional.push((all.to_vec(), action)),
                    }
                }
            }
        }
        Ok(decisions)
    }
}

/// Where programs end, by what they answer.
#[derive(Default)]
struct Ends(BTreeMap<u32, Label>);

impl Ends {
    fn to(&mut self, asm: &mut Assembler, answer: u32) -> Label {
        *self.0.entry(answer).or_insert_with(|| asm.label())
    }

    fn place(self, asm: &mut Assembler) {
        for (answer, label) in self.0 {
            asm.place(label);
            asm.ret(answer);
        }
    }

    fn calls(
        &mut self,
        asm: &mut Assembler,
        arch: &Arch,
        decisions: &BTreeMap<u32, Decision>,
        default: u32,
    ) {
        let newest = decisions.keys().next_back().copied();
        // Whoever lets through what is not named does not want new calls refused.
        let refuses = !matches!(default, ALLOW | LOG) && default & 0xffff_0000 != TRACE;
        let newer = match (newest, refuses) {
            (Some(_), true) => ERRNO | ENOSYS,
            _ => default,
        };
        let mut runs: Vec<(u32, Label)> = Vec::new();
        let mut chains = Vec::new();
        let mut last = None;
        for number in 0..=newest.map_or(0, |newest| newest + 1) {
            let decision = decisions.get(&number);
            let answer = match decision {
                Some(Decision {
                    always: Some(answer),
                    ..
                }) => Ok(*answer),
                Some(decision) => Err(decision),
                None if newest.is_none_or(|newest| number > newest) => Ok(newer),
                None => Ok(default),
            };
            if last == Some(answer) {
                continue;
            }
            last = Some(answer);
            let label = match answer {
                Ok(answer) => self.to(asm, answer),
                Err(decision) => {
                    let label = asm.label();
                    chains.push((label, decision));
                    label
                }
            };
            runs.push((number, label));
        }
        if arch.audit == ARCH_X86_64 {
            runs.push((X32, self.to(asm, ERRNO | ENOSYS)));
        }
        let otherwise = self.to(asm, default);
        asm.load(NR);
        search(asm, &runs, otherwise);
        for (label, decision) in chains {
            asm.place(label);
            for (conditions, answer) in &decision.conditional {
                let next = asm.label();
                for condition in conditions {
                    let met = asm.label();
                    condition.test(asm, arch.wide, met, next);
                    asm.place(met);
                }
                let answer = self.to(asm, *answer);
                asm.goto(answer);
                asm.place(next);
            }
            asm.goto(otherwise);
        }
    }
}

impl Condition {
    /// Goes to one of two places. Of an architecture with 32 bits only the low word counts.
    fn test(&self, asm: &mut Assembler, wide: bool, yes: Label, no: Label) {
        let (low, high) = (ARG0 + 8 * self.index, ARG0 + 8 * self.index + 4);
        let (mask, value) = match self.compare {
            Compare::MaskedEqual => (self.value, self.two),
            _ => (u64::MAX, self.value),
        };
        let halves = |n: u64| ((n >> 32) as u32, n as u32);
        let ((mask_high, mask_low), (high_word, low_word)) = (halves(mask), halves(value));
        let (yes, no) = match self.compare {
            Compare::NotEqual | Compare::Less | Compare::LessOrEqual => (no, yes),
            _ => (yes, no),
        };
        let ordered = !matches!(
            self.compare,
            Compare::Equal | Compare::NotEqual | Compare::MaskedEqual
        );
        if wide {
            let (same, differs) = (asm.label(), asm.label());
            asm.load(high);
            asm.and(mask_high);
            asm.jump_eq(high_word, same, differs);
            asm.place(differs);
            match ordered {
                true => asm.jump_gt(high_word, yes, no),
                false => asm.goto(no),
            }
            asm.place(same);
        }
        asm.load(low);
        asm.and(mask_low);
        match self.compare {
            Compare::Equal | Compare::NotEqual | Compare::MaskedEqual => {
                asm.jump_eq(low_word, yes, no);
            }
            Compare::GreaterOrEqual | Compare::Less => asm.jump_ge(low_word, yes, no),
            Compare::Greater | Compare::LessOrEqual => asm.jump_gt(low_word, yes, no),
        }
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
