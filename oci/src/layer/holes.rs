//! Where a file has no data: such parts read as zeros, and need not be read at all.

use std::io;

use rustix::fd::AsFd;
use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::Errno;

/// Files smaller than this are read as they are.
const SMALL: u64 = 64 << 10;

/// Whether a file takes less of the disk than its size, so that looking for holes is worth it.
pub fn is_sparse(stat: &Stat) -> bool {
    let size = stat.st_size.unsigned_abs();
    size > SMALL && stat.st_blocks.unsigned_abs() * 512 < size
}

/// A part of a file that is all data, or all hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it ends: the offset after its last byte.
    pub end: u64,
    /// Whether there is nothing in it.
    pub hole: bool,
}

/// The run that begins at the offset `at`, of a file that had `size` bytes, more than that. What
/// was cut off meanwhile looks like a hole. Moves the file's position.
///
/// # Errors
/// The kernel's. A file system that knows nothing of holes has one run of data.
pub fn run_at(file: impl AsFd, at: u64, size: u64) -> io::Result<Run> {
    let run = |end: u64, hole| {
        let end = end.min(size);
        Ok(Run { end, hole })
    };
    match seek(&file, SeekFrom::Data(at)) {
        Ok(start) if start > at => run(start, true),
        Ok(_) => match seek(&file, SeekFrom::Hole(at)) {
            Ok(end) if end > at => run(end, false),
            // It was cut off in between.
            Ok(_) | Err(Errno::NXIO) => run(size, false),
            Err(e) => Err(e.into()),
        },
        Err(Errno::NXIO) => run(size, true),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => run(size, false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn runs_cover_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        let size = 10 << 20;
        file.set_len(size).unwrap();
        for at in [1 << 20, 5 << 20] {
            file.seek(io::SeekFrom::Start(at)).unwrap();
            file.write_all(&vec![1; 1 << 20]).unwrap();
        }
        assert!(is_sparse(&rustix::fs::fstat(&file).unwrap()));
        let mut at = 0;
        let mut runs = Vec::new();
        while at < size {
            let run = run_at(&file, at, size).unwrap();
            assert!(run.end > at);
            runs.push((at >> 20, run.end >> 20, run.hole));
            at = run.end;
        }
        let known = [
            (0, 1, true),
            (1, 2, false),
            (2, 5, true),
            (5, 6, false),
            (6, 10, true),
        ];
        assert_eq!(runs, known);
        // Of what is no longer there, too.
        file.set_len(2 << 20).unwrap();
        let cut = run_at(&file, 3 << 20, size).unwrap();
        assert_eq!((cut.end, cut.hole), (size, true));
    }
}
