//! The default system call filter, equal in effect to the one Docker's engine applies.
//!
//! The filter is written as classic BPF here, not through a general compiler: one binary search
//! over ranges instead of a chain of comparisons keeps it near 400 instructions, which matters
//! because the kernel emulates the whole filter once per system call number when it is installed.
//! It also needs three different errno values and must be installed without `no_new_privs`.

mod bpf;
mod privileged;
mod profile;
mod table;

pub use bpf::Instruction;
use bpf::{Assembler, Label};
pub use profile::SeccompProfile;
use table::{ALLOWED, NONE};

/// `AUDIT_ARCH_X86_64`.
const ARCH_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
const ARCH_I386: u32 = 0x4000_0003;
/// `AUDIT_ARCH_AARCH64`.
const ARCH_AARCH64: u32 = 0xc000_00b7;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Namespace flags of clone(2) that need CAP_SYS_ADMIN (CLONE_NEW*, all seven of the low word).
const CLONE_NEW_MASK: u32 = 0x7e02_0000;
const AF_VSOCK: u32 = 40;
/// Values personality(2) may be given: PER_LINUX, UNAME26 (0x20000), PER_LINUX32 and the query.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Where the calls with conditions are, in one architecture.
struct Abi {
    audit_arch: u32,
    column: fn(&(&str, u16, u16, u16)) -> u16,
    clone: u32,
    clone3: u32,
    personality: u32,
    socket: u32,
}

const X86_64: Abi = Abi {
    audit_arch: ARCH_X86_64,
    column: |row| row.1,
    clone: 56,
    clone3: 435,
    personality: 135,
    socket: 41,
};
const I386: Abi = Abi {
    audit_arch: ARCH_I386,
    column: |row| row.2,
    clone: 120,
    clone3: 435,
    personality: 136,
    socket: 359,
};
const AARCH64: Abi = Abi {
    audit_arch: ARCH_AARCH64,
    column: |row| row.3,
    clone: 220,
    clone3: 435,
    personality: 92,
    socket: 198,
};

/// What is decided for one range of call numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Allow,
    Refuse,
    Unknown,
    Clone,
    Personality,
    Socket,
}

/// The filter for this machine and a process that holds `capabilities`, a bit mask: some calls are
/// let through for those that may do what they do.
pub fn filter(capabilities: u64) -> Vec<Instruction> {
    compile(native(), capabilities)
}

fn native() -> &'static [Abi] {
    if cfg!(target_arch = "x86_64") {
        const ABIS: &[Abi] = &[X86_64, I386];
        ABIS
    } else if cfg!(target_arch = "aarch64") {
        const ABIS: &[Abi] = &[AARCH64];
        ABIS
    } else {
        &[]
    }
}

/// Offsets into `struct seccomp_data`; the low word of argument 0 on little-endian machines.
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARG0: u32 = 16;

fn compile(abis: &[Abi], capabilities: u64) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    asm.load(ARCH);
    for abi in abis {
        let next = asm.label();
        let here = asm.label();
        asm.jump_eq(abi.audit_arch, here, next);
        asm.place(here);
        compile_abi(&mut asm, abi, capabilities);
        asm.place(next);
    }
    // Another instruction set than the ones above cannot be judged.
    asm.ret(KILL_PROCESS);
    asm.finish()
}

fn compile_abi(asm: &mut Assembler, abi: &Abi, capabilities: u64) {
    let ends = Ends {
        allow: asm.label(),
        refuse: asm.label(),
        unknown: asm.label(),
        clone: asm.label(),
        personality: asm.label(),
        socket: asm.label(),
    };
    asm.load(NR);
    let runs = ranges(abi, capabilities).into_iter();
    let runs: Vec<_> = runs
        .map(|(first, verdict)| (first, ends.of(verdict)))
        .collect();
    search(asm, &runs, ends.refuse);

    asm.place(ends.clone);
    asm.load(ARG0);
    asm.jump_set(CLONE_NEW_MASK, ends.refuse, ends.allow);
    asm.place(ends.socket);
    asm.load(ARG0);
    asm.jump_eq(AF_VSOCK, ends.refuse, ends.allow);
    asm.place(ends.personality);
    asm.load(ARG0);
    for value in PERSONALITIES {
        let more = asm.label();
        asm.jump_eq(value, ends.allow, more);
        asm.place(more);
    }
    asm.place(ends.refuse);
    asm.ret(ERRNO | EPERM);
    asm.place(ends.allow);
    asm.ret(ALLOW);
    // glibc falls back to clone(2), and to older calls for everything newer than the table,
    // only when it is told "no such call".
    asm.place(ends.unknown);
    asm.ret(ERRNO | ENOSYS);
}

struct Ends {
    allow: Label,
    refuse: Label,
    unknown: Label,
    clone: Label,
    personality: Label,
    socket: Label,
}

impl Ends {
    fn of(&self, verdict: Verdict) -> Label {
        match verdict {
            Verdict::Allow => self.allow,
            Verdict::Refuse => self.refuse,
            Verdict::Unknown => self.unknown,
            Verdict::Clone => self.clone,
            Verdict::Personality => self.personality,
            Verdict::Socket => self.socket,
        }
    }
}

/// The verdict for every call number, as the first number of each run of equal verdicts.
fn ranges(abi: &Abi, capabilities: u64) -> Vec<(u32, Verdict)> {
    let namespaces = capabilities & privileged::SYS_ADMIN != 0;
    let mut numbers: Vec<u32> = ALLOWED
        .iter()
        .chain(privileged::allowed(capabilities))
        .map(abi.column)
        .filter(|n| *n != NONE)
        .map(u32::from)
        .collect();
    numbers.sort_unstable();
    let newest = numbers.last().copied().unwrap_or(0);
    let mut runs: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=newest + 1 {
        let verdict = if namespaces && (number == abi.clone || number == abi.clone3) {
            Verdict::Allow
        } else if number == abi.clone {
            Verdict::Clone
        } else if number == abi.clone3 || number > newest {
            Verdict::Unknown
        } else if number == abi.personality {
            Verdict::Personality
        } else if number == abi.socket {
            Verdict::Socket
        } else if numbers.binary_search(&number).is_ok() {
            Verdict::Allow
        } else {
            Verdict::Refuse
        };
        if runs.last().is_none_or(|(_, last)| *last != verdict) {
            runs.push((number, verdict));
        }
    }
    runs
}

/// Goes where the range leads in which the number is, of ranges by their first numbers; `none` is
/// for no ranges at all.
fn search(asm: &mut Assembler, runs: &[(u32, Label)], none: Label) {
    match runs {
        [] => asm.goto(none),
        [(_, only)] => asm.goto(*only),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let (upper, lower) = (asm.label(), asm.label());
            asm.jump_ge(high[0].0, upper, lower);
            asm.place(lower);
            search(asm, low, none);
            asm.place(upper);
            search(asm, high, none);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(abis: &[Abi], arch: u32, nr: u32, arg0: u64) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&nr.to_le_bytes());
        data[4..8].copy_from_slice(&arch.to_le_bytes());
        data[16..24].copy_from_slice(&arg0.to_le_bytes());
        bpf::interpret(&compile(abis, 0), &data)
    }

    #[test]
    fn every_listed_call_is_allowed_and_every_other_is_not() {
        for abi in [X86_64, I386, AARCH64] {
            let listed: Vec<u32> = ALLOWED
                .iter()
                .map(abi.column)
                .filter(|n| *n != NONE)
                .map(u32::from)
                .collect();
            let special = [abi.clone, abi.clone3, abi.personality, abi.socket];
            let newest = *listed.iter().max().unwrap();
            let arch = abi.audit_arch;
            let abis = [abi];
            for nr in 0..600 {
                if special.contains(&nr) {
                    continue;
                }
                let want = if listed.contains(&nr) {
                    ALLOW
                } else if nr > newest {
                    ERRNO | ENOSYS
                } else {
                    ERRNO | EPERM
                };
                assert_eq!(verdict(&abis, arch, nr, 0), want, "arch {arch:x} call {nr}");
            }
        }
    }

    #[test]
    fn conditions_look_at_the_first_argument() {
        let abis = [X86_64, I386];
        let v = |nr, arg0| verdict(&abis, ARCH_X86_64, nr, arg0);
        assert_eq!(v(56, 0x11), ALLOW);
        assert_eq!(v(56, 0x1000_0000), ERRNO | EPERM, "CLONE_NEWUSER");
        assert_eq!(v(56, 0x0002_0000), ERRNO | EPERM, "CLONE_NEWNS");
        assert_eq!(v(435, 0), ERRNO | ENOSYS);
        assert_eq!(v(41, 2), ALLOW);
        assert_eq!(v(41, 40), ERRNO | EPERM);
        assert_eq!(v(135, 0xffff_ffff), ALLOW);
        assert_eq!(v(135, 0x0004_0000), ERRNO | EPERM, "ADDR_NO_RANDOMIZE");
        assert_eq!(verdict(&abis, ARCH_I386, 120, 0x1000_0000), ERRNO | EPERM);
    }

    #[test]
    fn x32_numbers_and_foreign_architectures_are_refused() {
        let abis = [X86_64, I386];
        assert_eq!(verdict(&abis, ARCH_X86_64, 0x4000_0000, 0), ERRNO | ENOSYS);
        assert_eq!(verdict(&abis, ARCH_AARCH64, 64, 0), KILL_PROCESS);
    }

    #[test]
    fn dangerous_calls_are_refused() {
        let abis = [X86_64];
        // mount, umount2, unshare, setns, keyctl, add_key, bpf, kexec_load, init_module,
        // open_by_handle_at, perf_event_open, io_uring_setup, userfaultfd, move_mount, fsopen.
        for nr in [
            165, 166, 272, 308, 250, 248, 321, 246, 175, 304, 298, 425, 323, 429, 430,
        ] {
            assert_eq!(
                verdict(&abis, ARCH_X86_64, nr, 0),
                ERRNO | EPERM,
                "call {nr}"
            );
        }
    }

    #[test]
    fn capabilities_let_calls_through() {
        let filtered = |capabilities, nr: u32| {
            let mut data = [0u8; 64];
            data[0..4].copy_from_slice(&nr.to_le_bytes());
            data[4..8].copy_from_slice(&ARCH_X86_64.to_le_bytes());
            data[16..24].copy_from_slice(&0x1000_0000u64.to_le_bytes());
            bpf::interpret(&compile(&[X86_64], capabilities), &data)
        };
        // mount, unshare, clone with CLONE_NEWUSER: CAP_SYS_ADMIN is number 21.
        for nr in [165, 272, 56] {
            assert_eq!(filtered(1 << 21, nr), ALLOW, "call {nr}");
            assert_eq!(filtered(1 << 19, nr), ERRNO | EPERM, "call {nr}");
        }
        // clock_settime with CAP_SYS_TIME, keyctl with nothing.
        assert_eq!(filtered(1 << 25, 227), ALLOW);
        assert_eq!(filtered(u64::MAX, 250), ERRNO | EPERM);
    }

    #[test]
    fn filter_fits_the_kernel_limit() {
        assert!(compile(&[X86_64, I386], u64::MAX).len() < 4096);
    }
}
