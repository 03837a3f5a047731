//! COPY, ADD and WORKDIR: files written into a detached overlay mount.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::layer::{compression, unpack};
use runtime::users::UserError;
use rustix::fs::{FileType, Mode, OFlags};

use crate::context::IgnoreFilter;
use crate::download::Download;
use crate::files::FilesError;
use crate::files::copy::{CopyOptions, copy, write_file};
use crate::files::rootfs::{Owner, Rootfs, file_type};
use crate::files::select::{Filter, Selection, SourceTree};
use crate::plan::{CopyOp, CopySource};
use crate::solve::error::StepError;

/// The mode of a downloaded file (reference, "ADD": a remote file has 0600).
const DOWNLOAD_MODE: u32 = 0o600;
const HEREDOC_MODE: u32 = 0o644;

/// The tree that a copy takes from, opened.
pub struct OpenTree<'a> {
    /// The tree.
    pub rootfs: &'a Rootfs,
    /// What of it is seen.
    pub filter: &'a dyn Filter,
    /// Whether its files count as root's, whoever owns them here.
    pub as_root: bool,
}

/// The selections of each path among the sources, in order.
///
/// # Errors
/// A source that is missing, and I/O errors.
pub fn select(op: &CopyOp, tree: &OpenTree<'_>) -> Result<Vec<Vec<Selection>>, StepError> {
    let exclude = IgnoreFilter::new(&op.exclude).map_err(|e| StepError::other("--exclude", e))?;
    let source = SourceTree {
        rootfs: tree.rootfs,
        filter: tree.filter,
    };
    let mut all = Vec::new();
    for path in &op.sources {
        if let CopySource::Path(path) = path {
            let mut selections = source.select(path, true)?;
            if let Some((_, after)) = path.split_once("/./").filter(|_| op.parents) {
                // `--parents`: only what is behind the pivot is rebuilt.
                let pivot = path.len() - after.len();
                let skip = crate::files::select::clean(&path[..pivot]);
                for selection in &mut selections {
                    if let Ok(rest) = selection.named.strip_prefix(&skip) {
                        selection.named = rest.to_owned();
                    }
                }
            }
            if !op.exclude.is_empty() {
                selections.retain_mut(|selection| {
                    let rebuilt = if op.parents {
                        selection.named.clone()
                    } else {
                        PathBuf::new()
                    };
                    selection.exclude(&exclude, &rebuilt)
                });
            }
            all.push(selections);
        }
    }
    Ok(all)
}

/// Does a COPY or ADD: `selected` is what [`select`] gave, `downloads` holds what was fetched.
///
/// # Errors
/// Conflicts between files and directories, owners that the image doesn't know, I/O errors.
pub fn perform(
    op: &CopyOp,
    tree: &OpenTree<'_>,
    selected: &[Vec<Selection>],
    downloads: &HashMap<String, Arc<Download>>,
    dest: &Rootfs,
) -> Result<(), StepError> {
    let options = CopyOptions {
        owner: owner(op, tree, dest)?,
        chmod: op.chmod.as_ref().map(|(_, chmod)| chmod.clone()),
        parents: op.parents,
    };
    let count: usize = selected.iter().map(Vec::len).sum();
    let others = op.sources.len() - selected.len();
    if count + others > 1 && !op.parents && !is_directory(op, dest)? {
        let message = format!(
            "{} files are copied, so the destination must be a directory: end {} with a /",
            count + others,
            op.dest
        );
        return Err(StepError::Other(message));
    }
    let mut selected = selected.iter();
    for source in &op.sources {
        match source {
            CopySource::Path(_) => {
                let Some(selections) = selected.next() else {
                    continue;
                };
                for selection in selections {
                    if op.unpack_local && unpack_local(op, tree, selection, dest, &options)? {
                        continue;
                    }
                    copy(
                        tree.rootfs,
                        std::slice::from_ref(selection),
                        dest,
                        &op.dest,
                        &options,
                    )?;
                }
            }
            CopySource::Inline { name, content } => {
                let mut bytes = content.as_bytes();
                let owned = rooted(&options);
                write_file(
                    dest,
                    &op.dest,
                    OsStr::new(name),
                    &mut bytes,
                    HEREDOC_MODE,
                    0,
                    &owned,
                )?;
            }
            CopySource::Url(url) => {
                let download = downloads
                    .get(url)
                    .ok_or_else(|| StepError::Other(format!("ADD {url}: it was not downloaded")))?;
                add_download(op, url, download, dest, &options)?;
            }
        }
    }
    Ok(())
}

/// Whether several sources fit: the destination is written as a directory, or is one. Otherwise
/// each would replace the one before it.
fn is_directory(op: &CopyOp, dest: &Rootfs) -> Result<bool, StepError> {
    if op.dest.ends_with('/') {
        return Ok(true);
    }
    let io = |e| FilesError::io("stat", &op.dest)(e);
    let path = dest.canonical(Path::new(&op.dest)).map_err(io)?;
    let stat = dest.lstat(&path).map_err(io)?;
    Ok(stat.is_some_and(|stat| file_type(&stat) == FileType::Directory))
}

fn rooted(options: &CopyOptions) -> CopyOptions {
    let owner = Some(options.owner.unwrap_or_default());
    CopyOptions {
        owner,
        ..options.clone()
    }
}

fn add_download(
    op: &CopyOp,
    url: &str,
    download: &Download,
    dest: &Rootfs,
    options: &CopyOptions,
) -> Result<(), StepError> {
    let failed = |e: &dyn std::fmt::Display| StepError::Other(format!("ADD {url}: {e}"));
    let mut file = download.open().map_err(|e| failed(&e))?;
    if op.unpack == Some(true) && is_archive(&mut file).map_err(|e| failed(&e))? {
        return extract(file, op, dest, options).map_err(|e| failed(&e));
    }
    let name = match &download.name {
        Some(name) => name.clone(),
        None if op.dest.ends_with('/') => {
            return Err(failed(
                &"the URL has no file name; name one in the destination",
            ));
        }
        None => String::new(),
    };
    let mode = DOWNLOAD_MODE;
    let mtime = download.mtime;
    write_file(
        dest,
        &op.dest,
        OsStr::new(&name),
        &mut file,
        mode,
        mtime,
        &rooted(options),
    )?;
    Ok(())
}

/// Unpacks a selected file if it is an archive; says whether it was one. Content decides, not the
/// name.
fn unpack_local(
    op: &CopyOp,
    tree: &OpenTree<'_>,
    selection: &Selection,
    dest: &Rootfs,
    options: &CopyOptions,
) -> Result<bool, StepError> {
    let is_file = selection
        .entries
        .first()
        .is_some_and(|e| e.kind() == FileType::RegularFile);
    if selection.is_dir || !is_file {
        return Ok(false);
    }
    // Neither a link nor a FIFO put in its place meanwhile is followed or waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = tree.rootfs.openat(&selection.root, flags, Mode::empty());
    let mut file = File::from(opened.map_err(FilesError::io("open", &selection.root))?);
    if !is_archive(&mut file).map_err(FilesError::io("read", &selection.root))? {
        return Ok(false);
    }
    extract(file, op, dest, options)
        .map_err(|e| StepError::other(&format!("unpack {}", selection.named.display()), e))?;
    Ok(true)
}

/// Whether a file is a tar archive, compressed or not; leaves it at its start.
fn is_archive(file: &mut File) -> std::io::Result<bool> {
    let mut header = Vec::new();
    let found = match compression::decompress(BufReader::new(&mut *file)) {
        // What cannot be decompressed is no archive, whatever its first bytes say.
        Ok((_, plain)) => plain.take(512).read_to_end(&mut header).is_ok(),
        Err(_) => false,
    };
    file.rewind()?;
    Ok(found && looks_like_tar(&header))
}

/// Whether a block is a tar header: its checksum is right.
fn looks_like_tar(block: &[u8]) -> bool {
    if block.len() < 512 {
        return false;
    }
    if block.iter().all(|b| *b == 0) {
        // The end of an archive without entries: there is nothing in it to tell it by.
        return false;
    }
    let stored = &block[148..156];
    let digits: String = stored
        .iter()
        .map(|b| char::from(*b))
        .skip_while(|c| *c == ' ' || *c == '0')
        .take_while(|c| c.is_digit(8))
        .collect();
    let sum = |byte: &dyn Fn(u8) -> i64| -> i64 {
        let blanks = 8 * 32;
        block
            .iter()
            .enumerate()
            .filter(|(i, _)| !(148..156).contains(i))
            .map(|(_, b)| byte(*b))
            .sum::<i64>()
            + blanks
    };
    let Ok(stored) = i64::from_str_radix(&digits, 8) else {
        return false;
    };
    // Some old writers summed signed bytes.
    stored == sum(&|b| i64::from(b)) || stored == sum(&|b| i64::from(b as i8))
}

fn extract(file: File, op: &CopyOp, dest: &Rootfs, options: &CopyOptions) -> Result<(), StepError> {
    let archive = |e: &dyn std::fmt::Display| StepError::Other(e.to_string());
    let (_, plain) = compression::decompress(BufReader::new(file)).map_err(|e| archive(&e))?;
    dest.make_dirs(
        Path::new(&op.dest),
        0o755,
        options.owner.unwrap_or_default(),
    )
    .map_err(FilesError::io("create", &op.dest))?;
    // An archive's own owners count, unless --chown says otherwise.
    let ownership = match (&op.chown, options.owner) {
        (Some(_), Some(Owner { uid, gid })) => unpack::Ownership::Fixed { uid, gid },
        _ => unpack::Ownership::Archive,
    };
    let unpacking = unpack::UnpackOptions {
        ownership,
        ..Default::default()
    };
    unpack::archive(plain, dest, Path::new(&op.dest), &unpacking).map_err(|e| archive(&e))?;
    Ok(())
}

/// The owner that `--chown` means, by the image's own passwd and group; without it, root for
/// files of a context, and `None` (the files' own) for those of an image.
fn owner(op: &CopyOp, tree: &OpenTree<'_>, dest: &Rootfs) -> Result<Option<Owner>, StepError> {
    let Some(chown) = &op.chown else {
        return Ok(tree.as_root.then(Owner::default));
    };
    // `:group` leaves the user root.
    let whole = match chown.strip_prefix(':') {
        Some(group) => format!("0:{group}"),
        None => chown.clone(),
    };
    dockerfile::value::Owner::parse(&whole).map_err(|e| StepError::other("--chown", e))?;
    find_owner(&whole, dest)
        .map(Some)
        .map_err(|e| StepError::Other(format!("--chown={chown}: {e}")))
}

/// The owner of files that `user[:group]` means. Other than for a process, a number alone is user
/// and group; a name brings the group that passwd gives it, and root is 0 even where there are no
/// databases to say so.
///
/// # Errors
/// A name that the image does not know, and databases that cannot be read.
pub fn find_owner(text: &str, dest: &Rootfs) -> Result<Owner, UserError> {
    let number = |name: &str| match name {
        "root" => "0".to_owned(),
        name => name.to_owned(),
    };
    let user = match text.split_once(':') {
        Some((user, group)) if !group.is_empty() => format!("{}:{}", number(user), number(group)),
        split => {
            let user = split.map_or(text, |(user, _)| user);
            match user.parse::<u32>() {
                Ok(uid) => format!("{uid}:{uid}"),
                Err(_) => number(user),
            }
        }
    };
    let found = runtime::users::lookup(dest.as_fd(), &user)?;
    Ok(Owner {
        uid: found.uid,
        gid: found.gid,
    })
}

#[cfg(test)]
mod tests;
