//! The records of the last builds of a store, a file each.
//!
//! A record is written beside its place and then linked to it: it is whole or not there, and two
//! builds that end at once get two numbers.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::build::{BuildRecord, VERSION};

/// So many are kept.
const KEPT: usize = 100;

/// The folder of records.
#[derive(Clone, Debug)]
pub struct Kept {
    dir: PathBuf,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its number.
    pub number: u64,
    /// Why.
    pub why: String,
}

impl Kept {
    /// The records of the store in `root`.
    pub fn of(root: &Path) -> Self {
        Self {
            dir: root.join("build/records"),
        }
    }

    /// Keeps a record under the next number, which is returned. The oldest make room.
    ///
    /// # Errors
    /// The file system's.
    pub fn keep(&self, mut record: BuildRecord) -> io::Result<u64> {
        fs::create_dir_all(&self.dir)?;
        let last = self.numbers()?.pop();
        record.number = last.map_or(1, |last| last.saturating_add(1));
        loop {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(&serde_json::to_vec(&record)?)?;
            // Without fsync: a power cut may cost the record, and never the build.
            match file.persist_noclobber(self.place(record.number)) {
                Ok(_) => break,
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
                    record.number = record.number.saturating_add(1);
                }
                Err(e) => return Err(e.error),
            }
        }
        // Others may have been kept meanwhile.
        let numbers = self.numbers()?;
        let surplus = numbers.len().saturating_sub(KEPT);
        for number in numbers.into_iter().take(surplus) {
            self.remove(number)?;
        }
        Ok(record.number)
    }

    /// The numbers of what is kept, ascending.
    ///
    /// # Errors
    /// The file system's.
    pub fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(numbers),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The record of a number; `None` when there is none.
    ///
    /// # Errors
    /// [`Damaged`]
    pub fn load(&self, number: u64) -> Result<Option<BuildRecord>, Damaged> {
        let damaged = |why: String| Damaged { number, why };
        let bytes = match fs::read(self.place(number)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(damaged(e.to_string())),
        };
        let read: Result<BuildRecord, _> = serde_json::from_slice(&bytes);
        let record = read.map_err(|e| damaged(e.to_string()))?;
        match record.version {
            VERSION => Ok(Some(BuildRecord { number, ..record })),
            version => Err(damaged(format!("it has the version {version}"))),
        }
    }

    /// All records, the newest first, and those that cannot be read.
    ///
    /// # Errors
    /// The file system's.
    pub fn all(&self) -> io::Result<(Vec<BuildRecord>, Vec<Damaged>)> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for number in self.numbers()?.into_iter().rev() {
            match self.load(number) {
                Ok(record) => records.extend(record),
                Err(one) => damaged.push(one),
            }
        }
        Ok((records, damaged))
    }

    /// Removes a record; whether there was one.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(&self, number: u64) -> io::Result<bool> {
        match fs::remove_file(self.place(number)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn place(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::{Asked, Ended};
    use super::*;

    fn record() -> BuildRecord {
        BuildRecord {
            version: VERSION,
            number: 0,
            started: "2026-01-01T00:00:00Z".to_owned(),
            duration: 1,
            asked: Asked::default(),
            ended: Ended::Completed,
            images: Vec::new(),
            steps: Vec::new(),
        }
    }

    #[test]
    fn the_last_hundred_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::of(dir.path());
        assert_eq!(kept.numbers().unwrap(), [0; 0]);
        for number in 1..=102 {
            assert_eq!(kept.keep(record()).unwrap(), number);
        }
        let numbers: Vec<u64> = (3..=102).collect();
        assert_eq!(kept.numbers().unwrap(), numbers);
        assert_eq!(kept.all().unwrap().0[0].number, 102);
    }

    #[test]
    fn builds_that_end_at_once_get_numbers_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::of(dir.path());
        let keep = || {
            for _ in 0..10 {
                kept.keep(record()).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(keep);
            }
        });
        assert_eq!(kept.numbers().unwrap().len(), 40);
        assert_eq!(kept.all().unwrap().1, []);
    }

    #[test]
    fn what_is_damaged_is_told_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::of(dir.path());
        for _ in 0..4 {
            kept.keep(record()).unwrap();
        }
        fs::write(kept.place(1), "").unwrap();
        fs::write(kept.place(2), "{\"version\":1}").unwrap();
        let newer = BuildRecord {
            version: 2,
            ..record()
        };
        fs::write(kept.place(3), serde_json::to_vec(&newer).unwrap()).unwrap();
        fs::write(kept.dir.join(".tmp"), "not finished").unwrap();
        let (records, damaged) = kept.all().unwrap();
        assert_eq!(records.iter().map(|r| r.number).collect::<Vec<_>>(), [4]);
        assert_eq!(
            damaged.iter().map(|d| d.number).collect::<Vec<_>>(),
            [3, 2, 1]
        );
        assert!(kept.remove(4).unwrap() && !kept.remove(4).unwrap());
        assert_eq!(kept.load(4), Ok(None));
    }
}
