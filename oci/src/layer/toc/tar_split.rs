//! All of a tar but the content of its files (vbatts/tar-split): podman puts a layer's tar together
//! again from it, after it has fetched only the files that it lacked.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_64_GO_ISO, Crc, Digest as Checksum, Table};
use serde::Serialize;

/// A file, whose content stands elsewhere.
const FILE: u8 = 1;
/// Bytes of the tar as they are.
const SEGMENT: u8 = 2;

static ISO: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_GO_ISO);

#[derive(Serialize)]
struct Line<'l> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'l str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    /// Base64.
    payload: Option<String>,
    position: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The checksum of a file's content.
pub(super) fn checksum() -> Checksum<'static, u64, Table<16>> {
    ISO.digest()
}

/// Writes lines of JSON, compressed.
pub(super) struct TarSplit {
    out: zstd::Encoder<'static, Vec<u8>>,
    position: u64,
    len: u64,
}

impl TarSplit {
    pub(super) fn new(level: i32) -> io::Result<Self> {
        Ok(Self {
            out: zstd::Encoder::new(Vec::new(), level)?,
            position: 0,
            len: 0,
        })
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        self.out.write_all(&json)?;
        self.len += json.len() as u64;
        self.position += 1;
        Ok(())
    }

    /// Bytes of the tar.
    pub(super) fn segment(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.line(&Line {
            kind: SEGMENT,
            name: "",
            size: 0,
            payload: Some(STANDARD.encode(bytes)),
            position: self.position,
        })
    }

    /// An entry, with the checksum of its content if it has any.
    pub(super) fn file(&mut self, name: &str, size: u64, checksum: u64) -> io::Result<()> {
        let payload = (size > 0).then(|| STANDARD.encode(checksum.to_be_bytes()));
        self.line(&Line {
            kind: FILE,
            name,
            size,
            payload,
            position: self.position,
        })
    }

    /// What was written, compressed, and its length before that.
    pub(super) fn finish(self) -> io::Result<(Vec<u8>, u64)> {
        Ok((self.out.finish()?, self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRCs; Go's ISO table has it too.
    #[test]
    fn the_checksum_is_gos() {
        let mut sum = checksum();
        sum.update(b"123456789");
        assert_eq!(sum.finalize(), 0xb909_56c7_75a4_1001);
    }

    #[test]
    fn lines_are_those_of_tar_split() {
        let mut split = TarSplit::new(3).unwrap();
        split.segment(b"").unwrap();
        split.segment(b"head").unwrap();
        split.file("a", 9, 0xb909_56c7_75a4_1001).unwrap();
        split.file("d/", 0, 0).unwrap();
        let (bytes, len) = split.finish().unwrap();
        let text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap();
        assert_eq!(text.len() as u64, len);
        let expected = [
            r#"{"type":2,"payload":"aGVhZA==","position":0}"#,
            r#"{"type":1,"name":"a","size":9,"payload":"uQlWx3WkEAE=","position":1}"#,
            r#"{"type":1,"name":"d/","payload":null,"position":2}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
