//! Modes of `--chmod`: octal and symbolic.

/// A change of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chmod(Change);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    /// Bits of u, g and o that are concerned, in octal positions (0o700, 0o070, 0o007).
    who: u32,
    actions: Vec<(Operator, Permission)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Permission {
    /// rwx as one octal digit.
    bits: u32,
    /// `X`: execute, for directories and files that someone may execute already.
    execute_if: bool,
    /// `s`.
    set_id: bool,
    /// `t`.
    sticky: bool,
    /// Copy of another class's bits: 6 for u, 3 for g, 0 for o (the shift).
    copy: Option<u32>,
}

/// Why a mode was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChmodError {
    /// Looks like a number and is none, or is too large.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Octal(String),
    /// Not a symbolic mode either.
    #[error("invalid chmod parameter: '{0}': {1}")]
    Symbolic(String, &'static str),
}

impl Chmod {
    /// Reads an octal mode (`0755`) or a symbolic one (`u=rwX,go=rX`, `a+x`), expanded.
    pub fn parse(text: &str) -> Result<Self, ChmodError> {
        if text.is_empty() || text.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
            let octal = text.bytes().all(|b| b.is_ascii_digit());
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if octal && mode <= 0o7777 => Ok(Self(Change::Octal(mode))),
                _ => Err(ChmodError::Octal(text.to_owned())),
            };
        }
        let clauses: Result<Vec<Clause>, &'static str> = text.split(',').map(clause).collect();
        match clauses {
            Ok(clauses) => Ok(Self(Change::Symbolic(clauses))),
            Err(reason) => Err(ChmodError::Symbolic(text.to_owned(), reason)),
        }
    }

    /// The octal mode, if it is one.
    pub fn octal(&self) -> Option<u32> {
        match self.0 {
            Change::Octal(mode) => Some(mode),
            Change::Symbolic(_) => None,
        }
    }

    /// The mode, when it is one that does not depend on what a file has.
    pub fn absolute(&self) -> Option<u32> {
        match &self.0 {
            Change::Octal(mode) => Some(*mode),
            Change::Symbolic(_) => None,
        }
    }

    /// The permission bits (0o7777) that a file with `mode` gets.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let clauses = match &self.0 {
            Change::Octal(mode) => return *mode,
            Change::Symbolic(clauses) => clauses,
        };
        let mut mode = mode & 0o7777;
        for clause in clauses {
            for (operator, permission) in &clause.actions {
                mode = permission.apply(*operator, clause.who, mode, is_dir);
            }
        }
        mode
    }
}

impl Permission {
    fn apply(self, operator: Operator, who: u32, mode: u32, is_dir: bool) -> u32 {
        let mut digit = self.bits;
        if let Some(shift) = self.copy {
            digit = (mode >> shift) & 0o7;
        }
        if self.execute_if && (is_dir || mode & 0o111 != 0) {
            digit |= 0o1;
        }
        let mut bits = (digit * 0o111) & who;
        if self.set_id {
            bits |= if who & 0o700 != 0 { 0o4000 } else { 0 };
            bits |= if who & 0o070 != 0 { 0o2000 } else { 0 };
        }
        // BuildKit heeds `t` unless it is asked for others alone.
        if self.sticky && who != 0o007 {
            bits |= 0o1000;
        }
        match operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            // What is copied is rwx alone, so that set-id and sticky bits stay, as with BuildKit.
            Operator::Set if self.copy.is_some() => (mode & !who) | bits,
            // As with BuildKit, and other than chmod(1) has it: the sticky bit is nobody's, and a
            // directory's set-id bits go like a file's.
            Operator::Set => {
                let mut concerned = who;
                concerned |= if who & 0o700 != 0 { 0o4000 } else { 0 };
                concerned |= if who & 0o070 != 0 { 0o2000 } else { 0 };
                (mode & !concerned) | bits
            }
        }
    }
}

fn clause(text: &str) -> Result<Clause, &'static str> {
    let end = text
        .find(|c| !matches!(c, 'u' | 'g' | 'o' | 'a'))
        .unwrap_or(text.len());
    let (classes, mut rest) = text.split_at(end);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            _ => 0o777,
        };
    }
    if who == 0 {
        who = 0o777;
    }
    let mut actions = Vec::new();
    while let Some(first) = rest.chars().next() {
        let operator = match first {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Set,
            _ => return Err("an operator (+, - or =) is missing"),
        };
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        actions.push((operator, permission(&rest[..end])?));
        rest = &rest[end..];
    }
    if actions.is_empty() {
        return Err("an operator (+, - or =) is missing");
    }
    Ok(Clause { who, actions })
}

fn permission(text: &str) -> Result<Permission, &'static str> {
    let mut permission = Permission::default();
    if let "u" | "g" | "o" = text {
        permission.copy = Some(match text {
            "u" => 6,
            "g" => 3,
            _ => 0,
        });
        return Ok(permission);
    }
    for c in text.chars() {
        match c {
            'r' => permission.bits |= 0o4,
            'w' => permission.bits |= 0o2,
            'x' => permission.bits |= 0o1,
            'X' => permission.execute_if = true,
            's' => permission.set_id = true,
            't' => permission.sticky = true,
            _ => return Err("the permissions are r, w, x, X, s and t"),
        }
    }
    Ok(permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_modes() {
        for (text, mode, is_dir, expected) in [
            ("0755", 0o600, false, 0o755),
            ("7", 0o600, false, 0o007),
            ("4755", 0, false, 0o4755),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("g=u", 0o640, false, 0o660),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("+t", 0o777, true, 0o1777),
            ("a=", 0o777, false, 0),
            // As BuildKit has them in docker 28.
            ("o+t", 0o654, false, 0o654),
            ("u+t", 0o654, false, 0o1654),
            ("o=rt", 0o640, false, 0o644),
            ("a=", 0o1777, true, 0o1000),
            ("a=rwxs", 0o1777, false, 0o7777),
            ("a=t", 0o7777, true, 0o1000),
            ("go=", 0o6775, true, 0o4700),
            ("g=rx", 0o2775, true, 0o755),
            ("u=rwx", 0o7777, true, 0o3777),
            ("a=u", 0o4421, false, 0o4444),
            ("u=u", 0o4421, false, 0o4421),
            ("o+s", 0o755, false, 0o755),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            assert_eq!(
                Chmod::parse(text).unwrap().apply(mode, is_dir),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_others() {
        for text in [
            "", "8", "0o755", "77777", "u", "u*x", "z+x", "u+q", "é+x", "u+x,", "0755x",
        ] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
