//! Programs of other processors: what the kernel runs through an interpreter (binfmt_misc).

use std::fs;
use std::io;
use std::path::Path;

const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Why programs of an architecture cannot run in containers here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// Nothing is registered for them.
    #[error(
        "this machine cannot run programs for {0}, and no interpreter is registered for them in \
         {REGISTERED}: install qemu-user-static (and binfmt-support where it is a package of its \
         own)"
    )]
    NoInterpreter(String),
    /// The interpreter is opened by its path, which means another file in a container.
    #[error(
        "programs for {architecture} are run by {interpreter}, which containers do not have: \
         register it with the flag F, as qemu-user-static does"
    )]
    NotFixed {
        /// The architecture.
        architecture: String,
        /// What is registered.
        interpreter: String,
    },
}

/// Go's words for architectures, with what their programs begin with: the class of ELF, the order
/// of bytes, the machine.
const MACHINES: [(&str, u8, u8, u16); 13] = [
    ("386", 1, 1, 3),
    ("amd64", 2, 1, 62),
    ("arm", 1, 1, 40),
    ("arm64", 2, 1, 183),
    ("loong64", 2, 1, 258),
    ("mips", 1, 2, 8),
    ("mipsle", 1, 1, 8),
    ("mips64", 2, 2, 8),
    ("mips64le", 2, 1, 8),
    ("ppc64", 2, 2, 21),
    ("ppc64le", 2, 1, 21),
    ("riscv64", 2, 1, 243),
    ("s390x", 2, 2, 22),
];

/// Whether programs of an architecture, in Go's words, can run in containers on this machine.
///
/// # Errors
/// [`ForeignError`], which says what to install.
pub fn check(host: &str, architecture: &str) -> Result<(), ForeignError> {
    // What processors run that have more bits.
    let native = [("amd64", "386"), ("arm64", "arm")];
    if host == architecture || native.contains(&(host, architecture)) {
        return Ok(());
    }
    let none = || ForeignError::NoInterpreter(architecture.to_owned());
    let Some(program) = beginning(architecture) else {
        return Err(none());
    };
    let found = registered(Path::new(REGISTERED)).unwrap_or_default();
    let mut fitting = found.iter().filter(|entry| entry.takes(&program));
    match fitting.next() {
        Some(entry) if entry.fixed => Ok(()),
        Some(entry) => Err(ForeignError::NotFixed {
            architecture: architecture.to_owned(),
            interpreter: entry.interpreter.clone(),
        }),
        None => Err(none()),
    }
}

/// The first bytes of an architecture's programs.
fn beginning(architecture: &str) -> Option<Vec<u8>> {
    let mut machines = MACHINES.iter();
    let (_, class, order, machine) = machines.find(|(name, ..)| *name == architecture)?;
    let word = |n: u16| match order {
        1 => n.to_le_bytes(),
        _ => n.to_be_bytes(),
    };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', *class, *order, 1];
    bytes.resize(16, 0);
    // ET_EXEC
    bytes.extend(word(2));
    bytes.extend(word(*machine));
    Some(bytes)
}

/// A registered format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Format {
    enabled: bool,
    interpreter: String,
    /// The interpreter was opened when it was registered (the flag F).
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Format {
    /// Reads a file of the kernel's.
    fn parse(text: &str) -> Self {
        let mut format = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("enabled", _) => format.enabled = true,
                ("interpreter", path) => path.clone_into(&mut format.interpreter),
                ("flags:", flags) => format.fixed = flags.contains('F'),
                ("offset", n) => format.offset = n.trim().parse().unwrap_or(0),
                ("magic", hex) => format.magic = bytes(hex),
                ("mask", hex) => format.mask = bytes(hex),
                _ => {}
            }
        }
        format
    }

    fn takes(&self, program: &[u8]) -> bool {
        let mask = self.mask.iter().copied().chain(std::iter::repeat(0xff));
        let wanted = self.magic.iter().zip(mask);
        let here = program.iter().skip(self.offset).copied();
        // What a magic asks for beyond the machine says nothing of the architecture.
        let mut pairs = wanted.zip(here);
        self.enabled
            && !self.magic.is_empty()
            && self.offset + self.magic.len() >= program.len()
            && pairs.all(|((magic, mask), byte)| byte & mask == magic & mask)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.trim().bytes().collect();
    let pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.filter_map(byte).collect()
}

fn registered(dir: &Path) -> io::Result<Vec<Format>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Ok(text) = fs::read_to_string(&path) {
            found.push(Format::parse(&text));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n\
        flags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\n\
        mask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn formats_take_the_programs_of_their_architecture() {
        let format = Format::parse(ARM64);
        assert!(format.fixed);
        for (architecture, taken) in [("arm64", true), ("arm", false), ("riscv64", false)] {
            let program = beginning(architecture).unwrap();
            assert_eq!(format.takes(&program), taken, "{architecture}");
        }
        let disabled = Format::parse(&ARM64.replace("enabled", "disabled"));
        assert!(!disabled.takes(&beginning("arm64").unwrap()));
        let loose = Format::parse(&ARM64.replace("POCF", "POC"));
        assert!(!loose.fixed);
        assert!(!Format::parse("enabled\n").takes(&beginning("arm64").unwrap()));
    }

    #[test]
    fn machines_run_their_own_and_their_smaller_kin() {
        for (host, architecture) in [("amd64", "amd64"), ("amd64", "386"), ("arm64", "arm")] {
            assert_eq!(check(host, architecture), Ok(()), "{host} {architecture}");
        }
        let unknown = check("amd64", "pdp11").unwrap_err();
        assert!(
            unknown.to_string().contains("qemu-user-static"),
            "{unknown}"
        );
    }
}
