//! The fields of a header block.

use super::sparse::{self, Segment};
use super::{BLOCK, until_nul};

type Result<T> = std::result::Result<T, &'static str>;

/// A header block with a right checksum.
pub(super) struct RawHeader([u8; BLOCK]);

impl RawHeader {
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self> {
        let told = number(&block[148..156])?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (i, &b) in block.iter().enumerate() {
            let b = if (148..156).contains(&i) { b' ' } else { b };
            unsigned += i64::from(b);
            signed += i64::from(b.cast_signed());
        }
        // Some old writers summed signed bytes.
        if told != unsigned && told != signed {
            return Err("the checksum of a header is wrong: this is no tar, or it is damaged");
        }
        Ok(Self(block))
    }

    pub(super) fn flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = until_nul(self.0[..100].to_vec());
        if &self.0[257..263] != b"ustar\0" {
            return name;
        }
        // Star keeps times in the second half of the prefix.
        let end = if &self.0[508..512] == b"tar\0" {
            476
        } else {
            500
        };
        let mut path = until_nul(self.0[345..end].to_vec());
        if path.is_empty() {
            return name;
        }
        path.push(b'/');
        path.extend_from_slice(&name);
        path
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(self.0[157..257].to_vec())
    }

    pub(super) fn mode(&self) -> Result<u32> {
        Ok((number(&self.0[100..108])? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32> {
        u32::try_from(number(&self.0[108..116])?).map_err(|_| "a user ID out of range")
    }

    pub(super) fn gid(&self) -> Result<u32> {
        u32::try_from(number(&self.0[116..124])?).map_err(|_| "a group ID out of range")
    }

    pub(super) fn size(&self) -> Result<u64> {
        size(&self.0[124..136])
    }

    pub(super) fn mtime(&self) -> Result<i64> {
        number(&self.0[136..148])
    }

    pub(super) fn device(&self) -> Result<(u32, u32)> {
        let part = |field| u32::try_from(number(field)?).map_err(|_| "a device out of range");
        Ok((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// Old GNU sparse files: the real size, the first four pieces, and whether more follow.
    pub(super) fn sparse(&self) -> Result<(u64, Vec<Segment>, bool)> {
        if &self.0[257..263] != b"ustar " {
            return Err("a sparse file without a GNU header");
        }
        let mut segments = Vec::new();
        sparse::table(&self.0[386..482], &mut segments)?;
        Ok((size(&self.0[483..495])?, segments, self.0[482] != 0))
    }
}

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
