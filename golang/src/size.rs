//! Sizes with a unit.

/// Bytes of a size such as `64m`, `1.5GiB` or `1024`; units are powers of 1024, as docker reads
/// memory sizes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let (whole, fraction) = number.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Why a text is no size, in the words of docker's client.
pub fn not_a_size(text: &str) -> String {
    let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        return format!("invalid size: '{text}'");
    };
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    match number.parse::<f64>() {
        Err(_) => format!(
            "strconv.ParseFloat: parsing {}: invalid syntax",
            crate::quote::go_quote(number)
        ),
        Ok(number) if number < 0.0 || suffix.is_empty() => format!("invalid size: '{text}'"),
        Ok(_) => format!("invalid suffix: '{}'", suffix.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words are those of docker 28's client.
    #[test]
    fn what_is_no_size_is_told_as_docker_does() {
        for (text, why) in [
            ("", "invalid size: ''"),
            ("x", "invalid size: 'x'"),
            ("4x", "invalid suffix: 'x'"),
            (
                "4mib4",
                "strconv.ParseFloat: parsing \"4mib4\": invalid syntax",
            ),
            ("-1", "invalid size: '-1'"),
            ("-5m", "invalid size: '-5m'"),
        ] {
            assert_eq!(parse_size(text), None, "{text}");
            assert_eq!(not_a_size(text), why, "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("1 kb", Some(1024)),
            ("2B", Some(2)),
            ("", None),
            (".", None),
            ("1x", None),
            ("-1", None),
            ("1ib", None),
            ("99999999999p", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
