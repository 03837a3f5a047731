//! What is known of a context's files: their hashes, and the status under which each was taken.
//!
//! A file whose inode, size, mode and times (to the nanosecond, the change time included) are
//! those of the index has the content of the index. A file changed in the same instant as it was
//! hashed could slip through, so entries whose change time is too close to the moment the index
//! was written are not believed (the "racy" rule that version control uses for the same reason).

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

use super::select::{Entry, bytes};
use super::table::Table;

const MAGIC: &[u8; 8] = b"rbuildx3";
/// A coarse kernel clock tick is at most 10 ms; ten of them are taken as too close.
const RACY_NANOS: i128 = 100_000_000;

/// A content hash and the status of the file when it was taken.
#[derive(Clone, Debug)]
pub struct Known {
    /// The hash.
    pub content: [u8; 32],
    /// The status after reading.
    pub stat: Stat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    ino: u64,
    dev: u64,
    size: u64,
    mode: u32,
    mtime: i128,
    ctime: i128,
}

impl Fingerprint {
    fn of(stat: &Stat) -> Self {
        Self {
            ino: stat.st_ino,
            dev: stat.st_dev,
            size: stat.st_size.unsigned_abs(),
            mode: stat.st_mode,
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// Nanoseconds since the epoch; the kernel's fields differ in type between architectures.
fn nanos(seconds: i64, nanoseconds: impl TryInto<i128>) -> i128 {
    i128::from(seconds) * 1_000_000_000 + nanoseconds.try_into().unwrap_or(0)
}

#[derive(Clone, Copy, Debug)]
struct Row {
    fingerprint: Fingerprint,
    content: [u8; 32],
    /// When the hash was taken.
    hashed_at: i128,
}

/// The index of one tree.
#[derive(Debug, Default)]
pub struct FileIndex {
    rows: Table<Row>,
    /// What the index did not have.
    added: HashMap<Box<[u8]>, Row>,
    /// Which row is likely to be asked for next.
    next: usize,
    changed: bool,
    /// Room for a name.
    name: Vec<u8>,
}

impl FileIndex {
    /// An index that knows nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads an index; one that is missing or damaged is an empty one, since it can be made anew.
    pub fn load(path: &Path) -> Self {
        let rows = fs::read(path).ok().and_then(|data| parse(&data));
        Self {
            rows: rows.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Writes the index when something was added. Several processes may do so; the last one wins.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&mut self, path: &Path) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        if !self.added.is_empty() {
            for (name, row) in self.added.drain() {
                self.rows.push(&name, row);
            }
            self.rows.sort();
        }
        let mut data = Vec::with_capacity(self.rows.len() * 176);
        data.extend_from_slice(MAGIC);
        for (name, row) in self.rows.iter() {
            data.extend_from_slice(&(name.len() as u32).to_le_bytes());
            data.extend_from_slice(name);
            data.extend_from_slice(&row.fingerprint.ino.to_le_bytes());
            data.extend_from_slice(&row.fingerprint.dev.to_le_bytes());
            data.extend_from_slice(&row.fingerprint.size.to_le_bytes());
            data.extend_from_slice(&row.fingerprint.mode.to_le_bytes());
            data.extend_from_slice(&row.fingerprint.mtime.to_le_bytes());
            data.extend_from_slice(&row.fingerprint.ctime.to_le_bytes());
            data.extend_from_slice(&row.content);
            data.extend_from_slice(&row.hashed_at.to_le_bytes());
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        // A cache: losing it costs a re-read, so it is renamed into place without fsync.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&data)?;
        file.persist(path)?;
        self.changed = false;
        Ok(())
    }

    /// Where an entry below `root` stands; its name is in `self.name` afterwards.
    fn find(&mut self, root: &Path, entry: &Entry) -> Option<usize> {
        self.name.clear();
        self.name.extend_from_slice(bytes(root));
        if !entry.path.as_os_str().is_empty() {
            if !self.name.is_empty() {
                self.name.push(b'/');
            }
            self.name.extend_from_slice(bytes(&entry.path));
        }
        let found = self.rows.find(&self.name, self.next)?;
        self.next = found + 1;
        Some(found)
    }

    /// The hash of an entry below `root`, if its status says that it has not changed.
    pub fn get(&mut self, root: &Path, entry: &Entry) -> Option<[u8; 32]> {
        let found = self.find(root, entry);
        let row = match found.and_then(|at| self.rows.get(at)) {
            Some(row) => row,
            None => self.added.get(self.name.as_slice())?,
        };
        let fingerprint = Fingerprint::of(&entry.stat);
        let settled = fingerprint.ctime + RACY_NANOS < row.hashed_at;
        (row.fingerprint == fingerprint && settled).then_some(row.content)
    }

    /// Remembers a hash.
    pub fn put(&mut self, root: &Path, entry: &Entry, known: Known) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let row = Row {
            fingerprint: Fingerprint::of(&known.stat),
            content: known.content,
            hashed_at: i128::try_from(now).unwrap_or(0),
        };
        let found = self.find(root, entry);
        match found.and_then(|at| self.rows.get_mut(at)) {
            Some(there) => *there = row,
            None => drop(self.added.insert(self.name.as_slice().into(), row)),
        }
        self.changed = true;
    }
}

fn parse(data: &[u8]) -> Option<Table<Row>> {
    let mut rest = data.strip_prefix(MAGIC)?;
    let mut rows = Table::with_capacity(rest.len() / 150);
    while !rest.is_empty() {
        let len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (name, tail) = rest.split_at_checked(len)?;
        rest = tail;
        let fingerprint = Fingerprint {
            ino: u64::from_le_bytes(take(&mut rest)?),
            dev: u64::from_le_bytes(take(&mut rest)?),
            size: u64::from_le_bytes(take(&mut rest)?),
            mode: u32::from_le_bytes(take(&mut rest)?),
            mtime: i128::from_le_bytes(take(&mut rest)?),
            ctime: i128::from_le_bytes(take(&mut rest)?),
        };
        let content = take(&mut rest)?;
        let hashed_at = i128::from_le_bytes(take(&mut rest)?);
        let row = Row {
            fingerprint,
            content,
            hashed_at,
        };
        rows.push(name, row);
    }
    rows.is_sorted().then_some(rows)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &Path) -> Entry {
        Entry::new("".into(), rustix::fs::lstat(path).unwrap())
    }

    #[test]
    fn survives_a_round_trip_and_notices_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "x").unwrap();
        let first = entry(&file);
        let mut index = FileIndex::empty();
        index.put(
            Path::new("f"),
            &first,
            Known {
                content: [7; 32],
                stat: first.stat,
            },
        );
        // As if it had been hashed a second later.
        for row in index.added.values_mut() {
            row.hashed_at += 1_000_000_000;
        }
        let saved = dir.path().join("cache/index");
        index.save(&saved).unwrap();
        let mut loaded = FileIndex::load(&saved);
        assert_eq!(loaded.get(Path::new("f"), &first), Some([7; 32]));

        fs::write(&file, "longer").unwrap();
        assert_eq!(loaded.get(Path::new("f"), &entry(&file)), None);
    }

    #[test]
    fn an_entry_hashed_in_the_instant_of_its_change_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "x").unwrap();
        let now = entry(&file);
        let mut index = FileIndex::empty();
        index.put(
            Path::new("f"),
            &now,
            Known {
                content: [7; 32],
                stat: now.stat,
            },
        );
        assert_eq!(index.get(Path::new("f"), &now), None);
    }

    #[test]
    fn a_damaged_file_is_an_empty_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        fs::write(&path, b"rbuildx3\xff\xff\xff\xffjunk").unwrap();
        assert_eq!(FileIndex::load(&path).rows.len(), 0);
    }
}
