//! Tar and back: what both directions must keep.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{
    CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, setxattr,
};

use super::testing::{Tree, anybody, root};
use super::unpack::{UnpackOptions, layer};
use super::{TarError, TarOptions, diff, tree};
use crate::Digest;

fn set_mtime(tree: &Tree, path: &str, seconds: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(
        CWD,
        tree.path(path),
        &times,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

fn node(tree: &Tree, path: &str, kind: FileType, device: (u32, u32)) {
    let mode = Mode::from_raw_mode(0o600);
    let device = makedev(device.0, device.1);
    mknodat(CWD, tree.path(path), kind, mode, device).unwrap();
}

fn dir(tree: &Tree, path: &str) {
    std::fs::create_dir(tree.path(path)).unwrap();
    std::fs::set_permissions(tree.path(path), PermissionsExt::from_mode(0o755)).unwrap();
}

fn file(tree: &Tree, path: &str, content: &[u8]) {
    std::fs::write(tree.path(path), content).unwrap();
    std::fs::set_permissions(tree.path(path), PermissionsExt::from_mode(0o644)).unwrap();
}

#[test]
fn a_hole_is_written_as_the_zeros_that_it_reads_as() {
    use std::os::unix::fs::FileExt;
    let (sparse, dense) = (Tree::new(), Tree::new());
    let mut content = vec![0; 3 << 20];
    content[1 << 20..(1 << 20) + 99].fill(7);
    file(&dense, "f", &content);
    let holes = std::fs::File::create(sparse.path("f")).unwrap();
    holes.set_len(3 << 20).unwrap();
    holes.write_all_at(&[7; 99], 1 << 20).unwrap();
    drop(holes);
    std::fs::set_permissions(sparse.path("f"), PermissionsExt::from_mode(0o644)).unwrap();
    let [one, other] = [sparse, dense].map(|tree| {
        set_mtime(&tree, "f", 5, 0);
        let fd = super::open_dir(&tree.path("")).unwrap();
        let mut tar = Vec::new();
        diff::write_tar(&fd, &TarOptions::default(), &mut tar).unwrap();
        let measured = diff::measure(&fd, &TarOptions::default(), &|| Ok(())).unwrap();
        assert_eq!(*measured.diff_id.digest(), Digest::sha256(&tar));
        assert_eq!(measured.size_files, 3 << 20);
        tar
    });
    assert!(one == other);
}

/// An upper directory with something of everything that needs no privileges.
fn sample() -> Tree {
    let upper = Tree::new();
    dir(&upper, "etc");
    dir(&upper, "opaque");
    let mark = |path: &str, name: &str, value: &[u8]| {
        setxattr(upper.path(path), name, value, XattrFlags::empty()).unwrap();
    };
    mark("opaque", "user.overlay.opaque", b"y");
    mark("opaque", "user.overlay.origin", b"host");
    mark("opaque", "user.of.program", b"a\nb=\0c");
    file(&upper, "opaque/kept", &[7; 100_000]);
    file(&upper, "etc/conf", b"conf");
    std::fs::hard_link(upper.path("etc/conf"), upper.path("a-link")).unwrap();
    node(&upper, "etc/removed", FileType::CharacterDevice, (0, 0));
    node(&upper, "etc/fifo", FileType::Fifo, (0, 0));
    symlink("/anywhere", upper.path("etc/symlink")).unwrap();
    file(&upper, "setuid", b"");
    std::fs::set_permissions(upper.path("setuid"), PermissionsExt::from_mode(0o4755)).unwrap();
    file(&upper, "old", b"");
    set_mtime(&upper, "old", -5, 999_999_999);
    set_mtime(&upper, "setuid", 1_700_000_000, 999_999_999);
    upper
}

#[test]
fn an_upper_directory_becomes_sorted_entries() {
    insta::assert_snapshot!(sample().listing(), @r"
    - 0644 a-link
    d 0755 etc/
    - 0000 etc/.wh.removed
    h 0644 etc/conf = a-link
    p 0600 etc/fifo
    l 0000 etc/symlink -> /anywhere
    - 0644 old
    d 0755 opaque/
    - 0000 opaque/.wh..wh..opq
    - 0644 opaque/kept
    - 4755 setuid
    ");
}

#[test]
fn only_the_image_s_own_metadata_is_written() {
    let tar = sample().tar();
    let mut archive = tar::Archive::new(&tar[..]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!(header.username().unwrap(), Some(""));
        assert_eq!(header.groupname().unwrap(), Some(""));
        let path = entry.path().unwrap().display().to_string();
        if path.contains(".wh.") {
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0, 0));
        }
        if path == "setuid" {
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
        }
        let keys: Vec<String> = match entry.pax_extensions().unwrap() {
            // Not those whose value has a newline in it: that reader cannot tell.
            Some(records) => records
                .filter_map(|r| r.ok()?.key().ok().map(str::to_owned))
                .collect(),
            None => Vec::new(),
        };
        match path.as_str() {
            "old" => assert_eq!(keys, ["mtime"]),
            "opaque/" => assert!(!keys.iter().any(|key| key.contains("overlay")), "{keys:?}"),
            _ => assert!(keys.is_empty(), "{path}: {keys:?}"),
        }
    }
}

#[test]
fn tar_to_tree_to_tar_is_the_same_tar() {
    let first = sample().tar();
    let again = Tree::new();
    // As root, owners too.
    let options = if root("keeping owners in a round trip") {
        UnpackOptions {
            user_xattrs: true,
            ..UnpackOptions::default()
        }
    } else {
        anybody()
    };
    layer(&first[..], again.fd(), &options).unwrap();
    assert!(first == again.tar());
}

#[test]
fn hashing_gives_the_digest_of_what_would_be_written() {
    let upper = sample();
    file(&upper, "big", &vec![3; 3 << 20]);
    let (diff_id, size) = diff::diff_id(upper.fd(), &TarOptions::default()).unwrap();
    let tar = upper.tar();
    assert_eq!(diff_id.0, Digest::sha256(&tar));
    assert_eq!(size, tar.len() as u64);
}

#[test]
fn only_content_counts_as_size_of_files() {
    let upper = Tree::new();
    file(&upper, "a", &[1; 1000]);
    file(&upper, "b", &[2; 24]);
    let measured = diff::measure(upper.fd(), &TarOptions::default(), &|| Ok(())).unwrap();
    assert_eq!(measured.size_files, 1024);
    assert!(measured.size_tar > 1024);
}

#[test]
fn no_change_is_the_empty_layer() {
    let upper = Tree::new();
    let (diff_id, size) = diff::diff_id(upper.fd(), &TarOptions::default()).unwrap();
    // Two zero blocks, as docker's engine knows them.
    assert_eq!(
        diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    assert_eq!(size, 1024);
}

#[test]
fn times_are_clamped() {
    let upper = Tree::new();
    file(&upper, "new", b"");
    file(&upper, "old", b"");
    set_mtime(&upper, "old", 5, 0);
    let options = TarOptions {
        clamp_mtime: Some(100),
    };
    let mut tar = Vec::new();
    diff::write_tar(upper.fd(), &options, &mut tar).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let times: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|e| e.unwrap().header().mtime().unwrap())
        .collect();
    assert_eq!(times, [100, 5]);
}

#[test]
fn what_has_no_place_in_a_layer() {
    let upper = Tree::new();
    let _listener = UnixListener::bind(upper.path("socket")).unwrap();
    assert_eq!(upper.listing(), "");
    file(&upper, ".wh.fake", b"");
    let refused = |upper: &Tree| {
        diff::write_tar(upper.fd(), &TarOptions::default(), &mut std::io::sink()).unwrap_err()
    };
    assert!(matches!(refused(&upper), TarError::ReservedName(_)));
    std::fs::remove_file(upper.path(".wh.fake")).unwrap();
    dir(&upper, "moved");
    let name = "user.overlay.redirect";
    setxattr(upper.path("moved"), name, b"/old", XattrFlags::empty()).unwrap();
    assert!(matches!(refused(&upper), TarError::Indirect(_)));
}

#[test]
fn a_whole_tree_has_no_whiteouts() {
    let rootfs = Tree::new();
    dir(&rootfs, "etc");
    file(&rootfs, "etc/.wh.name", b"");
    let mut tar = Vec::new();
    let size = tree::write_tar(rootfs.fd(), &TarOptions::default(), &mut tar).unwrap();
    assert_eq!(
        super::testing::listing(&tar),
        "d 0755 etc/\n- 0644 etc/.wh.name\n"
    );
    let (digest, hashed) = tree::diff_id(rootfs.fd(), &TarOptions::default()).unwrap();
    assert_eq!((digest.0, hashed), (Digest::sha256(&tar), size));
}

#[test]
fn devices_are_written() {
    if !root("making device nodes") {
        return;
    }
    let upper = Tree::new();
    node(&upper, "null", FileType::CharacterDevice, (1, 3));
    node(&upper, "disk", FileType::BlockDevice, (259, 70_000));
    let trusted = "trusted.overlay.opaque";
    dir(&upper, "opaque");
    setxattr(upper.path("opaque"), trusted, b"y", XattrFlags::empty()).unwrap();
    insta::assert_snapshot!(upper.listing(), @r"
    b 0600 disk 259:70000
    c 0600 null 1:3
    d 0755 opaque/
    - 0000 opaque/.wh..wh..opq
    ");
    let tar = upper.tar();
    let again = Tree::new();
    layer(&tar[..], again.fd(), &UnpackOptions::default()).unwrap();
    assert!(tar == again.tar());
}

#[test]
fn a_writer_that_fails_is_told_apart_from_a_tree_that_does() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = diff::write_tar(sample().fd(), &TarOptions::default(), &mut Full).unwrap_err();
    assert!(matches!(error, TarError::Write(_)));
}

fn name() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::strategy::Strategy;
    proptest::collection::vec(1u8.., 1..60).prop_filter_map("no file name", |mut name| {
        for b in &mut name {
            if *b == b'/' {
                *b = b'\n';
            }
        }
        let special = name == b"." || name == b".." || name.starts_with(b".wh.");
        (!special).then_some(name)
    })
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn any_names_survive(
        paths in proptest::collection::vec(proptest::collection::vec(name(), 1..6), 1..8),
    ) {
        let upper = Tree::new();
        for path in &paths {
            let path = upper.path(OsStr::from_bytes(&path.join(&b'/')));
            // Where one path is another's parent, the first that came wins.
            if std::fs::create_dir_all(path.parent().unwrap()).is_ok() {
                let _ = symlink(&path, &path);
            }
        }
        let first = upper.tar();
        let again = Tree::new();
        layer(&first[..], again.fd(), &anybody()).unwrap();
        proptest::prop_assert!(first == again.tar());
    }
}
