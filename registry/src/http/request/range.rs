//! `Range` on downloads (RFC 9110, section 14) and `Content-Range` on uploads.

use crate::storage::ChunkRange;

/// Parts of one answer; more are an attack rather than a download.
const MAX_RANGES: usize = 64;

/// A part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Part {
    /// The first byte.
    pub(in crate::http) start: u64,
    /// How many bytes, at least one.
    pub(in crate::http) len: u64,
}

/// What of a blob is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Wanted {
    /// All of it.
    Whole,
    /// These parts, in this order; at least one.
    Parts(Vec<Part>),
    /// Nothing that is there, or nothing that can be understood.
    Unsatisfiable,
}

/// Reads `Range` against a blob of `size` bytes.
///
/// Units other than bytes are ignored, as the RFC says. Ranges that together are longer than the
/// blob are answered with the blob: nobody gains from sending bytes twice.
pub(in crate::http) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((unit, ranges)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    for range in ranges.split(',') {
        let range = range.trim();
        if range.is_empty() {
            continue;
        }
        match part(range, size) {
            Err(()) => return Wanted::Unsatisfiable,
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
        }
        if parts.len() > MAX_RANGES {
            return Wanted::Unsatisfiable;
        }
    }
    if parts.is_empty() {
        return Wanted::Unsatisfiable;
    }
    if parts.len() > 1 && parts.iter().map(|p| p.len).fold(0, u64::saturating_add) > size {
        return Wanted::Whole;
    }
    Wanted::Parts(parts)
}

/// One range; `None` when it lies outside of the blob.
fn part(range: &str, size: u64) -> Result<Option<Part>, ()> {
    let (first, last) = range.split_once('-').ok_or(())?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        // The last so many bytes.
        let len = number(last)?.min(size);
        let start = size - len;
        return Ok((len > 0).then_some(Part { start, len }));
    }
    let start = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if end < start {
        return Err(());
    }
    if start >= size {
        return Ok(None);
    }
    let end = end.min(size - 1);
    Ok(Some(Part {
        start,
        len: end - start + 1,
    }))
}

/// Digits only; what does not fit is past every end.
fn number(text: &str) -> Result<u64, ()> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

/// Reads the `Content-Range` of a chunk, `first-last`; `None` when it is malformed.
pub(in crate::http) fn chunk(header: &str) -> Option<ChunkRange> {
    let (start, end) = header.trim().split_once('-')?;
    let (start, end) = (number(start).ok()?, number(end).ok()?);
    (start <= end && end < u64::MAX).then_some(ChunkRange { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let parts = |list: &[(u64, u64)]| {
            Wanted::Parts(
                list.iter()
                    .map(|&(start, len)| Part { start, len })
                    .collect(),
            )
        };
        for (header, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-9", parts(&[(0, 10)])),
            ("bytes=0-99", parts(&[(0, 10)])),
            ("Bytes=0-9", parts(&[(0, 10)])),
            ("bytes=5-", parts(&[(5, 5)])),
            ("bytes=-3", parts(&[(7, 3)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("bytes=0-1,4-5", parts(&[(0, 2), (4, 2)])),
            ("bytes=0-1, 20-30, -1", parts(&[(0, 2), (9, 1)])),
            ("bytes=0-9,0-9", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Unsatisfiable),
            ("bytes=x-y", Wanted::Unsatisfiable),
            ("bytes=", Wanted::Unsatisfiable),
            ("bytes=--1", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-0", 0), Wanted::Unsatisfiable);
        let many = format!("bytes={}", "0-0,".repeat(1000));
        assert_eq!(wanted(&many, 10_000), Wanted::Unsatisfiable);
    }

    #[test]
    fn chunk_ranges_are_two_numbers() {
        assert_eq!(chunk("0-9"), Some(ChunkRange { start: 0, end: 9 }));
        for bad in [
            "",
            "0",
            "0-",
            "-9",
            "9-0",
            "a-b",
            "0-18446744073709551615",
            "bytes 0-9/10",
        ] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_part_leaves_the_blob(header in "bytes=[0-9,-]{0,24}", size in 0u64..50) {
            if let Wanted::Parts(parts) = wanted(&header, size) {
                prop_assert!(!parts.is_empty());
                for part in parts {
                    prop_assert!(part.len > 0 && part.start + part.len <= size);
                }
            }
        }
    }
}
