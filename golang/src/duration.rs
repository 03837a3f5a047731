//! Durations as Go writes them.

use std::time::Duration;

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a duration.
    #[error("invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that there is not.
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Below zero.
    #[error("negative duration {0:?}")]
    Negative(String),
}

/// Reads a duration such as `1m30s`, `1.5h` or `300ms` (Go's `time.ParseDuration`). A plain `0`
/// needs no unit. Negative durations, which Go reads, are an error of their own.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanoseconds: u128 = match unit {
            "" => return Err(DurationError::MissingUnit(text.to_owned())),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            unit => {
                let (unit, text) = (unit.to_owned(), text.to_owned());
                return Err(DurationError::UnknownUnit { unit, text });
            }
        };
        let whole: u128 = match whole {
            "" => 0,
            digits => digits.parse::<u64>().map_err(|_| invalid())?.into(),
        };
        // More digits than these are below a nanosecond, whatever the unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let part = match fraction {
            "" => 0,
            digits => {
                let value: u128 = digits.parse::<u64>().map_err(|_| invalid())?.into();
                value * nanoseconds / 10u128.pow(digits.len() as u32)
            }
        };
        total += whole * nanoseconds + part;
        // Go counts in a signed 64-bit number of nanoseconds.
        if total > i64::MAX as u128 {
            return Err(invalid());
        }
        rest = after;
    }
    if negative && total > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(Duration::from_nanos(total as u64))
}

/// A duration as Go prints it: `1h5m0s`, `1.5s`, `300ms`, `0s`.
pub fn write_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        if rest == 0 {
            return format!("{whole}{name}");
        }
        let digits = unit.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        format!("{whole}.{}{name}", fraction.trim_end_matches('0'))
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let rest = duration - Duration::from_secs(minutes * 60);
            let seconds = if rest.subsec_nanos() == 0 {
                format!("{}s", rest.as_secs())
            } else {
                let fraction = format!("{:09}", rest.subsec_nanos());
                format!("{}.{}s", rest.as_secs(), fraction.trim_end_matches('0'))
            };
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations() {
        for (milliseconds, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1500, "1.5s"),
            (60_000, "1m0s"),
            (3_661_001, "1h1m1.001s"),
        ] {
            assert_eq!(write_duration(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(write_duration(Duration::from_nanos(1_500)), "1.5µs");
        assert_eq!(write_duration(Duration::from_nanos(7)), "7ns");
    }

    #[test]
    fn reads_durations() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("300ms", 300_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("10us", 10_000),
            ("3µs", 3_000),
            ("7ns", 7),
            ("+2s", 2_000_000_000),
            ("0.000000001s", 1),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_others() {
        for text in [
            "",
            "s",
            ".s",
            "1",
            "1x",
            "-1s",
            "1s2",
            "1.2.3s",
            "99999999999999h",
            "é",
            "1é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("30").unwrap_err().to_string(),
            "missing unit in duration \"30\""
        );
        assert_eq!(
            parse_duration("3d").unwrap_err().to_string(),
            "unknown unit \"d\" in duration \"3d\""
        );
    }
}
