//! The fields of a header block.

use super::block::{BLOCK, number, size, until_nul};
use super::sparse::{self, Segment};

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
