use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rustix::fs::{XattrFlags, lgetxattr, setxattr};

use super::*;
use crate::layer::header::{Header, Kind};
use crate::layer::testing::{Tar, Tree, anybody, header, listing, root};
use crate::layer::{MAX_DEPTH, MAX_PATH};

fn xattr(tree: &Tree, path: &str, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let len = lgetxattr(tree.path(path), name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

fn opaque(tree: &Tree, path: &str) -> bool {
    xattr(tree, path, "user.overlay.opaque").as_deref() == Some(b"y")
}

fn whiteout(tree: &Tree, path: &str) -> bool {
    let metadata = std::fs::symlink_metadata(tree.path(path)).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

#[test]
fn absolute_paths_land_inside() {
    let tree = Tar::default().file("/abs/file", "x").unpacked();
    assert_eq!(tree.read("abs/file"), "x");
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in ["../x", "a/../../x", "/../x", ".."] {
        let error = Tar::default().file(path, "x").refusal();
        assert!(error.contains("leads out of the root"), "{path}: {error}");
    }
    let tree = Tar::default().file("a/../x", "x").unpacked();
    assert_eq!(tree.names(""), ["x"]);
}

#[test]
fn a_name_with_nul_is_refused() {
    assert!(Tar::default().file([b'a'; 200], "x").layer().1.is_ok());
    let mut name = [b'a'; 200];
    name[50] = 0;
    assert!(Tar::default().file(name, "x").refusal().contains("NUL"));
}

#[test]
fn the_root_can_only_be_a_directory() {
    for path in ["", ".", "./", "/"] {
        let error = Tar::default().symlink(path, "/etc").refusal();
        assert!(error.contains("is empty"), "{path:?}: {error}");
    }
    let tree = Tar::default().dir("./", 0o711).unpacked();
    assert_eq!(tree.mode(""), 0o711);
    assert_eq!(tree.mtime(""), 1_000_000_000);
}

#[test]
fn nothing_is_written_through_an_absolute_symlink() {
    let outside = Tree::new();
    let to = outside.0.path().to_str().unwrap();
    let error = Tar::default().symlink("a", to).file("a/x", "x").refusal();
    assert!(error.contains("a is no directory"), "{error}");
    assert!(outside.names("").is_empty());
    let tree = Tar::default().symlink("a", "/").file("a/x", "x").unpacked();
    assert_eq!(tree.read("x"), "x");
    let tree = Tar::default()
        .symlink("a", "../../..")
        .file("a/x", "x")
        .unpacked();
    assert_eq!(tree.read("x"), "x");
}

#[test]
fn a_hard_link_to_the_outside_is_refused() {
    let outside = Tree::new();
    std::fs::write(outside.path("secret"), "s").unwrap();
    let to = outside.path("secret");
    let error = Tar::default()
        .hard_link("link", to.to_str().unwrap())
        .refusal();
    assert!(error.contains("does not exist here"), "{error}");
    let error = Tar::default()
        .hard_link("link", "../../etc/passwd")
        .refusal();
    assert!(error.contains("leads out"), "{error}");
    let error = Tar::default().hard_link("link", "/").refusal();
    assert!(error.contains("does not exist here"), "{error}");
}

#[test]
fn a_hard_link_through_an_absolute_symlink_stays_inside() {
    let outside = Tree::new();
    std::fs::write(outside.path("secret"), "s").unwrap();
    let error = Tar::default()
        .symlink("out", outside.0.path().to_str().unwrap())
        .hard_link("link", "out/secret")
        .refusal();
    assert!(error.contains("does not exist here"), "{error}");
    // To the symbolic link itself, never to what it points to.
    let tree = Tar::default()
        .symlink("out", "/etc/passwd")
        .hard_link("link", "out")
        .unpacked();
    assert_eq!(
        tree.listing(),
        "l 0000 link -> /etc/passwd\nh 0777 out = link\n"
    );
}

#[test]
fn a_directory_in_place_of_a_symlink_leaves_the_target_alone() {
    let outside = Tree::new();
    std::fs::set_permissions(outside.0.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let tree = Tar::default()
        .symlink("a", outside.0.path().to_str().unwrap())
        .dir("a/", 0o777)
        .file("a/x", "x")
        .unpacked();
    assert_eq!(outside.mode(""), 0o700);
    assert!(outside.names("").is_empty());
    assert_eq!(tree.read("a/x"), "x");
}

#[test]
fn a_file_in_place_of_a_link_is_a_new_file() {
    let outside = Tree::new();
    std::fs::write(outside.path("file"), "old").unwrap();
    let tree = Tar::default()
        .symlink("a", outside.path("file").to_str().unwrap())
        .file("a", "new")
        .file("b", "shared")
        .hard_link("c", "b")
        .file("c", "own")
        .unpacked();
    assert_eq!(outside.read("file"), "old");
    assert_eq!(tree.read("a"), "new");
    assert_eq!(
        (tree.read("b"), tree.read("c")),
        ("shared".into(), "own".into())
    );
}

#[test]
fn a_directory_gives_way_to_a_file_whole() {
    let tree = Tar::default()
        .file("a/b/c/d", "x")
        .file("a/b/e", "x")
        .symlink("a/b/c/l", "/")
        .file("a", "file")
        .unpacked();
    assert_eq!(tree.read("a"), "file");
}

#[test]
fn paths_too_deep_or_long_are_refused() {
    for path in ["d/".repeat(MAX_DEPTH) + "f", "n".repeat(MAX_PATH + 1)] {
        let error = Tar::default().file(path, "").refusal();
        assert!(error.contains("too long or too deep"), "{error}");
    }
    // What can be unpacked can be packed again.
    let deepest = "d/".repeat(MAX_DEPTH - 2) + "f";
    let tree = Tar::default().file(deepest, "").unpacked();
    assert_eq!(tree.listing().lines().count(), MAX_DEPTH - 1);
}

#[test]
fn limits_end_the_unpacking() {
    let limited = |tar: &Tar, max_bytes, max_entries| {
        let options = UnpackOptions {
            limits: Limits {
                max_bytes,
                max_entries,
            },
            ..anybody()
        };
        let tree = Tree::new();
        layer(&tar.0[..], tree.fd(), &options)
    };
    let tar = Tar::default().file("a", "12345").file("b", "67890");
    assert_eq!(limited(&tar, 10, 2).unwrap().bytes, 10);
    assert!(matches!(
        limited(&tar, 9, 2),
        Err(UnpackError::TooManyBytes(9))
    ));
    assert!(matches!(
        limited(&tar, 10, 1),
        Err(UnpackError::TooManyEntries(1))
    ));
    // Refused by what it claims, before anything is written.
    let huge = Tar::default().entry(
        &Header {
            size: 1 << 40,
            ..header(b"huge", Kind::File)
        },
        b"",
    );
    assert!(matches!(
        limited(&huge, 1 << 30, 2),
        Err(UnpackError::TooManyBytes(_))
    ));
}

#[test]
fn bookkeeping_of_overlay_in_an_archive_is_dropped() {
    let xattrs = [
        ("security.selinux", "x"),
        ("trusted.overlay.opaque", "y"),
        ("trusted.overlay.redirect", "/etc"),
        ("user.kept", "yes\n=\0"),
        ("user.overlay.opaque", "y"),
    ]
    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let tree = Tar::default()
        .entry(
            &Header {
                xattrs: &xattrs,
                mode: 0o755,
                ..header(b"d/", Kind::Directory)
            },
            b"",
        )
        .unpacked();
    assert_eq!(xattr(&tree, "d", "user.kept").unwrap(), b"yes\n=\0");
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
    ] {
        assert_eq!(xattr(&tree, "d", name), None, "{name}");
    }
}

#[test]
fn privileges_are_kept_for_root() {
    if !root("unpacking devices, owners and capabilities") {
        return;
    }
    // cap_net_raw+ep
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let xattrs = [(b"security.capability".to_vec(), capability.clone())];
    let tar = Tar::default()
        .entry(
            &Header {
                mode: 0o4755,
                uid: 33,
                gid: 44,
                xattrs: &xattrs,
                ..header(b"ping", Kind::File)
            },
            b"",
        )
        .entry(
            &Header {
                device: (1, 3),
                mode: 0o666,
                ..header(b"null", Kind::Char)
            },
            b"",
        )
        .entry(&header(b"fifo", Kind::Fifo), b"");
    let tree = Tree::new();
    layer(&tar.0[..], tree.fd(), &UnpackOptions::default()).unwrap();
    let ping = std::fs::metadata(tree.path("ping")).unwrap();
    assert_eq!(
        (ping.uid(), ping.gid(), ping.mode() & 0o7777),
        (33, 44, 0o4755)
    );
    assert_eq!(
        xattr(&tree, "ping", "security.capability").unwrap(),
        capability
    );
    assert_eq!(
        tree.listing(),
        "p 0644 fifo\nc 0666 null 1:3\n- 4755 ping\n"
    );
    assert_eq!(tree.tar(), {
        let again = Tree::new();
        layer(&tree.tar()[..], again.fd(), &UnpackOptions::default()).unwrap();
        again.tar()
    });
}

#[test]
fn whiteouts_become_devices() {
    let tree = Tar::default()
        .dir("d/", 0o755)
        .file("d/.wh.gone", "")
        .file(".wh.top", "")
        .unpacked();
    assert!(whiteout(&tree, "d/gone") && whiteout(&tree, "top"));
    assert_eq!(
        tree.listing(),
        "- 0000 .wh.top\nd 0755 d/\n- 0000 d/.wh.gone\n"
    );
}

#[test]
fn whiteouts_that_name_nothing_are_refused() {
    for path in [".wh.", "d/.wh..", ".wh...", "d/.wh..."] {
        let error = Tar::default().file(path, "").refusal();
        assert!(error.contains("names no file"), "{path}: {error}");
    }
    let error = Tar::default().file(".wh.d/file", "").refusal();
    assert!(error.contains("below a whiteout"), "{error}");
    let tree = Tar::default()
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "")
        .unpacked();
    assert!(tree.names("").is_empty());
}

#[test]
fn a_whiteout_spares_what_its_own_layer_brings() {
    let before = Tar::default()
        .file(".wh.file", "")
        .file("file", "new")
        .file(".wh.dir", "")
        .file("dir/f", "new")
        .file(".wh.dir2", "")
        .dir("dir2/", 0o755);
    let after = Tar::default()
        .file("file", "new")
        .file(".wh.file", "")
        .file("dir/f", "new")
        .file(".wh.dir", "")
        .dir("dir2/", 0o755)
        .file(".wh.dir2", "");
    for tar in [before, after] {
        let tree = tar.unpacked();
        assert_eq!(
            (tree.read("file"), tree.read("dir/f")),
            ("new".into(), "new".into())
        );
        assert!(opaque(&tree, "dir") && opaque(&tree, "dir2"));
    }
}

#[test]
fn opaque_whiteouts_mark_their_directory() {
    let (tree, done) = Tar::default()
        .file("d/.wh..wh..opq", "")
        .file("d/f", "x")
        .layer();
    assert!(!done.unwrap().opaque_root);
    assert!(opaque(&tree, "d"));
    assert_eq!(
        tree.listing(),
        "d 0755 d/\n- 0000 d/.wh..wh..opq\n- 0644 d/f\n"
    );
    let (tree, done) = Tar::default()
        .file(".wh..wh..opq", "")
        .file("f", "")
        .layer();
    assert!(done.unwrap().opaque_root);
    assert_eq!(tree.listing(), "- 0000 .wh..wh..opq\n- 0644 f\n");
}

#[test]
fn parents_that_are_left_out_are_made() {
    let tree = Tar::default().file("a/b/c", "x").unpacked();
    assert_eq!((tree.mode("a"), tree.mode("a/b")), (0o755, 0o755));
    assert_eq!((tree.mtime("a"), tree.mtime("a/b")), (0, 0));
    let error = Tar::default().file("a", "").file("a/b", "").refusal();
    assert!(error.contains("a is no directory"), "{error}");
}

#[test]
fn directories_get_times_and_modes_at_the_end() {
    let tree = Tar::default()
        .dir("d/", 0o555)
        .dir("d/e/", 0o500)
        .file("d/e/f", "x")
        .file("d/g", "x")
        .unpacked();
    assert_eq!((tree.mode("d"), tree.mode("d/e")), (0o555, 0o500));
    for path in ["d", "d/e", "d/e/f", "d/g"] {
        assert_eq!(tree.mtime(path), 1_000_000_000, "{path}");
    }
    for path in ["d", "d/e"] {
        std::fs::set_permissions(tree.path(path), PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_link_to_itself_is_left_alone() {
    let tree = Tar::default()
        .file("a", "x")
        .hard_link("a", "./a")
        .unpacked();
    assert_eq!(tree.read("a"), "x");
}

#[test]
fn a_truncated_archive_is_an_error() {
    let tar = Tar::default().file("a", "some content");
    let tree = Tree::new();
    for len in [100, 513, 520] {
        let error = layer(&tar.0[..len], tree.fd(), &anybody()).unwrap_err();
        assert!(matches!(error, UnpackError::Read(_)), "{error}");
    }
}

fn add(tar: &Tar, tree: &Tree, dest: &str) -> Result<Unpacked, UnpackError> {
    let dest = std::fs::File::open(tree.path(dest)).unwrap();
    archive(&tar.0[..], dest, &anybody())
}

#[test]
fn adding_merges_directories_and_replaces_the_rest() {
    let tree = Tree::new();
    std::fs::create_dir_all(tree.path("opt/kept")).unwrap();
    std::fs::write(tree.path("opt/kept/old"), "old").unwrap();
    std::fs::write(tree.path("opt/file"), "old").unwrap();
    symlink("/nowhere", tree.path("opt/link")).unwrap();
    std::fs::create_dir(tree.path("opt/dir")).unwrap();
    let mode = tree.mode("opt");
    let tar = Tar::default()
        .dir("./", 0o700)
        .dir("./kept/", 0o711)
        .file("./kept/new", "new")
        .file("./file", "new")
        .file("./link", "new")
        .file("./dir", "new")
        .file("./.wh.file", "plain");
    add(&tar, &tree, "opt").unwrap();
    assert_eq!(tree.mode("opt"), mode);
    assert_eq!(tree.mode("opt/kept"), 0o711);
    assert_eq!(tree.names("opt/kept"), ["new", "old"]);
    for file in ["file", "link", "dir"] {
        assert_eq!(tree.read(format!("opt/{file}")), "new");
    }
    assert_eq!(tree.read("opt/.wh.file"), "plain");
}

#[test]
fn adding_sees_nothing_but_the_destination() {
    let outside = Tree::new();
    let tree = Tree::new();
    std::fs::create_dir_all(tree.path("dst/usr/lib")).unwrap();
    std::fs::create_dir(tree.path("etc")).unwrap();
    std::fs::write(tree.path("etc/passwd"), "the image's").unwrap();
    symlink("/usr/lib", tree.path("dst/lib")).unwrap();
    symlink("../../../usr", tree.path("dst/up")).unwrap();
    symlink(outside.0.path(), tree.path("dst/out")).unwrap();
    // As for a process whose root the destination is: docker extracts in one.
    for (tar, lands_at) in [
        (Tar::default().file("lib/a", "new"), "dst/usr/lib/a"),
        (Tar::default().file("up/b", "new"), "dst/usr/b"),
        (Tar::default().file("../c", "new"), "dst/c"),
        (Tar::default().file("x/../../../d", "new"), "dst/d"),
        (Tar::default().file("/e", "new"), "dst/e"),
        (
            Tar::default()
                .symlink("l", "..")
                .file("l/etc/passwd", "new"),
            "dst/etc/passwd",
        ),
        (
            Tar::default().symlink("m", "/etc").file("m/group", "new"),
            "dst/etc/group",
        ),
        (
            Tar::default().file("n", "new").hard_link("o", "../n"),
            "dst/o",
        ),
        (
            Tar::default()
                .dir("p/", 0o755)
                .symlink("p/q", "../r")
                .dir("r/", 0o755)
                .file("p/q/s", "new"),
            "dst/r/s",
        ),
    ] {
        add(&tar, &tree, "dst").unwrap();
        assert_eq!(tree.read(lands_at), "new", "{lands_at}");
    }
    // What would have to lie outside is not there.
    std::fs::remove_dir_all(tree.path("dst/etc")).unwrap();
    for tar in [
        Tar::default().symlink("l", "/etc").file("l/passwd", ""),
        Tar::default().file("out/x", ""),
        Tar::default().hard_link("h", "../etc/passwd"),
        Tar::default().hard_link("h", "/etc/passwd"),
        Tar::default()
            .symlink("l", "/etc")
            .hard_link("h", "l/passwd"),
        Tar::default().symlink("l", "l").file("l/x", ""),
    ] {
        add(&tar, &tree, "dst").unwrap_err();
    }
    assert_eq!(tree.read("etc/passwd"), "the image's");
    assert_eq!(tree.names("etc"), ["passwd"]);
    assert!(outside.names("").is_empty());
}

#[test]
fn adding_leaves_out_what_has_no_name() {
    let tree = Tree::new();
    let mode = tree.mode("");
    let tar = Tar::default()
        .file("a", "1")
        .file("", "none")
        .dir("./", 0o700)
        .dir("..", 0o700)
        .file("b", "2");
    add(&tar, &tree, "").unwrap();
    assert_eq!(tree.names(""), ["a", "b"]);
    assert_eq!((tree.read("b"), tree.mode("")), ("2".to_owned(), mode));
}

#[test]
fn adding_resolves_hard_links_from_the_destination() {
    let tree = Tree::new();
    std::fs::create_dir(tree.path("opt")).unwrap();
    add(
        &Tar::default().file("a", "x").hard_link("b", "a"),
        &tree,
        "opt",
    )
    .unwrap();
    let inode = |path| std::fs::metadata(tree.path(path)).unwrap().ino();
    assert_eq!(inode("opt/a"), inode("opt/b"));
}

#[test]
fn adding_can_change_the_owner() {
    if !root("changing owners") {
        return;
    }
    let tree = Tree::new();
    let options = UnpackOptions {
        ownership: Ownership::Fixed { uid: 5, gid: 6 },
        ..UnpackOptions::default()
    };
    let tar = Tar::default().file("a/f", "x").symlink("l", "x");
    archive(&tar.0[..], tree.fd(), &options).unwrap();
    for path in ["a", "a/f", "l"] {
        let metadata = std::fs::symlink_metadata(tree.path(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (5, 6), "{path}");
    }
}

#[test]
fn gnu_tar_archives_unpack_to_what_was_packed() {
    let tree = Tree::new();
    let long = "n".repeat(200);
    std::fs::create_dir(tree.path(&long)).unwrap();
    std::fs::write(tree.path(&long).join(&long), "long").unwrap();
    let holey = std::fs::File::create(tree.path("holey")).unwrap();
    for i in 0..40u64 {
        std::os::unix::fs::FileExt::write_at(&holey, b"data", i << 17).unwrap();
    }
    holey.set_len(10 << 20).unwrap();
    symlink("l".repeat(150), tree.path("link")).unwrap();
    std::fs::hard_link(tree.path("holey"), tree.path("other")).unwrap();
    setxattr(tree.path("holey"), "user.x", b"a\nb", XattrFlags::empty()).unwrap();
    for format in ["--format=gnu", "--format=posix", "--format=oldgnu"] {
        for sparse in ["--no-check-device", "--sparse"] {
            let output = Command::new("tar")
                .args(["-c", format, sparse, "--xattrs", "-C"])
                .arg(tree.0.path())
                .arg(".")
                .output();
            let Ok(output) = output else {
                println!("skipped: comparing with GNU tar needs a tar program");
                return;
            };
            if !output.status.success() {
                // Only posix knows extended attributes; the others do not mind.
                panic!("{}", String::from_utf8_lossy(&output.stderr));
            }
            let again = Tree::new();
            layer(&output.stdout[..], again.fd(), &anybody()).unwrap();
            let (expected, found) = (listing(&tree.tar()), listing(&again.tar()));
            assert_eq!(expected, found, "{format} {sparse}");
            assert!(
                std::fs::read(tree.path("holey")).unwrap()
                    == std::fs::read(again.path("holey")).unwrap(),
                "{format} {sparse}"
            );
            if sparse == "--sparse" {
                let blocks = std::fs::metadata(again.path("holey")).unwrap().blocks();
                assert!(blocks * 512 < 5 << 20, "{blocks}");
            }
        }
    }
}
