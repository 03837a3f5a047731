//! Signals of STOPSIGNAL.

const NAMES: [(&str, u8); 36] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// The number of a signal given by number (not 0) or name (`SIGTERM`, `term`, `RTMIN+3`), as
/// docker reads it on Linux.
fn signal_number(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(own, _)| *own == name) {
        return Some(*number);
    }
    let offset = |digits: &str, most: u8| {
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        digits
            .parse::<u8>()
            .ok()
            .filter(|n| plain && (1..=most).contains(n))
    };
    if let Some(digits) = name.strip_prefix("RTMIN+") {
        return offset(digits, 15).map(|n| 34 + n);
    }
    name.strip_prefix("RTMAX-")
        .and_then(|digits| offset(digits, 14))
        .map(|n| 64 - n)
}

/// Whether STOPSIGNAL accepts `text` (after expansion): a known name, or, as docker has it, any
/// number but 0.
pub fn is_stop_signal(text: &str) -> bool {
    match text.parse::<i32>() {
        Ok(number) => number != 0,
        Err(_) => signal_number(text).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-14", Some(50)),
            ("RTMAX-15", None),
            ("0", None),
            ("65", None),
            ("-1", None),
            ("SIGFOO", None),
            ("", None),
            ("RTMIN+", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
        assert!(is_stop_signal("SIGQUIT") && is_stop_signal("99"));
        assert!(!is_stop_signal("0") && !is_stop_signal("SIGNOPE"));
    }
}
