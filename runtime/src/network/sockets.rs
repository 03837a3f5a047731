//! The connections of a network namespace (`/proc/net/sockstat`).
//!
//! The counters are the namespace's own. A dump of its sockets would go through those of the whole
//! machine, which takes milliseconds where there is much memory for them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The counters of a namespace, wherever whoever reads them is.
#[derive(Debug)]
pub(super) struct Counters {
    files: Vec<File>,
}

impl Counters {
    /// Those of the namespace that this thread is in.
    pub(super) fn here() -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/thread-self/net/{name}"));
        let mut files = vec![open("sockstat")?];
        match open("sockstat6") {
            Ok(file) => files.push(file),
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(Self { files })
    }

    /// Whether there is a TCP socket in the namespace, be it one that no process has any more: a
    /// connection outlives its process, for a minute in TIME-WAIT, and keeps its port. Sockets of
    /// other kinds end with the process.
    pub(super) fn any_connection(&self) -> io::Result<bool> {
        for file in &self.files {
            let mut buffer = [0; 4096];
            let length = file.read_at(&mut buffer, 0)?;
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            if connections(&text).ok_or(io::ErrorKind::InvalidData)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How many a file tells of: those in use, and those in TIME-WAIT.
fn connections(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|l| l.strip_prefix("TCP: ").or(l.strip_prefix("TCP6: ")))?;
    let words: Vec<&str> = line.split(' ').collect();
    let mut sum = 0;
    for pair in words.chunks_exact(2) {
        if matches!(pair, ["inuse" | "tw", _]) {
            sum += pair[1].parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_or_waits_counts() {
        // The form of the kernel's tcp_sock: see proc(5).
        let four = |inuse, waits| {
            format!(
                "sockets: used 9\nTCP: inuse {inuse} orphan 3 tw {waits} alloc 8 mem 0\nUDP: inuse 1 mem 0\n"
            )
        };
        assert_eq!(connections(&four(0, 0)), Some(0));
        assert_eq!(connections(&four(2, 0)), Some(2));
        assert_eq!(connections(&four(0, 5)), Some(5));
        assert_eq!(connections("TCP6: inuse 4\nUDP6: inuse 1\n"), Some(4));
        assert_eq!(connections("UDP6: inuse 1\n"), None);
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Counters::here().unwrap().any_connection().unwrap());
        drop(listening);
    }
}
