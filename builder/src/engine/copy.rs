//! COPY, ADD and WORKDIR: files written into a detached overlay mount.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;

use oci::layer::{compression, unpack};
use runtime::users::UserError;
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};

use super::fetched::Fetched;
use crate::context::IgnoreFilter;
use crate::download::Download;
use crate::files::FilesError;
use crate::files::copy::{CopyOptions, copy, write_file};
use crate::files::dest::Upper;
use crate::files::is_same;
use crate::files::rootfs::{Owner, Rootfs, file_type};
use crate::files::select::{Everything, Filter, Selection, SourceTree, wildcard_folder};
use crate::git::Checkout;
use crate::plan::{CopyOp, CopySource, GitAdd};
use crate::solve::error::StepError;
use crate::stop::Stop;

/// The mode of a downloaded file (reference, "ADD": a remote file has 0600).
const DOWNLOAD_MODE: u32 = 0o600;
const HEREDOC_MODE: u32 = 0o644;
/// What a downloaded file is called whose URL has no name, as BuildKit calls it.
const UNNAMED: &str = "__unnamed__";

/// The tree that a copy takes from, opened.
pub struct OpenTree<'a> {
    /// The tree.
    pub rootfs: &'a Rootfs,
    /// What of it is seen.
    pub filter: &'a dyn Filter,
    /// Whether it is a build context: its files count as root's, whoever owns them here, and
    /// their extended attributes stay there.
    pub is_context: bool,
    /// Ends long work early.
    pub stop: &'a Stop,
}

/// The tree that a copy writes to.
pub struct Destination<'a> {
    /// Mounts the overlay that it is.
    pub mount: &'a dyn Fn() -> Result<Rootfs, StepError>,
    /// `--link`: the image that an empty tree will lie upon.
    pub below: Option<&'a Rootfs>,
    /// The overlay's upper directory.
    pub upper: Option<Upper<'a>>,
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
        stop: tree.stop,
    };
    let mut all = Vec::new();
    for path in &op.sources {
        let CopySource::Path(path) = path else {
            continue;
        };
        let selections = match op.parents {
            true => source.select_parents(path, &exclude)?,
            false => {
                let mut selections = source.select(path)?;
                for selection in &mut selections {
                    selection.exclude(&exclude);
                }
                selections
            }
        };
        all.push(selections);
    }
    if tree.is_context {
        unmatched(op, &all)?;
    }
    Ok(all)
}

/// Refuses wildcards in a folder of the context from which nothing is taken: it may be a typo, and
/// BuildKit refuses them too.
fn unmatched(op: &CopyOp, selected: &[Vec<Selection>]) -> Result<(), FilesError> {
    let taken = |folder: &Path| {
        selected.iter().flatten().any(|selection| {
            let mut entries = selection.entries.iter();
            !op.parents && selection.named.starts_with(folder)
                || entries.any(|entry| selection.named.join(&entry.path).starts_with(folder))
        })
    };
    for source in &op.sources {
        if let CopySource::Path(path) = source
            && let Some(folder) = wildcard_folder(path, op.parents)
            && !taken(&folder)
        {
            return Err(FilesError::NoMatch(path.clone()));
        }
    }
    Ok(())
}

/// Does a COPY or ADD: `selected` is what [`select`] gave, `fetched` holds what is from elsewhere.
/// Returns whether all files were still what they were when they were selected.
///
/// # Errors
/// Conflicts between files and directories, owners that the image doesn't know, I/O errors.
pub fn perform(
    op: &CopyOp,
    tree: &OpenTree<'_>,
    selected: &[Vec<Selection>],
    fetched: &Fetched,
    dest: &Destination<'_>,
) -> Result<bool, StepError> {
    let mut rootfs = (dest.mount)()?;
    let options = CopyOptions {
        // The image is where users and groups are known.
        owner: owner(op, tree, dest.below.unwrap_or(&rootfs))?,
        chmod: op.chmod.as_ref().map(|(_, chmod)| chmod.clone()),
        parents: op.parents,
        xattrs: !tree.is_context,
        upper: dest.upper,
        below: dest.below,
        stop: tree.stop.clone(),
    };
    make_room(op, tree, selected, &rootfs)?;
    let mut steady = true;
    let mut stale = false;
    let mut selected = selected.iter();
    for source in &op.sources {
        if stale {
            rootfs = anew(rootfs, dest.mount)?;
            stale = false;
        }
        match source {
            CopySource::Path(_) => {
                for selection in selected.next().into_iter().flatten() {
                    if stale {
                        rootfs = anew(rootfs, dest.mount)?;
                    }
                    stale = selection.is_dir;
                    let archive = match op.unpack_local {
                        true => open_archive(tree, selection)?,
                        false => None,
                    };
                    steady &= match archive {
                        Some(archive) => {
                            let unpacked = archive.unpack(op, selection, &rootfs, &options);
                            let what = format!("unpack {}", selection.named.display());
                            unpacked.map_err(|e| StepError::other(&what, e))?
                        }
                        None => {
                            let one = std::slice::from_ref(selection);
                            copy(tree.rootfs, one, &rootfs, &op.dest, &options)?
                        }
                    };
                }
            }
            CopySource::Inline { name, content } => {
                let mut bytes = content.as_bytes();
                let owned = rooted(&options);
                let name = OsStr::new(name);
                write_file(&rootfs, &op.dest, name, &mut bytes, HEREDOC_MODE, 0, &owned)?;
            }
            CopySource::Url(url) => {
                add_download(op, url, fetched.download(url)?, &rootfs, &options)?;
            }
            CopySource::Git(git) => {
                let checkout = fetched.checkout(git)?;
                // Where the files were before says nothing about them.
                let plain = CopyOptions {
                    upper: None,
                    ..rooted(&options)
                };
                add_checkout(op, git, checkout, &rootfs, &plain)?;
            }
        }
    }
    Ok(steady)
}

/// The same overlay, that has seen nothing yet: what was copied past it would be missing from it.
fn anew(old: Rootfs, mount: &dyn Fn() -> Result<Rootfs, StepError>) -> Result<Rootfs, StepError> {
    drop(old);
    mount()
}

/// Refuses several files that do not fit: unless the destination is written as a directory, or is
/// one by the time when the second comes, each would replace the one before it.
fn make_room(
    op: &CopyOp,
    tree: &OpenTree<'_>,
    selected: &[Vec<Selection>],
    dest: &Rootfs,
) -> Result<(), StepError> {
    let io = |e| FilesError::io("stat", &op.dest)(e);
    let path = dest.canonical(Path::new(&op.dest)).map_err(io)?;
    let stat = dest.lstat(&path).map_err(io)?;
    if op.dest.ends_with('/') || stat.is_some_and(|stat| file_type(&stat) == FileType::Directory) {
        return Ok(());
    }
    if op.sources.iter().any(|s| matches!(s, CopySource::Git(_))) {
        return Ok(());
    }
    let mut files = op.sources.len() - selected.len();
    for selection in selected.iter().flatten() {
        let unpacked =
            || Ok::<_, StepError>(op.unpack_local && open_archive(tree, selection)?.is_some());
        if files < 2 && (selection.is_dir || unpacked()?) {
            return Ok(());
        }
        files += 1;
    }
    if files < 2 {
        return Ok(());
    }
    Err(StepError::Other(format!(
        "{files} files are copied, so the destination must be a directory: end {} with a /",
        op.dest
    )))
}

fn rooted<'a>(options: &CopyOptions<'a>) -> CopyOptions<'a> {
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
    options: &CopyOptions<'_>,
) -> Result<(), StepError> {
    let failed = |e: &dyn std::fmt::Display| StepError::Other(format!("ADD {url}: {e}"));
    let mut file = download.open().map_err(|e| failed(&e))?;
    if op.unpack == Some(true) && is_archive(&mut file).map_err(|e| failed(&e))? {
        return extract(file, op, dest, options).map_err(|e| failed(&e));
    }
    let name = download.name.as_deref().unwrap_or(UNNAMED);
    let mode = DOWNLOAD_MODE;
    let mtime = download.modified.unwrap_or(0);
    write_file(
        dest,
        &op.dest,
        OsStr::new(name),
        &mut file,
        mode,
        mtime,
        &rooted(options),
    )?;
    Ok(())
}

/// The files of a repository, or of a folder of it.
fn add_checkout(
    op: &CopyOp,
    git: &GitAdd,
    checkout: &Checkout,
    dest: &Rootfs,
    options: &CopyOptions<'_>,
) -> Result<(), StepError> {
    let subdir = git.source.subdir.as_deref().unwrap_or(".");
    let whole = Rootfs::open(&checkout.path()).map_err(FilesError::io("open", &git.text))?;
    let folder = whole.open_dir(Path::new(subdir)).map(Rootfs::new);
    let folder = folder.map_err(|e| {
        let (url, commit) = (&git.source.remote, &checkout.commit);
        StepError::Other(format!("ADD {url}: the folder {subdir:?} of {commit}: {e}"))
    })?;
    let source = SourceTree {
        rootfs: &folder,
        filter: &Everything,
        stop: &options.stop,
    };
    let exclude = IgnoreFilter::new(&op.exclude).map_err(|e| StepError::other("--exclude", e))?;
    let mut selected = source.select(".")?;
    for selection in &mut selected {
        selection.exclude(&exclude);
    }
    copy(&folder, &selected, dest, &op.dest, options)?;
    Ok(())
}

/// A selected file that is an archive.
struct Archive {
    file: File,
    /// Its status when it was opened.
    stat: Stat,
}

/// A selected file, opened if it is an archive. Content decides, not the name.
fn open_archive(tree: &OpenTree<'_>, selection: &Selection) -> Result<Option<Archive>, StepError> {
    let is_file = selection
        .entries
        .first()
        .is_some_and(|e| e.kind() == FileType::RegularFile);
    if selection.is_dir || !is_file {
        return Ok(None);
    }
    // Neither a link nor a FIFO put in its place meanwhile is followed or waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = tree.rootfs.openat(&selection.root, flags, Mode::empty());
    let mut file = File::from(opened.map_err(FilesError::io("open", &selection.root))?);
    let stat = fstat(&file).map_err(|e| FilesError::io("stat", &selection.root)(e.into()))?;
    let found = is_archive(&mut file).map_err(FilesError::io("read", &selection.root))?;
    Ok(found.then_some(Archive { file, stat }))
}

impl Archive {
    /// Unpacks it; returns whether it is still what was selected.
    fn unpack(
        self,
        op: &CopyOp,
        selection: &Selection,
        dest: &Rootfs,
        options: &CopyOptions<'_>,
    ) -> Result<bool, StepError> {
        let selected = selection.entries.first().map(|entry| entry.stat);
        let file = self.file.try_clone();
        let file = file.map_err(|e| StepError::other("open it again", e))?;
        extract(self.file, op, dest, options)?;
        let now = fstat(&file).map_err(|e| StepError::other("stat", std::io::Error::from(e)))?;
        let same = |then: &Stat| is_same(&self.stat, then) && is_same(&now, then);
        Ok(selected.as_ref().is_some_and(same))
    }
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

fn extract(
    file: File,
    op: &CopyOp,
    dest: &Rootfs,
    options: &CopyOptions<'_>,
) -> Result<(), StepError> {
    let archive = |e: &dyn std::fmt::Display| StepError::Other(e.to_string());
    let compressed = BufReader::new(file);
    let (_, plain) = compression::decompress(compressed).map_err(|e| archive(&e))?;
    let into = dest
        .make_dirs(
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
    let plain = options.stop.reader(plain);
    unpack::archive(plain, into, &unpacking).map_err(|e| archive(&e))?;
    Ok(())
}

/// What a `--link` copy takes from the image that it will lie upon, by name: who `--chown` means,
/// and what the directories look like that it has in common with it. All else is the same on
/// whatever image.
///
/// # Errors
/// Owners that the image doesn't know, I/O errors.
pub fn below(op: &CopyOp, image: &Rootfs) -> Result<Vec<(String, String)>, StepError> {
    let mut taken = Vec::new();
    if let Some(owner) = chown(op, image)? {
        let value = format!("{}:{}", owner.uid, owner.gid);
        taken.push(("owner".to_owned(), value));
    }
    let mut path = std::path::PathBuf::new();
    for name in Path::new(&op.dest).components().skip(1) {
        path.push(name);
        let Some(stat) = image.real_dir(&path) else {
            break;
        };
        let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
        let value = format!("{mode:04o} {uid}:{gid}");
        taken.push((format!("/{}", path.display()), value));
    }
    Ok(taken)
}

/// The owner that `--chown` means, by the image's own passwd and group; without it, root for
/// files of a context, and `None` (the files' own) for those of an image.
fn owner(op: &CopyOp, tree: &OpenTree<'_>, dest: &Rootfs) -> Result<Option<Owner>, StepError> {
    match &op.chown {
        Some(_) => chown(op, dest),
        None => Ok(tree.is_context.then(Owner::default)),
    }
}

/// The owner that `--chown` means, if it is there.
fn chown(op: &CopyOp, dest: &Rootfs) -> Result<Option<Owner>, StepError> {
    let Some(chown) = &op.chown else {
        return Ok(None);
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
/// and group; a name brings the group that passwd gives it, unless a colon follows: an empty group
/// is root's. Root is 0 even where there are no databases to say so.
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
        Some((user, _)) => format!("{}:0", number(user)),
        None => match text.parse::<u32>() {
            Ok(uid) => format!("{uid}:{uid}"),
            Err(_) => number(text),
        },
    };
    let found = runtime::users::lookup(dest.as_fd(), &user)?;
    Ok(Owner {
        uid: found.uid,
        gid: found.gid,
    })
}

#[cfg(test)]
mod tests;
