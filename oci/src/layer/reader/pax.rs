//! PAX extended headers: records of `length keyword=value\n`.

use super::block::decimal;
use super::sparse::PaxSparse;

type Result<T> = std::result::Result<T, &'static str>;

/// What an extended header says that we heed.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

impl Pax {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (keyword, value, rest) = record(bytes)?;
            pax.take(keyword, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<()> {
        // An empty value means that the header's own field stands, but for attributes.
        if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if value.is_empty() {
            return Ok(());
        }
        match keyword {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => {
                self.size = Some(
                    decimal(value)
                        .filter(|&size| size <= i64::MAX as u64 - 512)
                        .ok_or("a size out of range")?,
                );
            }
            b"uid" => self.uid = Some(id(value).ok_or("a user ID out of range")?),
            b"gid" => self.gid = Some(id(value).ok_or("a group ID out of range")?),
            b"mtime" => self.mtime = Some(time(value).ok_or("a time that is not a number")?),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value)?),
            _ => {
                if let Some(rest) = keyword.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take(rest, value)?;
                }
            }
        }
        Ok(())
    }
}

/// Splits off the first record.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    const BAD: &str = "a malformed PAX record";
    let space = bytes.iter().take(20).position(|&b| b == b' ').ok_or(BAD)?;
    let len = decimal(&bytes[..space])
        .and_then(|len| usize::try_from(len).ok())
        .filter(|&len| len > space + 1 && len <= bytes.len())
        .ok_or(BAD)?;
    let body = bytes[space + 1..len].strip_suffix(b"\n").ok_or(BAD)?;
    let equals = body
        .iter()
        .position(|&b| b == b'=')
        .filter(|&at| at > 0)
        .ok_or(BAD)?;
    Ok((&body[..equals], &body[equals + 1..], &bytes[len..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        return Err("a name with a NUL in it");
    }
    Ok(value.to_vec())
}

fn id(text: &[u8]) -> Option<u32> {
    decimal(text)?.try_into().ok()
}

/// Seconds with a fraction, possibly negative; rounded down to nanoseconds.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0'));
    let nanos = digits
        .take(9)
        .fold(0u32, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines_and_equal_signs() {
        let pax = Pax::parse(b"27 SCHILY.xattr.user.a=\n=\x00\n11 path=ab\n").unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"\n=\0".to_vec())]);
        assert_eq!(pax.path.unwrap(), b"ab");
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b",
            b"60 a=b\n",
            b"3 \n",
            b"5 a\n\n",
            b"99999999999999999999 a=b\n",
            b"-6 a=b\n",
            b"9 path=\0\n",
            b"10 size=-1\n",
            b"11 uid=9x9\n",
        ] {
            assert!(Pax::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn times() {
        for (text, time) in [
            ("1", Some((1, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-1", Some((-1, 0))),
            (".5", None),
            ("1.x", None),
            ("", None),
        ] {
            assert_eq!(super::time(text.as_bytes()), time, "{text}");
        }
    }
}
