//! What a copy took, file by file, kept under the digests of all of it: a later copy that took
//! something else can then tell which file has changed, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci::Digest;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::digest::{Digested, Owners, numbers};
use super::select::{Entry, Selection, bytes};

const MAGIC: &[u8; 8] = b"rlisted1";
/// The most that is kept, in bytes; what was written first goes first.
const ROOM: u64 = 64 << 20;
/// The most that is told of one step; the rest is counted.
const TOLD: usize = 1000;

/// What counts of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// Type and permissions, as in `st_mode`.
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    device: u64,
    content: [u8; 32],
}

impl Item {
    fn of(entry: &Entry, content: [u8; 32], owners: Owners) -> Self {
        let stat = &entry.stat;
        let (uid, gid, size, device) = numbers(entry, owners);
        Self {
            mode: stat.st_mode,
            uid,
            gid,
            size,
            device,
            content,
        }
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Whether another file could be this one under another name.
    fn is_moved(&self, other: &Self) -> bool {
        self.kind() == FileType::RegularFile && self.size > 0 && self == other
    }
}

/// The files of what a copy took: for each of its sources, paths below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    sources: Vec<Vec<(String, Item)>>,
}

/// The name under which a listing is kept, from what a key says of its sources.
pub fn name<'v>(values: impl IntoIterator<Item = &'v str>) -> String {
    let mut all = String::new();
    for value in values {
        all.push_str(value);
        all.push('\n');
    }
    Digest::sha256(all.as_bytes()).hex().to_owned()
}

impl Listing {
    /// Of selections and what was found of each.
    pub fn of(selected: &[Selection], digested: &[Digested], owners: Owners) -> Self {
        let sources = selected.iter().zip(digested).map(|(selection, digested)| {
            let files = selection.entries.iter().zip(&digested.contents);
            let items = files.map(|(entry, content)| {
                let path = entry.path.to_string_lossy().into_owned();
                (path, Item::of(entry, *content, owners))
            });
            items.collect()
        });
        Self {
            sources: sources.collect(),
        }
    }

    /// Adds the sources of another.
    pub fn extend(&mut self, other: Self) {
        self.sources.extend(other.sources);
    }

    /// All files under their full names; `named` says what each source is called.
    fn files<'n>(&self, named: impl IntoIterator<Item = &'n str>) -> BTreeMap<String, Item> {
        let mut all = BTreeMap::new();
        for (items, source) in self.sources.iter().zip(named) {
            for (path, item) in items {
                all.insert(join(source, path), *item);
            }
        }
        all
    }

    /// Reads what [`keep`] wrote; what is missing or damaged is not known.
    pub fn load(path: &Path) -> Option<Self> {
        parse(&fs::read(path).ok()?)
    }

    fn write(&self) -> Vec<u8> {
        let count: usize = self.sources.iter().map(Vec::len).sum();
        let mut data = Vec::with_capacity(16 + count * 112);
        data.extend_from_slice(MAGIC);
        for items in &self.sources {
            data.extend_from_slice(&(items.len() as u32).to_le_bytes());
            for (path, item) in items {
                data.extend_from_slice(&(path.len() as u32).to_le_bytes());
                data.extend_from_slice(bytes(Path::new(path)));
                data.extend_from_slice(&item.mode.to_le_bytes());
                data.extend_from_slice(&item.uid.to_le_bytes());
                data.extend_from_slice(&item.gid.to_le_bytes());
                data.extend_from_slice(&item.size.to_le_bytes());
                data.extend_from_slice(&item.device.to_le_bytes());
                data.extend_from_slice(&item.content);
            }
        }
        data
    }
}

fn join(source: &str, path: &str) -> String {
    match (source, path) {
        (source, "") => source.to_owned(),
        ("" | ".", path) => path.to_owned(),
        (source, path) => format!("{}/{path}", source.trim_end_matches('/')),
    }
}

fn parse(data: &[u8]) -> Option<Listing> {
    let mut rest = data.strip_prefix(MAGIC)?;
    let mut sources = Vec::new();
    while !rest.is_empty() {
        let mut items = Vec::new();
        for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
            let len = u32::from_le_bytes(take(&mut rest)?) as usize;
            let (path, tail) = rest.split_at_checked(len)?;
            rest = tail;
            let item = Item {
                mode: u32::from_le_bytes(take(&mut rest)?),
                uid: u32::from_le_bytes(take(&mut rest)?),
                gid: u32::from_le_bytes(take(&mut rest)?),
                size: u64::from_le_bytes(take(&mut rest)?),
                device: u64::from_le_bytes(take(&mut rest)?),
                content: take(&mut rest)?,
            };
            items.push((std::str::from_utf8(path).ok()?.to_owned(), item));
        }
        sources.push(items);
    }
    Some(Listing { sources })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Keeps a listing at `path`, unless it is there already: then `listing` is not called.
///
/// # Errors
/// The file system's.
pub fn keep(path: &Path, listing: impl FnOnce() -> Listing) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // Renamed into place without fsync: losing it costs only words.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&listing().write())?;
    file.persist(path)?;
    // Names are digests: this is one time in sixteen.
    match path.file_name() {
        Some(name) if bytes(Path::new(name)).starts_with(b"0") => make_room(dir, ROOM),
        _ => Ok(()),
    }
}

/// Removes the oldest files of a folder until it holds no more than `room` bytes.
fn make_room(dir: &Path, room: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        files.push((meta.modified()?, meta.len(), entry.path()));
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= room {
            break;
        }
        fs::remove_file(path)?;
        total -= size;
    }
    Ok(())
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It had another name.
    Renamed {
        /// The name that it had.
        from: String,
    },
    /// It is of another type.
    Type {
        /// What it was, such as `directory`.
        before: String,
        /// What it is.
        after: String,
    },
    /// Its content differs, or the target of a link, or the number of a device, or, where they
    /// are copied, extended attributes.
    Content,
    /// Its permissions differ, octal.
    Mode {
        /// What they were.
        before: String,
        /// What they are.
        after: String,
    },
    /// Its owner differs, `uid:gid`.
    Owner {
        /// Who it was.
        before: String,
        /// Who it is.
        after: String,
    },
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// As the instruction names it, and below that.
    pub path: String,
    /// How.
    #[serde(flatten)]
    pub change: Change,
}

/// A listing, and what its sources are called.
pub type Named<'n> = (&'n Listing, Vec<&'n str>);

/// How the files of one listing differ from those of an earlier one, by name: at most a thousand
/// changes, and how many there are beside them.
pub fn changes(before: &[Named<'_>], after: &[Named<'_>]) -> (Vec<FileChange>, usize) {
    let all = |named: &[Named<'_>]| {
        let mut files = BTreeMap::new();
        for (listing, names) in named {
            files.extend(listing.files(names.iter().copied()));
        }
        files
    };
    let (before, after) = (all(before), all(after));
    let mut gone: BTreeSet<&String> = before.keys().filter(|p| !after.contains_key(*p)).collect();
    let mut by_content: BTreeMap<[u8; 32], Vec<&String>> = BTreeMap::new();
    for path in gone.iter().rev() {
        if let Some(item) = before.get(*path) {
            by_content.entry(item.content).or_default().push(path);
        }
    }
    let mut found = Vec::new();
    for (path, item) in &after {
        let mut add = |change| {
            found.push(FileChange {
                path: path.clone(),
                change,
            });
        };
        let Some(was) = before.get(path) else {
            let moved = by_content.get_mut(&item.content).and_then(|names| {
                let last = names.last()?;
                before.get(*last)?.is_moved(item).then(|| names.pop())?
            });
            match moved {
                Some(from) => {
                    gone.remove(from);
                    add(Change::Renamed { from: from.clone() });
                }
                None => add(Change::Added),
            }
            continue;
        };
        if was.kind() != item.kind() {
            let (before, after) = (kind(was.kind()), kind(item.kind()));
            add(Change::Type { before, after });
            continue;
        }
        let content = |item: &Item| (item.size, item.device, item.content);
        if content(was) != content(item) {
            add(Change::Content);
        }
        if was.mode != item.mode {
            let mode = |item: &Item| format!("{:04o}", item.mode & 0o7777);
            let (before, after) = (mode(was), mode(item));
            add(Change::Mode { before, after });
        }
        if (was.uid, was.gid) != (item.uid, item.gid) {
            let owner = |item: &Item| format!("{}:{}", item.uid, item.gid);
            let (before, after) = (owner(was), owner(item));
            add(Change::Owner { before, after });
        }
    }
    found.extend(gone.into_iter().map(|path| FileChange {
        path: path.clone(),
        change: Change::Removed,
    }));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let more = found.len().saturating_sub(TOLD);
    found.truncate(TOLD);
    (found, more)
}

fn kind(kind: FileType) -> String {
    let text = match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "FIFO",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Socket => "socket",
        FileType::Unknown => "file of another type",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = 0o100_644;

    fn item(mode: u32, owner: u32, content: u8) -> Item {
        Item {
            mode,
            uid: owner,
            gid: owner,
            size: 1,
            device: 0,
            content: [content; 32],
        }
    }

    fn listing(items: &[(&str, Item)]) -> Listing {
        let items = items.iter().map(|(path, item)| ((*path).to_owned(), *item));
        Listing {
            sources: vec![items.collect()],
        }
    }

    fn told(before: &[(&str, Item)], after: &[(&str, Item)]) -> Vec<(String, Change)> {
        let (before, after) = (listing(before), listing(after));
        let (found, more) = changes(&[(&before, vec!["src"])], &[(&after, vec!["src"])]);
        assert_eq!(more, 0);
        found.into_iter().map(|f| (f.path, f.change)).collect()
    }

    #[test]
    fn every_kind_of_change_is_told_apart() {
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let a = item(FILE, 0, 1);
        let one = |after: Item| told(&[("a", a)], &[("a", after)]);
        let is = |change: Change| vec![("src/a".to_owned(), change)];
        assert_eq!(one(a), []);
        assert_eq!(one(item(FILE, 0, 2)), is(Change::Content));
        let (before, after) = text("0644", "4755");
        assert_eq!(
            one(item(0o104_755, 0, 1)),
            is(Change::Mode { before, after })
        );
        let (before, after) = text("0:0", "7:7");
        assert_eq!(one(item(FILE, 7, 1)), is(Change::Owner { before, after }));
        let (before, after) = text("file", "symbolic link");
        assert_eq!(
            one(item(0o120_777, 0, 1)),
            is(Change::Type { before, after })
        );
        assert_eq!(told(&[], &[("a", a)]), is(Change::Added));
        assert_eq!(told(&[("a", a)], &[]), is(Change::Removed));
        let from = "src/a".to_owned();
        let renamed = vec![("src/b".to_owned(), Change::Renamed { from })];
        assert_eq!(told(&[("a", a)], &[("b", a)]), renamed);
        // With another mode as well it is another file.
        assert_eq!(told(&[("a", a)], &[("b", item(0o100_755, 0, 1))]).len(), 2);
        // Everything at once.
        assert_eq!(one(item(0o100_600, 7, 2)).len(), 3);
    }

    #[test]
    fn copies_of_one_file_are_renamed_one_by_one() {
        let a = item(FILE, 0, 1);
        let found = told(&[("a", a), ("b", a)], &[("c", a), ("d", a), ("e", a)]);
        let from = |name: &str| Change::Renamed {
            from: format!("src/{name}"),
        };
        let want = [
            ("src/c", from("a")),
            ("src/d", from("b")),
            ("src/e", Change::Added),
        ];
        assert_eq!(found, want.map(|(path, change)| (path.to_owned(), change)));
    }

    #[test]
    fn more_than_can_be_told_is_counted() {
        let many: Vec<(String, Item)> = (0..TOLD + 5)
            .map(|n| (format!("{n:05}"), item(FILE, 0, 1)))
            .collect();
        let all = Listing {
            sources: vec![many],
        };
        let none = Listing::default();
        let (found, more) = changes(&[(&none, vec![])], &[(&all, vec!["."])]);
        assert_eq!((found.len(), more), (TOLD, 5));
        assert_eq!(found[0].path, "00000");
    }

    #[test]
    fn survives_a_round_trip_and_damage_is_nothing_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join(name(["file sha256:1"]));
        let mut all = listing(&[("", item(FILE, 3, 1))]);
        all.extend(listing(&[
            ("x", item(FILE, 0, 1)),
            ("y/z", item(0o40_755, 1, 0)),
        ]));
        keep(&path, || all.clone()).unwrap();
        keep(&path, || unreachable!("it is there")).unwrap();
        assert_eq!(Listing::load(&path), Some(all));
        let whole = fs::read(&path).unwrap();
        for len in [0, 7, 10, 20, 60, whole.len() - 1] {
            assert_eq!(parse(&whole[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        for (name, age) in [("new", 1), ("old", 3), ("older", 5)] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age * 100);
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(then).unwrap();
        }
        make_room(dir.path(), 30).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        make_room(dir.path(), 15).unwrap();
        let left = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(left.file_name(), "new");
    }
}
