//! An empty volume gets what the image has in its place: owners, modes, extended attributes and
//! links as they are.
//!
//! The files are put together beside the volume's own, and are complete before the first of them is
//! moved there. A kill before that leaves a volume that is still empty, and one after that a volume
//! whose files whoever comes next moves on. All of it is done with the volume held.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use oci::layer::{TarOptions, tree, unpack};
use runtime::overlay;
use rustix::fs::{Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use store::StoredVolume;

use super::within;
use crate::error::{Error, Result};
use crate::record::{MountPoint, MountSource};

/// Whether a mount fills its volume: one that is a directory of its own, and shown whole.
pub(super) fn is_filled(point: &MountPoint) -> bool {
    match &point.source {
        MountSource::Volume {
            copies,
            subpath,
            options,
            ..
        } => *copies && subpath.is_empty() && !options.contains_key("device"),
        _ => false,
    }
}

/// Ends what a kill has interrupted.
pub(super) fn settle(volume: &StoredVolume) -> Result<()> {
    let (staging, complete) = (volume.staging(), volume.complete());
    match fs::remove_dir_all(&staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &staging)(e));
        }
        _ => {}
    }
    match complete.is_dir() {
        true => take_over(volume),
        false => Ok(()),
    }
}

/// Fills a volume, if it is empty, with what the layers have where it is mounted.
pub(super) fn fill(volume: &StoredVolume, point: &MountPoint, lowers: &[PathBuf]) -> Result<()> {
    let data = volume.data();
    let mut entries = fs::read_dir(&data).map_err(Error::io("read", &data))?;
    if lowers.is_empty() || entries.next().is_some() {
        return Ok(());
    }
    // Held for as long as paths are looked up in it: of a mount that was let go, the kernel cannot
    // say where `..` leads.
    let tree = overlay::mount_detached(lowers, None)?;
    let Some(source) = in_image(point, tree.as_fd())? else {
        return Ok(());
    };
    let failed = |error: &dyn std::fmt::Display| {
        Error::Invalid(format!("fill volume {}: {error}", volume.name))
    };
    let staging = volume.staging();
    let made = fs::DirBuilder::new().mode(0o700).create(&staging);
    made.map_err(Error::io("make", &staging))?;
    let copied = copy(&source, &staging).map_err(|error| failed(&error));
    let copied = copied.and_then(|()| {
        like(&source, &staging).map_err(Error::io("set attributes of", &staging))?;
        let dir = File::open(&staging).map_err(Error::io("open", &staging))?;
        rustix::fs::syncfs(&dir).map_err(|errno| failed(&errno))?;
        fs::rename(&staging, volume.complete()).map_err(Error::io("rename", &staging))
    });
    if copied.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    copied?;
    take_over(volume)
}

/// What the image has where a volume is mounted, if that is a directory.
fn in_image(point: &MountPoint, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let anonymous = matches!(
        point.source,
        MountSource::Volume {
            anonymous: true,
            ..
        }
    );
    match within::open(root, &point.target, flags) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOTDIR) if anonymous => Err(Error::Invalid(format!(
            "cannot mount volume over existing file, file exists {}",
            point.target
        ))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::io("open", &point.target)(errno.into())),
    }
}

/// Copies what is in a directory, by way of its tar.
fn copy(source: &OwnedFd, target: &Path) -> Result<(), String> {
    let target = oci::layer::open_dir(target).map_err(|e| e.to_string())?;
    let (reader, mut writer) = io::pipe().map_err(|e| e.to_string())?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            // Dropped at its end, or the reader would wait for more.
            tree::write_tar(source, &TarOptions::default(), &mut writer)
        });
        let options = unpack::UnpackOptions::default();
        let unpacked = unpack::archive(io::BufReader::new(reader), &target, &options);
        let written = written.join();
        match (written, unpacked) {
            (Err(_), _) => Err("a thread ended early".to_owned()),
            // Whoever reads stops first when both fail.
            (_, Err(error)) => Err(error.to_string()),
            (Ok(Err(error)), _) => Err(error.to_string()),
            (Ok(Ok(_)), Ok(_)) => Ok(()),
        }
    })
}

/// Gives a directory the owner, mode, extended attributes and times of another.
fn like(source: &OwnedFd, target: &Path) -> io::Result<()> {
    let stat = rustix::fs::fstat(source)?;
    let target = File::open(target)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&target, Some(owner.0), Some(owner.1))?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(source, &mut names[..]) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    let mut value = vec![0; 64 << 10];
    for name in names.get(..length).unwrap_or_default().split(|b| *b == 0) {
        if !name.starts_with(b"user.") {
            continue;
        }
        let length = rustix::fs::fgetxattr(source, name, &mut value[..])?;
        let value = value.get(..length).unwrap_or_default();
        rustix::fs::fsetxattr(&target, name, value, XattrFlags::empty())?;
    }
    rustix::fs::futimens(&target, &times(&stat))?;
    Ok(())
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Moves what is complete into the volume. The volume's own directory stays: containers may have
/// it.
fn take_over(volume: &StoredVolume) -> Result<()> {
    let (complete, data) = (volume.complete(), volume.data());
    let moved = || -> io::Result<()> {
        let from = oci::layer::open_dir(&complete).map_err(io::Error::other)?;
        let to = oci::layer::open_dir(&data).map_err(io::Error::other)?;
        // Moving changes its times.
        let before = rustix::fs::fstat(&from)?;
        for entry in fs::read_dir(&complete)? {
            let name = entry?.file_name();
            let kept = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&from, &name, &to, &name, kept) {
                // Somebody who has the volume already has made one of this name: it is theirs.
                Err(Errno::EXIST) => {}
                moved => moved?,
            }
        }
        like(&from, &data)?;
        rustix::fs::futimens(&to, &times(&before))?;
        fs::remove_dir_all(&complete)?;
        rustix::fs::fsync(&to)?;
        Ok(())
    };
    moved().map_err(Error::io("fill", &data))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn volume(dir: &Path) -> StoredVolume {
        let volume = StoredVolume {
            name: "data".to_owned(),
            record: "{}".to_owned(),
            created: 1,
            users: Vec::new(),
            dir: dir.join("data"),
        };
        fs::create_dir_all(volume.data()).unwrap();
        volume
    }

    fn mounted(target: &str) -> MountPoint {
        MountPoint {
            target: target.to_owned(),
            readonly: false,
            mode: String::new(),
            source: MountSource::Volume {
                name: "data".to_owned(),
                anonymous: true,
                copies: true,
                subpath: String::new(),
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            },
        }
    }

    /// A layer with `/srv`, a link to it, and a link out of the image.
    fn layer(dir: &Path) -> PathBuf {
        let layer = dir.join("layer");
        fs::create_dir_all(layer.join("srv/sub")).unwrap();
        fs::write(layer.join("srv/sub/file"), "x").unwrap();
        fs::hard_link(layer.join("srv/sub/file"), layer.join("srv/same")).unwrap();
        fs::write(layer.join("srv/locked"), "y").unwrap();
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(layer.join("srv/locked"), mode(0o4750)).unwrap();
        fs::set_permissions(layer.join("srv"), mode(0o1750)).unwrap();
        std::os::unix::fs::symlink("/srv", layer.join("link")).unwrap();
        std::os::unix::fs::symlink("../../../../..", layer.join("out")).unwrap();
        layer
    }

    #[test]
    fn an_empty_volume_gets_the_images_files_and_a_filled_one_keeps_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, layer) = (volume(dir.path()), layer(dir.path()));
        let lowers = [layer.clone()];
        let copied = fill(&volume, &mounted("/link"), &lowers);
        if let Err(Error::Runtime(runtime::Error::NotPermitted { .. })) = copied {
            println!("skipped: needs root");
            return;
        }
        copied.unwrap();
        let data = volume.data();
        let found = |name: &str| fs::symlink_metadata(data.join(name)).unwrap();
        assert_eq!(found("").mode() & 0o7777, 0o1750);
        assert_eq!(found("locked").mode() & 0o7777, 0o4750);
        assert_eq!(found("same").ino(), found("sub/file").ino());
        assert!(!volume.staging().exists() && !volume.complete().exists());
        fs::remove_file(data.join("locked")).unwrap();
        fill(&volume, &mounted("/srv"), &lowers).unwrap();
        assert!(!data.join("locked").exists(), "it was filled already");
    }

    #[test]
    fn links_of_the_image_end_at_its_root() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, layer) = (volume(dir.path()), layer(dir.path()));
        let copied = fill(&volume, &mounted("/out"), &[layer]);
        if let Err(Error::Runtime(runtime::Error::NotPermitted { .. })) = copied {
            println!("skipped: needs root");
            return;
        }
        copied.unwrap();
        let mut names: Vec<_> = fs::read_dir(volume.data())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["link", "out", "srv"]);
    }

    #[test]
    fn what_was_interrupted_is_done_to_its_end_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let volume = volume(dir.path());
        // Killed while the files were put together: the volume is still empty.
        fs::create_dir(volume.staging()).unwrap();
        fs::write(volume.staging().join("half"), "").unwrap();
        settle(&volume).unwrap();
        assert!(!volume.staging().exists());
        assert_eq!(fs::read_dir(volume.data()).unwrap().count(), 0);
        // Killed while they were moved: the rest follows.
        fs::create_dir(volume.complete()).unwrap();
        fs::write(volume.data().join("a"), "theirs").unwrap();
        fs::write(volume.complete().join("a"), "the image's").unwrap();
        fs::write(volume.complete().join("b"), "").unwrap();
        settle(&volume).unwrap();
        assert!(volume.data().join("b").exists() && !volume.complete().exists());
        let kept = fs::read_to_string(volume.data().join("a")).unwrap();
        assert_eq!(kept, "theirs");
    }
}
