//! COPY and ADD between two directories.

use super::*;
use crate::files::select::Everything;
use crate::plan::CopyFrom;
use std::os::unix::fs::MetadataExt;

struct World {
    dirs: (tempfile::TempDir, tempfile::TempDir),
    is_context: bool,
}

impl World {
    /// Nothing when files cannot be given to root here.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: copying sets owners, which needs root");
            return None;
        }
        let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["a.txt", "b.txt", "c.md"] {
            std::fs::write(dirs.0.path().join(name), name).unwrap();
        }
        std::fs::create_dir(dirs.1.path().join("dir")).unwrap();
        std::fs::write(dirs.1.path().join("file"), "old").unwrap();
        Some(Self {
            dirs,
            is_context: true,
        })
    }

    fn copy(&self, sources: &[&str], dest: &str, with: &dyn Fn(&mut CopyOp)) -> Result<(), String> {
        let source = Rootfs::open(self.dirs.0.path()).unwrap();
        let tree = OpenTree {
            rootfs: &source,
            filter: &Everything,
            is_context: self.is_context,
            stop: &Stop::default(),
        };
        let sources = sources.iter().map(|s| CopySource::Path((*s).to_owned()));
        let mut op = CopyOp {
            from: CopyFrom::Context,
            sources: sources.collect(),
            dest: dest.to_owned(),
            chown: None,
            chmod: None,
            parents: false,
            link: false,
            exclude: Vec::new(),
            unpack_local: true,
            unpack: None,
            checksum: None,
        };
        with(&mut op);
        let selected = select(&op, &tree).map_err(|e| e.to_string())?;
        let dest = Destination {
            mount: &|| Ok(Rootfs::open(self.dirs.1.path()).unwrap()),
            below: None,
            upper: None,
        };
        let done = perform(&op, &tree, &selected, &Fetched::default(), &dest);
        done.map(drop).map_err(|e| e.to_string())
    }

    fn owner(&self, path: &str) -> (u32, u32) {
        let stat = self.dirs.1.path().join(path).symlink_metadata().unwrap();
        (stat.uid(), stat.gid())
    }
}

#[test]
fn several_files_need_a_directory() {
    let Some(world) = World::new() else { return };
    for (sources, dest, fine) in [
        (&["*.txt"][..], "/dir", true),
        (&["a.txt", "b.txt"], "/dir", true),
        (&["*.txt"], "/new/", true),
        (&["*.md"], "/one", true),
        (&["*.none"], "/none", true),
        (&["*.none", "a.txt"], "/single", true),
        (&["*.txt"], "/nothing", false),
        (&["a.txt", "b.txt"], "/file", false),
    ] {
        let result = world.copy(sources, dest, &|_| ());
        assert_eq!(result.is_ok(), fine, "{sources:?} {dest}: {result:?}");
    }
    let root = world.dirs.1.path();
    assert!(root.join("dir/b.txt").is_file() && root.join("new/a.txt").is_file());
    assert!(root.join("one").is_file() && root.join("single").is_file());
    assert!(!root.join("none").exists() && !root.join("nothing").exists());
    assert_eq!(std::fs::read_to_string(root.join("file")).unwrap(), "old");
}

#[test]
fn owners_are_found_by_name_number_and_without_databases() {
    let Some(world) = World::new() else { return };
    let chown = |owner: &'static str| move |op: &mut CopyOp| op.chown = Some(owner.to_owned());
    for (owner, ids) in [
        ("root", Some((0, 0))),
        ("root:root", Some((0, 0))),
        ("7", Some((7, 7))),
        ("7:8", Some((7, 8))),
        (":9", Some((0, 9))),
        ("bob", None),
        ("0:staff", None),
    ] {
        let result = world.copy(&["a.txt"], "/owned", &chown(owner));
        assert_eq!(result.is_ok(), ids.is_some(), "{owner}: {result:?}");
        if let Some(ids) = ids {
            assert_eq!(world.owner("owned"), ids, "{owner}");
        }
    }
    let etc = world.dirs.1.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), "bob:x:12:34::/:/bin/sh\n").unwrap();
    std::fs::write(etc.join("group"), "staff:x:50:\n").unwrap();
    for (owner, ids) in [
        ("12", (12, 12)),
        ("bob", (12, 34)),
        ("bob:staff", (12, 50)),
        (":staff", (0, 50)),
    ] {
        world.copy(&["a.txt"], "/owned", &chown(owner)).unwrap();
        assert_eq!(world.owner("owned"), ids, "{owner}");
    }
}

#[test]
fn only_archives_with_entries_are_unpacked() {
    let Some(world) = World::new() else { return };
    let source = world.dirs.0.path();
    std::fs::write(source.join("empty.tar"), [0; 10_240]).unwrap();
    std::fs::write(source.join("text.tar"), "no archive").unwrap();
    std::fs::write(source.join("magic.gz"), b"\x1f\x8bnot gzip at all").unwrap();
    let names = ["empty.tar", "text.tar", "magic.gz"];
    world.copy(&names, "/plain/", &|_| ()).unwrap();
    for name in names {
        assert!(
            world.dirs.1.path().join("plain").join(name).is_file(),
            "{name}"
        );
    }
}

#[test]
fn archives_cannot_leave_the_root() {
    let Some(world) = World::new() else { return };
    let mut header = [0_u8; 512];
    header[..7].copy_from_slice(b"../evil");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut archive = header.to_vec();
    archive.resize(512 * 3, 0);
    std::fs::write(world.dirs.0.path().join("x.tar"), archive).unwrap();
    // As docker does, which extracts in a root of its own.
    world.copy(&["x.tar"], "/dir/", &|_| ()).unwrap();
    assert!(world.dirs.1.path().join("dir/evil").is_file());
    assert!(!world.dirs.1.path().join("evil").exists());
}

#[test]
fn attributes_come_from_images_only_and_survive_a_new_owner() {
    let Some(mut world) = World::new() else {
        return;
    };
    let path = |world: &World, name: &str| world.dirs.0.path().join(name);
    // cap_net_bind_service=ep, in the second revision of the kernel's format.
    let mut capability = vec![1, 0, 0, 2, 0, 4];
    capability.resize(20, 0);
    std::fs::create_dir(path(&world, "d")).unwrap();
    std::fs::copy(path(&world, "a.txt"), path(&world, "d/a.txt")).unwrap();
    let file = path(&world, "d/a.txt");
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
    };
    set(&file, "security.capability", &capability).unwrap();
    if set(&file, "user.mark", b"f")
        .and_then(|()| set(&path(&world, "d"), "user.mark", b"d"))
        .is_err()
    {
        println!("skipped: no user attributes on this file system");
        return;
    }
    let found = |world: &World, path: &str, name: &str| {
        let mut value = vec![0; 64];
        let path = world.dirs.1.path().join(path);
        let n = rustix::fs::getxattr(&path, name, &mut value[..]).ok()?;
        value.truncate(n);
        Some(value)
    };
    for (is_context, dest) in [(true, "/context"), (false, "/image")] {
        world.is_context = is_context;
        world
            .copy(&["."], dest, &|op| op.chown = Some("7:8".to_owned()))
            .unwrap();
        let kept = |value: &[u8]| (!is_context).then(|| value.to_vec());
        let at = dest.trim_start_matches('/');
        let file = format!("{at}/d/a.txt");
        assert_eq!(world.owner(&file), (7, 8));
        assert_eq!(
            found(&world, &file, "security.capability"),
            kept(&capability)
        );
        assert_eq!(found(&world, &file, "user.mark"), kept(b"f"));
        assert_eq!(found(&world, &format!("{at}/d"), "user.mark"), kept(b"d"));
    }
}
