//! The listing of a layer, from its blob as a stream.

use std::collections::BTreeMap;
use std::io::{self, Read};

use oci::layer::compression::{ReadAhead, decompress};
use oci::layer::reader::{Entry, EntryKind, Reader};
use oci::layer::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX};
use sha2::{Digest as _, Sha256};

use super::entry::{FileEntry, Kind, Listing};
use super::packages::{self, Database, MAX_DATABASE};

/// Paths that one listing has at most.
const MAX_ENTRIES: usize = 400_000;
/// Bytes that all its paths have together.
const MAX_PATHS: usize = 64 << 20;
/// Bytes of the archive that are read.
const MAX_ARCHIVE: u64 = 64 << 30;
/// Bytes of a content's SHA-256 that are kept.
const CONTENT: usize = 16;

/// Lists a layer that may be compressed in any way. What is no archive has a listing too, which
/// says so; so has what is broken, with all that came before.
///
/// # Errors
/// When reading the blob fails.
pub fn list(blob: impl Read + Send + 'static) -> io::Result<Listing> {
    let (_, plain) = decompress(blob)?;
    let mut found = Found::default();
    let problem = found.all(Reader::new(ReadAhead::new(plain)?));
    Ok(Listing::new(
        found.entries.into_values().collect(),
        found.packages.into_values().collect(),
        problem,
    ))
}

/// What was found so far.
#[derive(Default)]
struct Found {
    entries: BTreeMap<String, FileEntry>,
    packages: BTreeMap<String, Database>,
    bytes: usize,
}

impl Found {
    /// Reads to the end; why it did not get there.
    fn all<R: Read>(&mut self, mut archive: Reader<R>) -> Option<String> {
        loop {
            match archive.next_entry() {
                Ok(None) => return None,
                Ok(Some(entry)) => {
                    if let Err(e) = self.add(&mut archive, &entry) {
                        return Some(format!("the layer cannot be read further: {e}"));
                    }
                }
                Err(e) if self.entries.is_empty() => {
                    return Some(format!("this is not the archive of a layer: {e}"));
                }
                Err(e) => return Some(format!("the layer cannot be read further: {e}")),
            }
            if self.entries.len() >= MAX_ENTRIES || self.bytes >= MAX_PATHS {
                return Some(format!("only the first {} files", self.entries.len()));
            }
            if archive.offset() > MAX_ARCHIVE {
                return Some("only the files of its first 64 GiB".to_owned());
            }
        }
    }

    fn add<R: Read>(&mut self, archive: &mut Reader<R>, entry: &Entry) -> io::Result<()> {
        let Some(path) = normal(&entry.path) else {
            return Ok(());
        };
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name.as_bytes() == OPAQUE_WHITEOUT {
            self.hide_below(parent);
            return Ok(());
        }
        if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            // The prefix is ASCII, as long in letters as in bytes.
            let gone = &name[WHITEOUT_PREFIX.len()..];
            let path = match parent {
                "" => gone.to_owned(),
                parent => format!("{parent}/{gone}"),
            };
            self.insert(plain(path, Kind::Whiteout));
            return Ok(());
        }
        let mut file = FileEntry {
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            ..plain(path, kind(&entry.kind))
        };
        match &entry.kind {
            EntryKind::File => self.content(archive, entry, &mut file)?,
            EntryKind::HardLink(target) => {
                let target = normal(target).unwrap_or_default();
                if let Some(other) = self.entries.get(&target) {
                    file.content = other.content.clone();
                    file.at = other.at;
                }
                file.target = Some(target);
            }
            EntryKind::Symlink(target) => {
                file.target = Some(String::from_utf8_lossy(target).into_owned());
            }
            _ => {}
        }
        // An opaque directory stays one, in whatever order the archive has it.
        if file.kind == Kind::Directory
            && self.entries.get(&file.path).map(|e| e.kind) == Some(Kind::Opaque)
        {
            file.kind = Kind::Opaque;
        }
        self.insert(file);
        Ok(())
    }

    /// A directory hides what lower layers have in it.
    fn hide_below(&mut self, path: &str) {
        match self.entries.get_mut(path) {
            Some(directory) => directory.kind = Kind::Opaque,
            None => self.insert(FileEntry {
                mode: 0o755,
                ..plain(path.to_owned(), Kind::Opaque)
            }),
        }
    }

    fn insert(&mut self, entry: FileEntry) {
        let target = entry.target.as_ref().map_or(0, String::len);
        self.bytes += entry.path.len() + target;
        self.entries.insert(entry.path.clone(), entry);
    }

    /// Passes over a file's content, and learns of it what is kept.
    fn content<R: Read>(
        &mut self,
        archive: &mut Reader<R>,
        entry: &Entry,
        file: &mut FileEntry,
    ) -> io::Result<()> {
        let begin = archive.offset();
        let manager = packages::manager(&file.path).filter(|_| entry.size <= MAX_DATABASE);
        let (mut hash, mut database) = (Sha256::new(), Vec::new());
        loop {
            let piece = archive.content()?;
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            if manager.is_some() {
                database.extend_from_slice(piece);
            }
            let n = piece.len();
            archive.consume(n);
        }
        let digest = hash.finalize();
        file.content = Some(
            digest[..CONTENT]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
        );
        // The content of a file with holes is not its bytes.
        file.at = entry.segments.is_none().then_some((begin, entry.size));
        if let Some(manager) = manager {
            let read = packages::read(&file.path, manager, &database);
            self.packages.insert(file.path.clone(), read);
        }
        Ok(())
    }
}

fn plain(path: String, kind: Kind) -> FileEntry {
    FileEntry {
        path,
        kind,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        target: None,
        content: None,
        at: None,
    }
}

fn kind(kind: &EntryKind) -> Kind {
    match kind {
        EntryKind::File => Kind::File,
        EntryKind::HardLink(_) => Kind::HardLink,
        EntryKind::Symlink(_) => Kind::Symlink,
        EntryKind::Directory => Kind::Directory,
        EntryKind::Fifo | EntryKind::Char(..) | EntryKind::Block(..) => Kind::Special,
    }
}

/// A path as it is listed; `None` for the root, and for one that leads out of it.
fn normal(path: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(path);
    let mut out = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return None;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(part);
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use oci::layer::compression::{CompressOptions, Compressor};
    use oci::media_type::LayerCompression;

    use super::*;
    use crate::contents::testing::archive;

    fn show(listing: &Listing) -> Vec<String> {
        let entries = listing.entries.iter();
        entries
            .map(|e| {
                let target = e
                    .target
                    .as_deref()
                    .map_or(String::new(), |t| format!(" -> {t}"));
                format!("{:?} {} {}{target}", e.kind, e.path, e.size)
            })
            .collect()
    }

    #[test]
    fn a_layer_is_listed_however_it_is_compressed() {
        let tar = archive(&[
            ("./etc/", None),
            ("./etc/passwd", Some("root:x:0:0\n")),
            ("etc/.wh.shadow", Some("")),
            ("opt/.wh..wh..opq", Some("")),
            ("../outside", Some("x")),
            ("/abs", Some("12345")),
            ("abs", Some("123")),
        ]);
        let mut seen = Vec::new();
        for compression in [
            LayerCompression::None,
            LayerCompression::Gzip,
            LayerCompression::Zstd,
        ] {
            let options = CompressOptions::default();
            let mut packed = Compressor::new(compression, Vec::new(), &options).unwrap();
            packed.write_all(&tar).unwrap();
            let listing = list(io::Cursor::new(packed.finish().unwrap())).unwrap();
            assert_eq!(
                show(&listing),
                [
                    "File abs 3",
                    "Directory etc 0",
                    "File etc/passwd 11",
                    "Whiteout etc/shadow 0",
                    "Opaque opt 0",
                ]
            );
            assert_eq!(listing.problem, None);
            seen.push(listing);
        }
        assert!(seen.windows(2).all(|two| two[0] == two[1]));
        let passwd = seen[0].get("etc/passwd").unwrap();
        // What sha256sum says of it.
        let sum = "7cf1f940025c27c78e5e4a707519f0e0";
        assert_eq!(passwd.content.as_deref(), Some(sum));
        let (at, len) = passwd.at.unwrap();
        assert_eq!(&tar[at as usize..][..len as usize], b"root:x:0:0\n");
        let kept = Listing::decode(&seen[0].encode().unwrap());
        assert_eq!(kept.as_ref(), Some(&seen[0]));
        assert_eq!(Listing::decode(b"damaged"), None);
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let listing = list(&b"{\"a wasm module\": 1, \"padding\": \"0123456789\"}"[..]).unwrap();
        assert_eq!(listing.entries, []);
        let problem = listing.problem.unwrap();
        assert!(
            problem.starts_with("this is not the archive of a layer"),
            "{problem}"
        );
        let tar = archive(&[("a", Some("1")), ("b", Some("2"))]);
        let listing = list(io::Cursor::new(tar[..1100].to_vec())).unwrap();
        assert_eq!(show(&listing), ["File a 1"]);
        let problem = listing.problem.unwrap();
        assert!(
            problem.starts_with("the layer cannot be read further"),
            "{problem}"
        );
    }
}
