//! Destinations, links, and sources that change while they are copied.

use super::*;
use crate::files::select::{Everything, SourceTree};
use crate::files::transfer::transfer;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};

struct Trees {
    dirs: (tempfile::TempDir, tempfile::TempDir),
    source: Rootfs,
    dest: Rootfs,
}

impl Trees {
    fn new() -> Self {
        let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (source, dest) = (dirs.0.path(), dirs.1.path());
        std::fs::create_dir_all(source.join("d/sub")).unwrap();
        std::fs::write(source.join("f"), "new").unwrap();
        std::fs::write(source.join("d/sub/x"), "x").unwrap();
        symlink("/etc/passwd", source.join("d/link")).unwrap();
        std::fs::create_dir(dest.join("etc")).unwrap();
        std::fs::write(dest.join("etc/old"), "old").unwrap();
        symlink("/etc", dest.join("toetc")).unwrap();
        symlink("../../../../../etc", dest.join("up")).unwrap();
        symlink("/etc/old", dest.join("tofile")).unwrap();
        symlink("/no/where", dest.join("dangling")).unwrap();
        let (source, dest) = (Rootfs::open(source).unwrap(), Rootfs::open(dest).unwrap());
        Self { dirs, source, dest }
    }

    fn select(&self, pattern: &str) -> Vec<Selection> {
        let tree = SourceTree {
            rootfs: &self.source,
            filter: &Everything,
            stop: &Stop::default(),
        };
        tree.select(pattern).unwrap()
    }

    fn copy(&self, pattern: &str, dest: &str) -> Result<bool, FilesError> {
        // The owner is ours, so that the test needs no privilege.
        let options = CopyOptions {
            owner: Some(Owner {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }),
            ..CopyOptions::default()
        };
        copy(
            &self.source,
            &self.select(pattern),
            &self.dest,
            dest,
            &options,
        )
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dirs.1.path().join(path)).unwrap()
    }
}

#[test]
fn links_in_the_destination_are_followed_inside_of_it() {
    for (dest, ends_at) in [
        ("/toetc", "etc/f"),
        ("/toetc/", "etc/f"),
        ("/up/named", "etc/named"),
        ("/tofile", "etc/old"),
        ("/dangling", "no/where"),
        ("/dangling/", "no/where/f"),
        ("/new/dir/", "new/dir/f"),
        ("/../../x", "x"),
    ] {
        let trees = Trees::new();
        trees.copy("f", dest).unwrap();
        assert_eq!(trees.read(ends_at), "new", "{dest}");
    }
    let trees = Trees::new();
    trees.copy("d", "/toetc").unwrap();
    assert_eq!(trees.read("etc/sub/x"), "x");
    let link = std::fs::read_link(trees.dirs.1.path().join("etc/link")).unwrap();
    assert_eq!(link, Path::new("/etc/passwd"));
}

#[test]
fn files_and_directories_do_not_replace_each_other() {
    for (pattern, dest) in [
        ("d", "/etc/old"),
        ("f", "/etc/old/"),
        ("f", "/etc/old/x"),
        ("d/sub", "/tofile"),
    ] {
        let trees = Trees::new();
        let error = trees.copy(pattern, dest).unwrap_err();
        assert!(
            matches!(error, FilesError::Conflict { .. }),
            "{dest}: {error}"
        );
        assert_eq!(trees.read("etc/old"), "old");
    }
}

#[test]
fn a_link_below_the_destination_is_not_a_way_out_of_it() {
    let trees = Trees::new();
    symlink("/etc", trees.dirs.1.path().join("etc/sub")).unwrap();
    assert!(trees.copy("d", "/etc").is_err());
    assert!(!trees.dirs.1.path().join("etc/x").exists());
}

#[test]
fn a_source_that_changes_meanwhile_is_copied_as_it_is_and_noticed() {
    type Change<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 5] = [
        ("same size", "NEW", &|path| {
            let before = std::fs::metadata(path).unwrap().modified().unwrap();
            std::fs::write(path, "NEW").unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(before + std::time::Duration::from_secs(1))
                .unwrap();
        }),
        ("longer", "longer", &|path| {
            std::fs::write(path, "longer").unwrap()
        }),
        ("shorter", "", &|path| std::fs::write(path, "").unwrap()),
        ("another file", "new", &|path| {
            let other = path.with_extension("other");
            std::fs::write(&other, "new").unwrap();
            std::fs::rename(other, path).unwrap();
        }),
        ("mode", "new", &|path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }),
    ];
    for (what, content, change) in changes {
        let trees = Trees::new();
        let selected = trees.select("f");
        change(&trees.dirs.0.path().join("f"));
        let options = CopyOptions::default();
        let steady = copy(&trees.source, &selected, &trees.dest, "/x", &options);
        assert!(!steady.unwrap(), "{what}");
        assert_eq!(trees.read("x"), content, "{what}");
    }
    let trees = Trees::new();
    assert!(trees.copy("f", "/x").unwrap());
    // What is no longer a file is not followed.
    let selected = trees.select("f");
    let path = trees.dirs.0.path().join("f");
    std::fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    let options = CopyOptions::default();
    assert!(copy(&trees.source, &selected, &trees.dest, "/y", &options).is_err());
    // A directory swapped for a link is not followed.
    let trees = Trees::new();
    let selected = trees.select("d");
    let sub = trees.dirs.0.path().join("d/sub");
    std::fs::remove_dir_all(&sub).unwrap();
    symlink("/etc", &sub).unwrap();
    let options = CopyOptions::default();
    assert!(copy(&trees.source, &selected, &trees.dest, "/x", &options).is_err());
}

#[test]
fn a_file_that_grows_or_shrinks_ends_where_it_did() {
    for holes in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let length: u64 = 4 << 20;
        let log = File::options();
        let log = log
            .clone()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .unwrap();
        log.set_len(length).unwrap();
        if !holes {
            std::fs::write(&path, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
        }
        for now in [2 * length, length, length / 4] {
            let stat = fs::fstat(&log).unwrap();
            // The status was taken; then it is written to, or truncated.
            log.set_len(now).unwrap();
            let copy = tempfile::tempfile().unwrap();
            let mut source = File::open(&path).unwrap();
            let mut buffer = vec![0; 4096];
            let stop = Stop::default();
            let copied = transfer(&mut source, &copy, &stat, &mut buffer, &stop).unwrap();
            let expected = now.min(stat.st_size.unsigned_abs());
            assert_eq!(
                (copied, copy.metadata().unwrap().len()),
                (expected, expected)
            );
            log.set_len(length).unwrap();
        }
        let stop = Stop::default();
        stop.stop();
        let stat = fs::fstat(&log).unwrap();
        let copy = tempfile::tempfile().unwrap();
        let mut source = File::open(&path).unwrap();
        let stopped = transfer(&mut source, &copy, &stat, &mut [0; 4096], &stop);
        // All of a hole is copied by one call.
        assert_eq!(stopped.is_err(), !holes);
    }
}

#[test]
fn hard_links_and_modes_are_kept() {
    use std::os::unix::fs::MetadataExt;
    let trees = Trees::new();
    let source = trees.dirs.0.path();
    std::fs::hard_link(source.join("d/sub/x"), source.join("d/y")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o4751);
    std::fs::set_permissions(source.join("d/y"), mode).unwrap();
    trees.copy("d", "/new").unwrap();
    let dest = trees.dirs.1.path();
    let (x, y) = (dest.join("new/sub/x"), dest.join("new/y"));
    let (x, y) = (x.metadata().unwrap(), y.metadata().unwrap());
    assert_eq!((x.ino(), x.mode() & 0o7777), (y.ino(), 0o4751));
}
