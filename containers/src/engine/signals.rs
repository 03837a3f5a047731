//! Names of signals.

use crate::error::{Error, Result};

/// Signals by name, without `SIG`.
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// The number of a signal: a name with or without `SIG`, in any case, `RTMIN+N`, `RTMAX-N`, or a
/// number.
///
/// # Errors
/// In docker's words.
pub fn number(text: &str) -> Result<i32> {
    let invalid = || Error::Invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            1..=64 => Ok(number),
            0 => Err(invalid()),
            _ => Err(Error::Invalid(format!(
                "the linux daemon does not support signal {number}"
            ))),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| rest.parse::<i32>().ok().filter(|n| (0..=30).contains(n));
    let named = |name: &str| NAMES.iter().find(|(known, _)| *known == name);
    let found = if let Some(rest) = name.strip_prefix("RTMIN+") {
        offset(rest).map(|n| 34 + n)
    } else if let Some(rest) = name.strip_prefix("RTMAX-") {
        offset(rest).map(|n| 64 - n)
    } else {
        named(name).map(|(_, number)| *number)
    };
    found.ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, found) in [
            ("TERM", 15),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("9", 9),
        ] {
            assert_eq!(number(text).unwrap(), found, "{text}");
        }
        for text in ["65", "-1"] {
            let error = number(text).unwrap_err().to_string();
            let want = format!("the linux daemon does not support signal {text}");
            assert_eq!(error, want);
        }
        for text in ["", "0", "SIG", "NOPE", "RTMIN+99"] {
            let error = number(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid signal: {text}"));
        }
    }
}
