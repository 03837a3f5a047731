//! Sparse files: GNU tar's old format, and its PAX formats 0.0, 0.1 and 1.0.

use super::block::{BLOCK, MAX_EXTENSION, decimal, size};

type Result<T> = std::result::Result<T, &'static str>;

/// How many pieces a sparse file may have.
pub(super) const MAX_SEGMENTS: usize = 1 << 16;

/// A piece of content in a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it goes, in bytes from the file's start.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// Checks that pieces come in order, lie within the file, and are all the content there is.
pub(super) fn validate(segments: &[Segment], size: u64, content: u64) -> Result<()> {
    let (mut end, mut sum) = (0u64, 0u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.len);
        match next {
            Some(next) if segment.offset >= end && next <= size => end = next,
            _ => return Err("a sparse file whose pieces overlap or lie outside it"),
        }
        sum += segment.len;
    }
    if sum != content {
        return Err("a sparse file whose pieces are not its content");
    }
    Ok(())
}

/// Reads a table of offsets and lengths, 12 bytes each.
pub(super) fn table(bytes: &[u8], segments: &mut Vec<Segment>) -> Result<()> {
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        segments.push(Segment {
            offset: size(&pair[..12])?,
            len: size(&pair[12..])?,
        });
    }
    Ok(())
}

/// Reads a block that continues the table; returns whether another follows.
pub(super) fn continuation(block: &[u8; BLOCK], segments: &mut Vec<Segment>) -> Result<bool> {
    table(&block[..504], segments)?;
    Ok(block[504] != 0)
}

/// The `GNU.sparse.*` records of an extended header.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub name: Option<Vec<u8>>,
    version: (u64, u64),
    size: Option<u64>,
    /// Offsets and lengths in turn.
    numbers: Vec<u64>,
}

/// Where the map of a sparse file is.
pub(super) enum Map {
    None,
    Given(u64, Vec<Segment>),
    InContent(u64),
}

impl PaxSparse {
    /// Takes a record; `keyword` comes without `GNU.sparse.`.
    pub(super) fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<()> {
        const BAD: &str = "a malformed sparse map";
        match keyword {
            b"major" => self.version.0 = decimal(value).ok_or(BAD)?,
            b"minor" => self.version.1 = decimal(value).ok_or(BAD)?,
            b"size" | b"realsize" => self.size = Some(decimal(value).ok_or(BAD)?),
            b"offset" | b"numbytes" => {
                if self.numbers.len() % 2 != usize::from(keyword == b"numbytes") {
                    return Err(BAD);
                }
                self.numbers.push(decimal(value).ok_or(BAD)?);
            }
            b"map" => {
                for number in value.split(|&b| b == b',') {
                    self.numbers.push(decimal(number).ok_or(BAD)?);
                }
            }
            _ => {}
        }
        if self.numbers.len() > 2 * MAX_SEGMENTS {
            return Err("a sparse file of too many pieces");
        }
        Ok(())
    }

    pub(super) fn map(&self) -> Result<Map> {
        match (self.version, self.size) {
            ((1, 0), Some(size)) => Ok(Map::InContent(size)),
            ((0, _), None) if self.numbers.is_empty() => Ok(Map::None),
            ((0, _), Some(size)) => Ok(Map::Given(size, pairs(&self.numbers)?)),
            ((0 | 1, _), None) => Err("a sparse file without its size"),
            _ => Err("a sparse file of an unknown version"),
        }
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<Segment>> {
    let pairs = numbers.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("a sparse map of an odd length");
    }
    Ok(pairs
        .map(|pair| Segment {
            offset: pair[0],
            len: pair[1],
        })
        .collect())
}

/// The map in front of the content (1.0): a count, then offsets and lengths, a line each.
#[derive(Debug, Default)]
pub(super) struct ContentMap {
    count: Option<u64>,
    numbers: Vec<u64>,
    line: Vec<u8>,
    read: u64,
}

impl ContentMap {
    pub(super) fn done(&self) -> bool {
        self.count
            .is_some_and(|count| self.numbers.len() as u64 == 2 * count)
    }

    pub(super) fn feed(&mut self, block: &[u8]) -> Result<()> {
        self.read += block.len() as u64;
        if self.read > MAX_EXTENSION {
            return Err("a sparse map of more than 1 MiB");
        }
        for &byte in block {
            if self.done() {
                break;
            }
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let number = decimal(&self.line).ok_or("a malformed sparse map")?;
            self.line.clear();
            match self.count {
                None if number > MAX_SEGMENTS as u64 => {
                    return Err("a sparse file of too many pieces");
                }
                None => self.count = Some(number),
                Some(_) => self.numbers.push(number),
            }
        }
        Ok(())
    }

    pub(super) fn segments(&self) -> Vec<Segment> {
        self.numbers
            .chunks_exact(2)
            .map(|pair| Segment {
                offset: pair[0],
                len: pair[1],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_must_fit() {
        let piece = |offset, len| Segment { offset, len };
        assert!(validate(&[piece(0, 1), piece(5, 2)], 7, 3).is_ok());
        assert!(validate(&[], 7, 0).is_ok());
        for (pieces, size, content) in [
            (vec![piece(0, 2), piece(1, 1)], 7, 3),
            (vec![piece(0, 8)], 7, 8),
            (vec![piece(u64::MAX, 8)], 7, 8),
            (vec![piece(0, 1)], 7, 2),
            (vec![piece(0, 2)], 7, 1),
        ] {
            assert!(validate(&pieces, size, content).is_err(), "{pieces:?}");
        }
    }
}
