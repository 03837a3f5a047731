//! Sizes in bytes, as people write and read them.

/// Units of 1024, and of 1000 as disks are sold.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads `512`, `64KiB`, `10GiB`, `2 TB`.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
    // Not "+5", which parsing a number would take.
    let number = number.trim_end();
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size for people: the largest unit of 1024 that leaves a whole part, with one decimal.
pub fn show_size(bytes: u64) -> String {
    let unit = UNITS[..4].iter().rev().find(|(_, unit)| bytes >= *unit);
    match unit {
        None => format!("{bytes} B"),
        Some((name, unit)) => {
            let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
            format!("{whole}.{tenths} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 64 << 10),
            ("10GiB", 10 << 30),
            ("10 GiB", 10 << 30),
            ("5MB", 5_000_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "GiB",
            "-1",
            "+1",
            "1.5GiB",
            "1g",
            "99999999999TiB",
            "1 0",
        ] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_their_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 30, "10.0 GiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
