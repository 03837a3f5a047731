//! Overlay, mount points, binds: and nothing of them left.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use runtime::{Access, Dns, Hidden, Mount, MountKind, Node, overlay};
use rustix::fs::{FileType, Mode, OFlags};

use crate::harness::{Image, Test, failure, output, ran};

pub const TESTS: &[Test] = &[
    ("nothing_of_ours_is_in_the_upper_directory", clean_upper),
    (
        "hidden_mount_points_are_made_and_removed",
        hidden_mount_points,
    ),
    ("unusable_mount_points_are_refused", unusable_mount_points),
    ("binds_and_memory_file_systems", binds),
    ("parts_files_and_nested_mounts", parts),
    ("device_nodes_open_as_dockers", device_nodes),
    ("read_only_root", read_only_root),
    ("names_and_hosts", names),
    ("overlay_takes_any_name_and_many_layers", overlays),
    ("overlay_shows_whiteouts_and_merges", merged),
];

fn clean_upper() -> Result<(), String> {
    let image = Image::new();
    assert!(ran(&image.spec(&["true"])).status.success());
    assert!(image.changes().is_empty(), "{:?}", image.changes());
    output(&image.sh("echo x > /etc/new; touch /root/f; (echo y > /etc/hosts) 2>/dev/null; true"));
    assert_eq!(image.changes(), ["etc", "etc/new", "root", "root/f"]);
    let mode = fs::metadata(image.upper().join("etc/new"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o644);
    Ok(())
}

fn hidden_mount_points() -> Result<(), String> {
    let image = Image::new();
    // A layer that deleted /etc/hosts, as a whiteout.
    let whiteout = image.file("etc/hosts");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &whiteout,
        FileType::CharacterDevice,
        Mode::empty(),
        0,
    )
    .unwrap();
    assert!(output(&image.sh("cat /etc/hosts")).starts_with("127.0.0.1\tlocalhost"));
    assert!(image.changes().is_empty(), "{:?}", image.changes());
    // And one that replaced all of /etc.
    fs::remove_file(whiteout).unwrap();
    let etc = image.lowers[0].join("etc");
    rustix::fs::setxattr(
        &etc,
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    assert_eq!(
        output(&image.sh("busybox tail -1 /etc/hosts; echo z > /etc/own")),
        "127.0.0.1\tlocalhost"
    );
    assert_eq!(image.changes(), ["etc", "etc/own"]);
    Ok(())
}

fn unusable_mount_points() -> Result<(), String> {
    let image = Image::new();
    let proc = image.file("proc");
    fs::write(&proc, "").unwrap();
    assert_eq!(
        failure(&image.spec(&["true"])).to_string(),
        "cannot mount on /proc in the container: the image has something there that is not a \
         directory"
    );
    fs::remove_file(&proc).unwrap();
    symlink("/tmp", &proc).unwrap();
    assert_eq!(
        failure(&image.spec(&["true"])).to_string(),
        "cannot mount on /proc in the container: the image has a symbolic link to /tmp there"
    );
    assert!(image.changes().is_empty());
    Ok(())
}

fn binds() -> Result<(), String> {
    let image = Image::new();
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("f"), "hello\n").unwrap();
    let fd = rustix::fs::open(host.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let script = "cat /m/a/f /file; touch /m/a/x 2>/dev/null || echo read-only; touch /m/b/made; \
                  touch /t/x; busybox stat -c %a /t; ls /m/c";
    let spec = image
        .sh(script)
        .mount(Mount::bind(host.path(), "/m/a", true))
        .mount(Mount::bind(host.path(), "/m/b", false))
        .mount(Mount::tree(Arc::new(fd), "/m/c", true))
        .mount(Mount::bind(host.path().join("f"), "/file", true))
        .mount(Mount::tmpfs("/t", Some(1 << 20)));
    assert_eq!(output(&spec), "hello\nhello\nread-only\n1777\nf\nmade");
    assert!(host.path().join("made").exists());
    assert!(image.changes().is_empty(), "{:?}", image.changes());
    // Another overlay, mounted nowhere, as a build stage is bound.
    let tree = overlay::mount_detached(&image.lowers, None).unwrap();
    let spec = image
        .sh("ls /stage")
        .mount(Mount::tree(Arc::new(tree), "/stage", true));
    assert_eq!(output(&spec), "bin\nroot\ntmp");
    Ok(())
}

/// Parts of trees, files in memory, mounts below mounts.
fn parts() -> Result<(), String> {
    let image = Image::new();
    let tree = || Arc::new(overlay::mount_detached(&image.lowers, None).unwrap());
    fs::create_dir_all(image.file("a/b")).unwrap();
    fs::write(image.file("a/b/f"), "part\n").unwrap();
    symlink("/a/b", image.file("link")).unwrap();
    symlink("../../../a/b/f", image.file("a/out")).unwrap();
    let part = |below: &str, target: &str| Mount {
        target: target.to_owned(),
        kind: MountKind::Tree {
            tree: tree(),
            below: below.to_owned(),
            readonly: true,
        },
    };
    let secret = Mount {
        target: "/t/s/secret".to_owned(),
        kind: MountKind::File {
            content: Hidden(b"hidden".to_vec()),
            uid: 5,
            gid: 6,
            mode: 0o440,
        },
    };
    let script = "cat /x/f /y; cat /t/c/f; ls /t; busybox stat -c '%u:%g %a' /t/s/secret; \
                  cat /t/s/secret; touch /x/new 2>/dev/null || echo read-only";
    let spec = image
        .sh(script)
        .mount(part("/link", "/x"))
        .mount(part("/a/out", "/y"))
        .mount(Mount::tmpfs("/t", None))
        .mount(part("/a/b", "/t/c"))
        .mount(secret);
    let want = "part\npart\npart\nc\ns\n5:6 440\nhiddenread-only";
    assert_eq!(output(&spec), want);
    assert!(!format!("{spec:?}").contains("hidden"));
    assert!(image.changes().is_empty(), "{:?}", image.changes());
    Ok(())
}

/// With a device control group, nodes open as Docker's do, wherever they are made.
fn device_nodes() -> Result<(), String> {
    let image = Image::new();
    // None of these is on Docker's list. Some hosts forbid one or the other themselves.
    let usable = ["/dev/loop-control", "/dev/fuse", "/dev/loop0"].into_iter();
    let Some(stat) = usable
        .filter(|path| fs::File::open(path).is_ok())
        .find_map(|path| rustix::fs::stat(path).ok())
    else {
        return Err("needs /dev/loop-control, /dev/fuse or /dev/loop0".to_owned());
    };
    let block = FileType::from_raw_mode(stat.st_mode).is_block_device();
    let letter = if block { 'b' } else { 'c' };
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    let script = format!(
        "mk() {{ busybox mknod $1 $2 $3 $4 && (: <$1) 2>/dev/null && echo $1; }}; \
         mk /null c 1 3; mk /other {letter} {major} {minor}; mk /dev/own c 1 5; mk /t/zero c 1 5; \
         (: </dev/vendor) 2>/dev/null && echo added; true"
    );
    let node = Node {
        path: "/dev/vendor".to_owned(),
        block,
        major,
        minor,
        mode: 0o600,
        uid: 0,
        gid: 0,
        access: Access::ALL,
    };
    let spec = || image.sh(&script).mount(Mount::tmpfs("/t", None));
    // Without one, none but what is bound into /dev.
    assert_eq!(output(&spec()), "");
    assert_eq!(output(&spec().node(node.clone())), "added");
    assert_eq!(output(&spec().usual_devices()), "/null\n/dev/own\n/t/zero");
    // A device that was added may be opened by any node of it.
    let opened = output(&spec().usual_devices().node(node));
    assert_eq!(opened, "/null\n/other\n/dev/own\n/t/zero\nadded");
    Ok(())
}

fn read_only_root() -> Result<(), String> {
    let image = Image::new();
    let spec = image.sh("touch /x 2>/dev/null || echo no; touch /dev/shm/y && echo yes");
    assert_eq!(output(&spec.readonly(true)), "no\nyes");
    Ok(())
}

fn names() -> Result<(), String> {
    let image = Image::new();
    let dns = Dns {
        servers: vec!["192.0.2.53".to_owned()],
        search: vec!["example.com".to_owned()],
        options: Vec::new(),
    };
    let spec = image
        .sh("hostname; cat /etc/resolv.conf; busybox tail -2 /etc/hosts")
        .hostname("named")
        .extra_host("db", "10.0.0.7")
        .dns(dns);
    assert_eq!(
        output(&spec),
        "named\nnameserver 192.0.2.53\nsearch example.com\n10.0.0.7\tdb\n127.0.0.1\tnamed"
    );
    let broken = image.sh("true").extra_host("a\n0.0.0.0 b", "1.2.3.4");
    assert!(failure(&broken).to_string().contains("line break"));
    Ok(())
}

fn overlays() -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let odd = ["a:b", "c,d", "e\\f", "g h", "ü"];
    let mut lowers: Vec<PathBuf> = odd.iter().map(|name| dir.path().join(name)).collect();
    lowers.extend((0..400).map(|n| dir.path().join(format!("layer-{n:03}"))));
    for (n, lower) in lowers.iter().enumerate() {
        fs::create_dir(lower).unwrap();
        fs::write(lower.join(format!("f{n}")), n.to_string()).unwrap();
        fs::write(lower.join("top"), n.to_string()).unwrap();
    }
    let read = |tree: &std::os::fd::OwnedFd, name: &str| {
        let fd = rustix::fs::openat(tree.as_fd(), name, OFlags::RDONLY, Mode::empty()).unwrap();
        let mut text = String::new();
        fs::File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    let tree = overlay::mount_detached(&lowers, None).unwrap();
    assert_eq!(
        (read(&tree, "top"), read(&tree, "f404")),
        ("0".to_owned(), "404".to_owned())
    );
    let single = overlay::mount_detached(&lowers[3..4], None).unwrap();
    assert_eq!(read(&single, "top"), "3");
    let create = OFlags::WRONLY | OFlags::CREATE;
    let refused = rustix::fs::openat(single.as_fd(), "new", create, Mode::RUSR).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::ROFS);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        !mounts.contains(dir.path().to_str().unwrap()),
        "attached nowhere"
    );
    let missing = overlay::mount_detached(&[dir.path().join("none")], None).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
    Ok(())
}

fn merged() -> Result<(), String> {
    let mut image = Image::new();
    let top = image.path().join("top");
    fs::create_dir_all(top.join("data")).unwrap();
    fs::write(top.join("data/new"), "").unwrap();
    fs::create_dir_all(image.file("data/old").parent().unwrap()).unwrap();
    fs::write(image.file("data/old"), "").unwrap();
    image.lowers.insert(0, top);
    assert_eq!(
        output(&image.sh("ls /data; busybox rm /data/old")),
        "new\nold"
    );
    let deleted = fs::symlink_metadata(image.upper().join("data/old")).unwrap();
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    assert!(deleted.file_type().is_char_device() && deleted.rdev() == 0);
    Ok(())
}
