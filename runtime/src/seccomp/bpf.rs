//! A tiny assembler for classic BPF, with labels.
//!
//! Conditional jumps of classic BPF reach 255 instructions; each is followed by two unconditional
//! ones (32-bit reach) unless its target is the next instruction, so no program can be too long.

use serde::{Deserialize, Serialize};

/// One classic BPF instruction (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LD_W_ABS: u16 = 0x20;
const JMP_JA: u16 = 0x05;
const JMP_JEQ_K: u16 = 0x15;
const JMP_JGE_K: u16 = 0x35;
const JMP_JSET_K: u16 = 0x45;
const JMP_JGT_K: u16 = 0x25;
const ALU_AND_K: u16 = 0x54;
const RET_K: u16 = 0x06;

/// A place in the program that jumps refer to before it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// Collects instructions and resolves labels.
#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    places: Vec<Option<usize>>,
    /// Unconditional jumps to patch: instruction index, label.
    patches: Vec<(usize, Label)>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    pub(super) fn place(&mut self, label: Label) {
        self.places[label.0] = Some(self.code.len());
    }

    pub(super) fn load(&mut self, offset: u32) {
        self.push(LD_W_ABS, 0, 0, offset);
    }

    pub(super) fn ret(&mut self, value: u32) {
        self.push(RET_K, 0, 0, value);
    }

    pub(super) fn goto(&mut self, label: Label) {
        self.patches.push((self.code.len(), label));
        self.push(JMP_JA, 0, 0, 0);
    }

    pub(super) fn jump_eq(&mut self, k: u32, yes: Label, no: Label) {
        self.branch(JMP_JEQ_K, k, yes, no);
    }

    pub(super) fn jump_ge(&mut self, k: u32, yes: Label, no: Label) {
        self.branch(JMP_JGE_K, k, yes, no);
    }

    pub(super) fn jump_gt(&mut self, k: u32, yes: Label, no: Label) {
        self.branch(JMP_JGT_K, k, yes, no);
    }

    /// Keeps only these bits of what was loaded.
    pub(super) fn and(&mut self, mask: u32) {
        if mask != u32::MAX {
            self.push(ALU_AND_K, 0, 0, mask);
        }
    }

    pub(super) fn jump_set(&mut self, k: u32, yes: Label, no: Label) {
        self.branch(JMP_JSET_K, k, yes, no);
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) {
        self.push(code, 0, 1, k);
        self.goto(yes);
        self.goto(no);
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.code.push(Instruction { code, jt, jf, k });
    }

    /// The program with every jump resolved.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in &self.patches {
            // All jumps go forward: a label is placed after every use of it.
            let target = self.places[label.0].unwrap_or(self.code.len());
            self.code[*at].k = (target - at - 1) as u32;
        }
        self.code
    }
}

/// Runs a program over `struct seccomp_data`, as the kernel would.
#[cfg(test)]
pub(super) fn interpret(program: &[Instruction], data: &[u8; 64]) -> u32 {
    let (mut pc, mut a) = (0usize, 0u32);
    loop {
        let i = program[pc];
        pc += 1;
        let mut branch = |yes: bool| pc += usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            LD_W_ABS => {
                let at = i.k as usize;
                a = u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
            }
            JMP_JA => pc += i.k as usize,
            JMP_JEQ_K => branch(a == i.k),
            JMP_JGE_K => branch(a >= i.k),
            JMP_JGT_K => branch(a > i.k),
            ALU_AND_K => a &= i.k,
            JMP_JSET_K => branch(a & i.k != 0),
            RET_K => return i.k,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}
