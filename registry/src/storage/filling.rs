//! How far a blob has come that is still coming.

use std::io;
use std::sync::Arc;

/// How far a blob has come.
#[derive(Clone, Debug, Default)]
pub struct Filling {
    /// Bytes in the file.
    pub written: u64,
    /// How it ended, once it has.
    pub end: Option<Result<(), Arc<str>>>,
}

impl Filling {
    /// How much of a blob of `size` bytes may be read.
    pub(super) fn readable(&self, size: u64) -> Result<u64, io::Error> {
        match &self.end {
            Some(Ok(())) => Ok(size),
            Some(Err(why)) => Err(io::Error::other(why.to_string())),
            None => Ok(self.written.min(size.saturating_sub(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_back_until_it_is_verified() {
        let at = |written| Filling { written, end: None };
        for (written, size, readable) in [(0, 10, 0), (5, 10, 5), (10, 10, 9), (0, 0, 0), (1, 1, 0)]
        {
            assert_eq!(at(written).readable(size).unwrap(), readable);
        }
        let verified = Filling {
            written: 10,
            end: Some(Ok(())),
        };
        assert_eq!(verified.readable(10).unwrap(), 10);
        let wrong = Filling {
            written: 10,
            end: Some(Err("wrong".into())),
        };
        assert!(wrong.readable(10).is_err());
    }
}
