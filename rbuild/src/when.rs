//! Times as docker tells them.

use golang::duration::parse_duration;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::term::style;

/// Seconds since the epoch, now.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A configuration's time in seconds since the epoch; the oldest of all when it has none.
pub fn seconds(created: Option<&str>) -> i64 {
    parse(created).map_or(i64::MIN, Timestamp::as_second)
}

fn parse(created: Option<&str>) -> Option<Timestamp> {
    created.and_then(|text| text.parse().ok())
}

/// `3 minutes ago`; `N/A` without a time.
pub fn ago(created: Option<&str>, now: i64) -> String {
    match parse(created) {
        Some(time) => {
            let age = now.saturating_sub(time.as_second());
            format!("{} ago", style::duration(age))
        }
        None => "N/A".to_owned(),
    }
}

/// `2026-03-24 05:43:23 +0000 UTC`, in this machine's time zone; `N/A` without a time.
pub fn local(created: Option<&str>) -> String {
    match parse(created) {
        Some(time) => {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
        }
        None => "N/A".to_owned(),
    }
}

/// `2026-03-24 05:43:23.123456789 +0000 UTC`, as Go writes a time of so many nanoseconds since the
/// epoch.
pub fn go_time(nanoseconds: i64) -> String {
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        Err(_) => "N/A".to_owned(),
    }
}

/// `2026-03-24T05:43:23Z`, in this machine's time zone; `N/A` without a time.
pub fn rfc3339(created: Option<&str>) -> String {
    match parse(created) {
        Some(time) => {
            let zoned = time.to_zoned(TimeZone::system());
            let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
            text.replace("+00:00", "Z")
        }
        None => "N/A".to_owned(),
    }
}

/// A length of time as Go writes it, such as `24h` or `1h30m`, or with days before that, in
/// seconds.
///
/// # Errors
/// In words.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("invalid duration {text:?}: write it as in 24h or 1h30m");
    // Days first, which docker's users write and Go has no unit for.
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) => (days.parse::<u64>().map_err(|_| wrong())?, rest),
        None => (0, text),
    };
    let seconds = match rest {
        "" if rest.len() < text.len() => 0,
        rest => parse_duration(rest).map_err(|_| wrong())?.as_secs(),
    };
    days.checked_mul(86_400)
        .and_then(|whole| whole.checked_add(seconds))
        .ok_or_else(wrong)
}

/// The time that `until=` means: a length of time before now, or a date, or seconds since the
/// epoch.
///
/// # Errors
/// In words.
pub fn until(text: &str) -> Result<i64, String> {
    // With as many digits behind the point as there are nanoseconds.
    let seconds = match text.split_once('.') {
        Some((whole, part)) if part.bytes().all(|b| b.is_ascii_digit()) => whole,
        _ => text,
    };
    if let Ok(seconds) = seconds.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    if let Ok(time) = text.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = time.to_zoned(TimeZone::system())
    {
        return Ok(zoned.timestamp().as_second());
    }
    // What is before now by less than nothing is yet to come.
    let (length, to_come) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    match duration(length) {
        Ok(age) => {
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            Ok(match to_come {
                true => now().saturating_add(age),
                false => now().saturating_sub(age),
            })
        }
        Err(_) => Err(format!(
            "failed to parse value as time or duration: {text:?}; write a length of time as in \
             24h, or a date as in 2026-01-31 or 2026-01-31T12:00:00Z"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_docker_does() {
        let time = Some("2026-03-24T05:43:23.5Z");
        let at = seconds(time);
        assert_eq!(ago(time, at + 120), "2 minutes ago");
        assert_eq!(ago(None, at), "N/A");
        assert_eq!(ago(Some("nonsense"), at), "N/A");
        assert_eq!(local(None), "N/A");
        assert!(local(time).starts_with("2026-03-2"));
        assert!(rfc3339(time).starts_with("2026-03-2"));
    }

    #[test]
    fn lengths_of_time_are_gos() {
        for (text, seconds) in [
            ("24h", 86_400),
            ("1h30m", 5400),
            ("10s", 10),
            ("2d", 172_800),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in ["", "x", "-1h", "1 parsec"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(until("1000"), Ok(1000));
        assert_eq!(until("1000.000000001"), Ok(1000));
        assert_eq!(until("1970-01-01T00:01:00Z"), Ok(60));
        assert!(until("2026-01-31").is_ok());
        assert!(until("24h").unwrap() < now());
        assert!(until("-1h").unwrap() > now());
        assert!(until("soon").is_err());
    }
}
