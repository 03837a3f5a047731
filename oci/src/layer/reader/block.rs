//! Blocks, and the numbers that are written in them.

type Result<T> = std::result::Result<T, &'static str>;

/// The largest extended header or long name, in bytes.
pub const MAX_EXTENSION: u64 = 1 << 20;

/// A tar is made of blocks of this many bytes.
pub(super) const BLOCK: usize = 512;

/// A size field, bounded.
pub(super) fn size(field: &[u8]) -> Result<u64> {
    // Bounded so that adding padding cannot overflow.
    u64::try_from(number(field)?)
        .ok()
        .filter(|&size| size <= i64::MAX as u64 - BLOCK as u64)
        .ok_or("a size out of range")
}

/// Octal digits between blanks, or GNU's base 256 when the top bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64> {
    const RANGE: &str = "a number out of range";
    match field.first() {
        Some(&first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let start = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
            let mut value = start;
            for &b in &field[1..] {
                value = value.checked_mul(256).ok_or(RANGE)? + i128::from(b);
            }
            i64::try_from(value).map_err(|_| RANGE)
        }
        _ => {
            let blank = |b: &u8| matches!(b, b' ' | 0);
            let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
            let digits = &field[start..];
            let end = digits.iter().position(blank).unwrap_or(digits.len());
            let mut value = 0i64;
            for &b in &digits[..end] {
                if !(b'0'..=b'7').contains(&b) {
                    return Err("a numeric field that is not a number");
                }
                value = value.checked_mul(8).ok_or(RANGE)? + i64::from(b - b'0');
            }
            Ok(value)
        }
    }
}

/// Decimal digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The bytes before the first NUL.
pub(super) fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&b| b == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_writing() {
        for (field, value) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"   644 \0", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"77777777", Ok(0o77_777_777)),
            (b"\x80\0\0\0\x01\0\0\0\0\0\0\0", Ok(1 << 56)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Ok(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (
                b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
                Err("a number out of range"),
            ),
            (b"12x4567\0", Err("a numeric field that is not a number")),
            (b"-1     \0", Err("a numeric field that is not a number")),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
