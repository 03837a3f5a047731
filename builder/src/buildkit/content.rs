//! The digest of files: of each a tar header without name and time, then its content; of a folder
//! its own header and, sorted, the names and digests of what is in it.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use oci::Digest;
use oci::digest::Algorithm;
use rustix::fs::{FileType, Mode, OFlags};

use super::output;
use crate::files::FilesError;
use crate::files::rootfs::Rootfs;
use crate::files::select::{Entry, Selection};
use crate::stop::Stop;

/// The key of what a selection of each path comes to.
pub fn key<'d>(digests: impl IntoIterator<Item = &'d Digest>) -> Digest {
    let digests: Vec<String> = digests.into_iter().map(ToString::to_string).collect();
    output(&Digest::sha256(digests.join("\0").as_bytes()), -1)
}

/// A folder on the way to its digest.
#[derive(Default)]
struct Folder {
    /// Its own header's.
    header: Option<Digest>,
    files: BTreeMap<Vec<u8>, Digest>,
    folders: BTreeMap<Vec<u8>, Folder>,
}

impl Folder {
    fn at(&mut self, path: &Path) -> &mut Self {
        path.iter().fold(self, |folder, name| {
            folder.folders.entry(name.as_bytes().to_vec()).or_default()
        })
    }

    fn digest(&self) -> Digest {
        let none = Digest::sha256(b"");
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(b"\0");
        hasher.update(self.header.as_ref().unwrap_or(&none).to_string().as_bytes());
        let folders = self.folders.iter();
        let mut all: BTreeMap<&[u8], Digest> = folders
            .map(|(name, folder)| (name.as_slice(), folder.digest()))
            .collect();
        all.extend(self.files.iter().map(|(n, d)| (n.as_slice(), d.clone())));
        for (name, digest) in all {
            hasher.update(b"\0");
            hasher.update(name);
            hasher.update(digest.to_string().as_bytes());
        }
        hasher.finish()
    }
}

/// The digest of one selection of a build context, whose files are root's.
///
/// # Errors
/// I/O errors, also once `stop` says so.
pub fn digest(rootfs: &Rootfs, selection: &Selection, stop: &Stop) -> Result<Digest, FilesError> {
    let of = |entry: &Entry| file(rootfs, &selection.path_of(entry), entry, stop);
    if !selection.is_dir {
        let entry = selection.entries.first();
        return match entry {
            Some(entry) => of(entry),
            None => Ok(Digest::sha256(b"")),
        };
    }
    let mut folder = Folder::default();
    if !selection.root.as_os_str().is_empty() {
        let path = &selection.root;
        let stat = rootfs.lstat(path).map_err(FilesError::io("stat", path))?;
        if let Some(stat) = stat {
            folder.header = Some(of(&Entry::new(Default::default(), stat))?);
        }
    }
    for entry in &selection.entries {
        let digest = of(entry)?;
        let (parent, name) = (entry.path.parent(), entry.path.file_name());
        let (Some(parent), Some(name)) = (parent, name) else {
            continue;
        };
        match entry.kind() {
            FileType::Directory => folder.at(&entry.path).header = Some(digest),
            _ => {
                let files = &mut folder.at(parent).files;
                files.insert(name.as_bytes().to_vec(), digest);
            }
        }
    }
    Ok(folder.digest())
}

/// The digest of all that a pattern selects: the names and digests of each file and folder, with
/// what is in it, in the order of their paths.
///
/// # Errors
/// I/O errors, also once `stop` says so.
pub fn digest_all(
    rootfs: &Rootfs,
    selections: &[Selection],
    stop: &Stop,
) -> Result<Digest, FilesError> {
    let mut all: BTreeMap<Vec<u8>, Digest> = BTreeMap::new();
    let key = |path: &Path| -> Vec<u8> {
        let bytes = path.as_os_str().as_bytes().iter();
        bytes.map(|b| if *b == b'/' { 0 } else { *b }).collect()
    };
    for selection in selections {
        if selection.is_dir {
            let path = &selection.root;
            let stat = rootfs.lstat(path).map_err(FilesError::io("stat", path))?;
            if let Some(stat) = stat {
                let entry = Entry::new(Default::default(), stat);
                all.insert(key(&selection.named), file(rootfs, path, &entry, stop)?);
            }
        }
        for entry in &selection.entries {
            let named = match entry.path.as_os_str().is_empty() {
                true => selection.named.clone(),
                false => selection.named.join(&entry.path),
            };
            let digest = file(rootfs, &selection.path_of(entry), entry, stop)?;
            all.insert(key(&named), digest);
        }
    }
    if all.is_empty() {
        return Ok(Digest::sha256(b""));
    }
    let mut hasher = Algorithm::Sha256.hasher();
    for (at, (path, digest)) in all.iter().enumerate() {
        if at > 0 {
            hasher.update(b"\0");
        }
        hasher.update(path.rsplit(|b| *b == 0).next().unwrap_or_default());
        hasher.update(digest.to_string().as_bytes());
    }
    Ok(hasher.finish())
}

/// One file: its header as Docker's tarsum has it, then its content.
fn file(rootfs: &Rootfs, path: &Path, entry: &Entry, stop: &Stop) -> Result<Digest, FilesError> {
    let io = |e: io::Error| FilesError::io("read", path)(e);
    let kind = entry.kind();
    let (letter, size) = match kind {
        FileType::RegularFile => ('0', entry.stat.st_size),
        FileType::Symlink => ('2', 0),
        FileType::CharacterDevice => ('3', 0),
        FileType::BlockDevice => ('4', 0),
        FileType::Directory => ('5', 0),
        _ => ('6', 0),
    };
    let mut link = Vec::new();
    if kind == FileType::Symlink {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rootfs.openat(path, flags, Mode::empty()).map_err(io)?;
        let read = rustix::fs::readlinkat(&opened, "", Vec::new());
        link = read.map_err(|e| io(e.into()))?.into_bytes();
    }
    let (major, minor) = match kind {
        FileType::CharacterDevice | FileType::BlockDevice => (
            rustix::fs::major(entry.stat.st_rdev),
            rustix::fs::minor(entry.stat.st_rdev),
        ),
        _ => (0, 0),
    };
    let mut hasher = Algorithm::Sha256.hasher();
    let mode = entry.stat.st_mode & 0o7777;
    hasher.update(format!("namemode{mode}uid0gid0size{size}typeflag{letter}linkname").as_bytes());
    hasher.update(&link);
    hasher.update(format!("unamegnamedevmajor{major}devminor{minor}").as_bytes());
    if kind == FileType::RegularFile && size > 0 {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rootfs.openat(path, flags, Mode::empty()).map_err(io)?;
        let mut reader = std::fs::File::from(opened);
        let mut buffer = vec![0; 256 << 10];
        loop {
            stop.check().map_err(io)?;
            match reader.read(&mut buffer).map_err(io)? {
                0 => break,
                read => hasher.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    }
    Ok(hasher.finish())
}
