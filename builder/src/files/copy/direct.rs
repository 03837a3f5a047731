//! What goes past the overlay, or is linked to an earlier layer, comes to the same layer.

use super::super::digest::{Counted, Owners, selections};
use super::super::earlier::{Earlier, Record};
use super::super::index::FileIndex;
use super::super::select::{Everything, SourceTree};
use super::*;
use oci::layer::{TarOptions, diff, open_dir};
use oci::{ChainId, DiffId, Digest};
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// Fills a directory with anything, under names of which there are few.
fn grow(dir: &Path, numbers: &mut Numbers, depth: u64, files: &mut Vec<PathBuf>) {
    for _ in 0..numbers.below(6) {
        let path = dir.join(["a", "b", "c", "d"][numbers.below(4) as usize]);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match numbers.below(6) {
            0 | 1 if depth > 0 => {
                std::fs::create_dir(&path).unwrap();
                grow(&path, numbers, depth - 1, files);
                let mode = [0o755, 0o700, 0o1777][numbers.below(3) as usize];
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                age(&path, numbers);
            }
            2 => symlink("a", &path).unwrap(),
            3 if !files.is_empty() => {
                let first = &files[numbers.below(files.len() as u64) as usize];
                std::fs::hard_link(first, &path).unwrap();
            }
            _ => {
                std::fs::write(&path, vec![7; numbers.below(9) as usize]).unwrap();
                let mode = [0o644, 0o4755][numbers.below(2) as usize];
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                age(&path, numbers);
                files.push(path);
            }
        }
    }
}

fn age(path: &Path, numbers: &mut Numbers) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(numbers.below(1 << 40));
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn selected(tree: &Rootfs) -> Vec<Selection> {
    let source = SourceTree {
        rootfs: tree,
        filter: &Everything,
        stop: &Stop::default(),
    };
    source.select(".").unwrap()
}

fn layer(upper: &Path) -> DiffId {
    let measured = diff::measure(open_dir(upper).unwrap(), &TarOptions::default(), &|| Ok(()));
    measured.unwrap().diff_id
}

/// A source, and a place for layers that are made of it.
struct Trees {
    dir: tempfile::TempDir,
    source: Rootfs,
}

impl Trees {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["source", "lower"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let source = Rootfs::open(&dir.path().join("source")).unwrap();
        Self { dir, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty upper directory.
    fn upper(&self, name: &str) -> Rootfs {
        for dir in [self.path(name), self.path(&format!("{name}.work"))] {
            std::fs::create_dir(&dir).unwrap();
            std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Rootfs::open(&self.path(name)).unwrap()
    }

    fn mount(&self, upper: &str) -> Rootfs {
        let work = self.path(&format!("{upper}.work"));
        let upper = self.path(upper);
        let mounted =
            runtime::overlay::mount_detached(&[self.path("lower")], Some((&upper, &work)));
        Rootfs::new(mounted.unwrap())
    }

    /// Copies all of the source, hashed before, to `/at`.
    fn copy(&self, to: &str, upper: &Rootfs, earlier: Option<&Earlier>) -> Record {
        let mut selection = selected(&self.source);
        let counted = Counted {
            owners: Owners::Root,
            xattrs: false,
            stop: Stop::default(),
        };
        let mut index = FileIndex::empty();
        selections(&self.source, &mut selection, &counted, &mut index).unwrap();
        let made = RefCell::default();
        let options = CopyOptions {
            owner: Some(Owner::default()),
            upper: Some(Upper {
                tree: upper,
                earlier,
                made: &made,
            }),
            ..CopyOptions::default()
        };
        let dest = self.mount(to);
        assert!(copy(&self.source, &selection, &dest, "/at", &options).unwrap());
        made.into_inner()
    }
}

fn privileged() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: it takes root to mount");
    }
    root
}

#[test]
fn past_the_overlay_is_the_same_as_through_it() {
    if !privileged() {
        return;
    }
    for seed in 0..40 {
        let trees = Trees::new();
        let mut numbers = Numbers(seed);
        grow(&trees.path("source"), &mut numbers, 3, &mut Vec::new());
        if seed % 3 != 0 {
            std::fs::create_dir(trees.path("lower/at")).unwrap();
            grow(&trees.path("lower/at"), &mut numbers, 3, &mut Vec::new());
        }
        for parents in [false, true] {
            let outcome = |upper: Option<Upper<'_>>, name: &str| {
                let options = CopyOptions {
                    owner: Some(Owner::default()),
                    parents,
                    upper,
                    ..CopyOptions::default()
                };
                // Twice: the second finds what the first has made.
                for _ in 0..2 {
                    let dest = trees.mount(name);
                    let done = copy(
                        &trees.source,
                        &selected(&trees.source),
                        &dest,
                        "/at",
                        &options,
                    );
                    if let Err(e) = done {
                        return Err(e.to_string());
                    }
                }
                Ok(layer(&trees.path(name)))
            };
            let (through, past) = (format!("through {parents}"), format!("past {parents}"));
            trees.upper(&through);
            let upper = trees.upper(&past);
            let made = RefCell::default();
            let upper = Upper {
                tree: &upper,
                earlier: None,
                made: &made,
            };
            assert_eq!(
                outcome(None, &through),
                outcome(Some(upper), &past),
                "{seed}"
            );
        }
    }
}

#[test]
fn unchanged_files_are_those_of_the_earlier_layer() {
    if !privileged() {
        return;
    }
    let trees = Trees::new();
    let file = |name: &str| trees.path("source").join(name);
    std::fs::create_dir(file("d")).unwrap();
    let names = [
        "same", "d/same", "content", "mode", "time", "twice", "gone", "d/one",
    ];
    for name in names {
        std::fs::write(file(name), name).unwrap();
        File::open(file(name))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    }
    std::fs::hard_link(file("twice"), file("again")).unwrap();
    // So many that threads share them.
    for i in 0..400 {
        let dir = file(&format!("many{}", i / 150));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(i.to_string()), i.to_string()).unwrap();
    }
    let made = trees.copy("first", &trees.upper("first"), None);
    let first = layer(&trees.path("first"));

    // Of the same size and time as before.
    std::fs::write(file("content"), "CONTENT").unwrap();
    File::open(file("content"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    std::fs::set_permissions(file("mode"), PermissionsExt::from_mode(0o600)).unwrap();
    File::open(file("time"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    std::fs::remove_file(file("gone")).unwrap();
    std::fs::hard_link(file("d/one"), file("d/two")).unwrap();
    let earlier = Earlier::open(&trees.path("first"), made).unwrap();
    trees.copy("linked", &trees.upper("linked"), Some(&earlier));
    trees.copy("copied", &trees.upper("copied"), None);
    assert_eq!(layer(&trees.path("linked")), layer(&trees.path("copied")));
    assert_eq!(layer(&trees.path("first")), first);
    let inode = |tree: &str, name: &str| {
        let path = trees.path(tree).join("at").join(name);
        std::fs::metadata(path).unwrap().ino()
    };
    for (name, shared) in [
        ("same", true),
        ("many0/0", true),
        ("many2/399", true),
        ("d/same", true),
        ("content", false),
        ("mode", false),
        ("time", false),
        ("twice", false),
        ("d/one", false),
    ] {
        assert_eq!(
            inode("first", name) == inode("linked", name),
            shared,
            "{name}"
        );
    }

    // Whoever tampered with the earlier layer, or noted another, changes nothing.
    let tampered = trees.path("first/at/same");
    std::fs::remove_file(&tampered).unwrap();
    symlink("/etc/passwd", &tampered).unwrap();
    let mut record = Record::default();
    record.put(Path::new("at/same"), [0; 32]);
    let kept = trees.path("record");
    record.save(&ChainId(Digest::sha256(b"")), &kept).unwrap();
    for record in [record, Record::load(&kept).unwrap().1] {
        let earlier = Earlier::open(&trees.path("first"), record).unwrap();
        let name = format!("{:p}", &earlier);
        trees.copy(&name, &trees.upper(&name), Some(&earlier));
        assert_eq!(layer(&trees.path(&name)), layer(&trees.path("copied")));
        std::fs::remove_dir_all(trees.path(&name)).unwrap();
        std::fs::remove_dir_all(trees.path(&format!("{name}.work"))).unwrap();
    }
}

#[test]
fn what_fails_in_a_thread_fails_the_copy() {
    if !privileged() {
        return;
    }
    let trees = Trees::new();
    for i in 0..1000 {
        std::fs::write(trees.path("source").join(i.to_string()), "x").unwrap();
    }
    let in_the_way = trees.path("lower/at/777");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let upper = trees.upper("upper");
    let made = RefCell::default();
    let stop = Stop::default();
    let options = CopyOptions {
        owner: Some(Owner::default()),
        upper: Some(Upper {
            tree: &upper,
            earlier: None,
            made: &made,
        }),
        stop: stop.clone(),
        ..CopyOptions::default()
    };
    let selection = selected(&trees.source);
    let error = copy(
        &trees.source,
        &selection,
        &trees.mount("upper"),
        "/at",
        &options,
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("777") && error.contains("is a directory"),
        "{error}"
    );
    stop.stop();
    let error = copy(
        &trees.source,
        &selection,
        &trees.mount("upper"),
        "/at",
        &options,
    );
    assert!(error.unwrap_err().to_string().contains("cancelled"));
}
