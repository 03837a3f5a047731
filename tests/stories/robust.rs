//! Full disks, damaged stores, hostile text and low limits: what goes wrong outside is told, and
//! nothing more is lost.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use e2e::{Cmd, Dir, Done, Missing, Store, busybox, is_root, need, program, rbuild};
use tempfile::TempDir;

/// A file system of its own size, mounted while this lives.
pub(crate) struct Disk {
    dir: TempDir,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Disk {
    pub(crate) fn new(megabytes: u32) -> Result<Self, Missing> {
        is_root()?;
        program("mkfs.ext4")?;
        let dir = tempfile::Builder::new()
            .prefix("e2e-disk.")
            .tempdir()
            .unwrap();
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        let file = File::create(&image).unwrap();
        file.set_len(u64::from(megabytes) << 20).unwrap();
        fs::create_dir(&mount).unwrap();
        // Small blocks: a page of SQLite's shared memory is not whole by one byte of it.
        Cmd::new("mkfs.ext4")
            .args(["-q", "-F", "-b", "1024", "-m", "0"])
            .arg(&image)
            .ok();
        Cmd::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&mount)
            .ok();
        Ok(Self { dir, mount })
    }

    pub(crate) fn rbuild<const N: usize>(&self, args: [&str; N]) -> Cmd {
        Cmd::new(rbuild())
            .env("RBUILD_ROOT", self.store())
            .env("RBUILD_PROGRESS", "plain")
            .env("HOME", self.dir.path())
            .args(args)
    }

    fn store(&self) -> PathBuf {
        self.mount.join("store")
    }

    pub(crate) fn free(&self) -> u64 {
        let stat = nix::sys::statvfs::statvfs(&self.mount).unwrap();
        stat.blocks_free() * stat.fragment_size()
    }

    /// Leaves no block free.
    fn fill(&self) -> PathBuf {
        let path = self.mount.join("fill");
        for size in ["1M", "1k"] {
            let of = format!("of={}", path.with_extension(size).display());
            Cmd::new("dd")
                .args(["if=/dev/zero", &of, &format!("bs={size}")])
                .fails(1);
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Cmd::new("umount").arg("-l").arg(&self.mount).run();
    }
}

#[test]
fn a_run_that_fills_the_disk_gives_it_back() {
    let disk = need!(Disk::new(64));
    let base = need!(busybox());
    disk.rbuild(["import"]).arg(&base).arg("busybox").ok();
    let before = disk.free();
    let context = Dir::dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M || exit 3\n");
    disk.rbuild(["build", "--network", "none", "-t", "x"])
        .arg(context.path())
        .fails(3)
        .tells("No space left on device");
    // All but what a log, a lease and the stub directory take.
    assert!(
        disk.free() + (1 << 20) > before,
        "{} of {before}",
        disk.free()
    );
    assert_eq!(fs::read_dir(disk.store().join("trash")).unwrap().count(), 0);
    let context = Dir::dockerfile("FROM busybox\nRUN echo small >/small\n");
    disk.rbuild(["build", "--network", "none", "-t", "x"])
        .arg(context.path())
        .ok();
}

#[test]
fn a_full_disk_can_be_emptied() {
    let disk = need!(Disk::new(64));
    let base = need!(busybox());
    disk.rbuild(["import"]).arg(&base).arg("busybox").ok();
    let context = Dir::dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=8\n");
    disk.rbuild(["build", "--network", "none", "-t", "big"])
        .arg(context.path())
        .ok();
    let reserve = disk.store().join("reserve");
    let whole = fs::metadata(&reserve).unwrap().len();
    assert!(whole >= 3 << 20, "{whole}");
    disk.fill();
    assert!(disk.free() < 2 << 20, "{}", disk.free());
    disk.rbuild(["images"]).ok().says("big");
    let more = Dir::dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/more bs=1M count=8\n");
    disk.rbuild(["build", "--network", "none", "-t", "more"])
        .arg(more.path())
        .fails(1);
    let removed = disk.rbuild(["rmi", "big"]).ok();
    removed
        .says("Untagged: big:latest")
        .says("Deleted: sha256:");
    // 8 MiB of zeros are 8388608 bytes, and nothing else is in that layer.
    disk.rbuild(["prune", "-f"])
        .ok()
        .says("Total reclaimed space: 8.39MB");
    assert!(disk.free() > 7 << 20, "{}", disk.free());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), whole, "made again");
}

#[test]
fn pruning_while_a_build_runs() {
    let store = need!(Store::busybox());
    let junk = Dir::dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/junk bs=1M count=3\n");
    store.build("junk", &junk).ok();
    let used = Dir::dockerfile("FROM busybox\nRUN echo used >/used\nRUN echo running; sleep 300\n");
    let running = store
        .rbuild(["build", "--network", "none", "-t", "app"])
        .arg(used.path())
        .spawn();
    running.until_err(" running\n");
    let pruned = store.rbuild(["prune", "-f", "-a"]).ok();
    // 3 MiB are 3145728 bytes; configurations of some hundred bytes go too.
    pruned
        .says("untagged: junk:latest")
        .says("Total reclaimed space: 3.15MB");
    pruned
        .tells("Kept 1 image")
        .tells(&format!("process {}", running.id()));
    assert!(store.has("busybox") && !store.has("junk"));
    running.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(running.wait().status.code(), Some(130));
    store.rbuild(["prune", "-f", "-a"]).ok().never_tells("Kept");
    assert!(!store.has("busybox"));
}

/// The directory of the only snapshot that has this file.
fn snapshot_with(store: &Store, name: &str) -> PathBuf {
    let all = fs::read_dir(store.root().join("snapshots")).unwrap();
    let mut found = all
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("fs").join(name).exists());
    found.next().expect("a snapshot")
}

#[test]
fn layers_that_are_gone_are_made_again() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo 1 >/one\nRUN cat /one /one >/two\n");
    store.build("app", &context).ok();
    for lost in ["bin/busybox", "one", "two"] {
        fs::remove_dir_all(snapshot_with(&store, lost)).unwrap();
        store.build("app", &context).ok();
        assert_eq!(store.tree("app").text("two"), "1\n1\n", "{lost}");
    }
    // Importing the same again brings back what is gone.
    fs::remove_dir_all(snapshot_with(&store, "bin/busybox").join("fs")).unwrap();
    let base = need!(busybox());
    store.rbuild(["import"]).arg(base).arg("busybox").ok();
    assert!(snapshot_with(&store, "bin/busybox").exists());
    store.build("app", &context).ok();
    // Images that lost their names to later ones have lost layers, too.
    store.rbuild(["prune", "-f"]).ok();
    store.rbuild(["fsck"]).ok().says("all is well");
}

#[test]
fn fsck_finds_and_mends() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo 1 >/one\n");
    store.build("app", &context).ok();
    store.rbuild(["fsck"]).ok().says("all is well");
    let findings = |done: &Done| -> Vec<String> {
        let all = done.json()["Findings"].as_array().unwrap().clone();
        let part = |f: &serde_json::Value| f["Part"].as_str().unwrap().to_owned();
        all.iter().map(part).collect()
    };
    // A file of the base, which has a blob; one of a layer that was made here; a leftover.
    fs::write(snapshot_with(&store, "bin/busybox").join("fs/bin/new"), "x").unwrap();
    fs::write(snapshot_with(&store, "one").join("fs/one"), "changed\n").unwrap();
    fs::create_dir_all(store.root().join("snapshots/7/fs")).unwrap();
    let found = store.rbuild(["fsck", "--format", "json"]).fails(1);
    assert_eq!(findings(&found), ["layer", "layer", "leftover"]);
    let mended = store.rbuild(["fsck", "--repair"]).run();
    mended.says("unpacked again").says("mended: removed");
    store.build("app", &context).ok();
    assert_eq!(store.tree("app").text("one"), "1\n");
    assert!(!store.tree("app").has("bin/new"));
    store.rbuild(["prune", "-f"]).ok();
    store.rbuild(["fsck"]).ok().says("all is well");

    // A damaged blob is named, and is not called a damaged database.
    let id = store.id("app");
    let blob = store
        .root()
        .join("blobs/sha256")
        .join(id.trim_start_matches("sha256:"));
    fs::write(&blob, "{}").unwrap();
    store
        .rbuild(["history", "app"])
        .fails(1)
        .tells(&format!("blob {id} in the store is damaged"))
        .tells("fsck --repair")
        .never_tells("database");
    let found = store.rbuild(["fsck", "--format", "json"]).fails(1);
    assert_eq!(findings(&found), ["blob"]);
    store.rbuild(["fsck", "--repair"]).ok();
    store.build("app", &context).ok();
    assert_eq!(
        store.id("app"),
        id,
        "from the cache, with the times of then"
    );
}

#[test]
fn results_that_cannot_be_written_are_errors() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nENV A=1\n");
    let script = "exec \"$@\" >/dev/full";
    for args in [
        &["build", "-q", "--network", "none"][..],
        &["images"],
        &["history", "busybox"],
        &["inspect", "busybox"],
        &["version"],
        &["info"],
        &["df", "-v"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["save", "busybox"],
        &["prune", "-f"],
        &["tag", "--help"],
        &["fsck"],
    ] {
        let mut command = Cmd::new("sh")
            .env("RBUILD_ROOT", store.root())
            .args(["-c", script, "sh"])
            .arg(rbuild())
            .args(args);
        if args.contains(&"build") {
            command = command.arg(context.path());
        }
        command.fails(1).tells("No space left on device");
    }
}

/// As docker, which the signal ends: no message, and 128 + 13 to the shell.
#[test]
fn whoever_reads_may_stop_early() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\n");
    let place = context.path().to_str().unwrap();
    let fifo = "/dev/stdout";
    let commands: [&[&str]; 16] = [
        &["images"],
        &["images", "--format", "json"],
        &["history", "busybox"],
        &["inspect", "busybox"],
        &["inspect", "-f", "{{.Id}}", "busybox"],
        &["info"],
        &["version"],
        &["df", "-v"],
        &["completions", "bash"],
        &["--help"],
        &["lint", "--help"],
        &["save", "busybox"],
        &["save", "-o", fifo, "busybox"],
        &["export", "busybox"],
        &["build", "-q", "--network", "none", place],
        &["build", "--network", "none", "-o", "-", place],
    ];
    for args in commands {
        // The reader has gone before anything is written.
        let gone = "{ read -r; \"$@\"; echo $? >&2; } < <(sleep 0.3; echo) | true";
        let done = Cmd::new("bash")
            .env("RBUILD_ROOT", store.root())
            .args(["-c", gone, "bash"])
            .arg(rbuild())
            .args(args)
            .ok();
        let err = done.err();
        assert!(err.ends_with("141\n"), "{args:?}: {err}");
        assert!(!err.contains("ERROR"), "{args:?}: {err}");
    }
}

#[test]
fn few_descriptors_and_long_paths() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN echo 1 >/one\nCOPY Dockerfile /d\n");
    Cmd::new("sh")
        .env("RBUILD_ROOT", store.root())
        .args(["-c", "ulimit -n 64; exec \"$@\"", "sh"])
        .arg(rbuild())
        .args(["build", "--network", "none", "-t", "app"])
        .arg(context.path())
        .ok();
    assert_eq!(store.tree("app").text("one"), "1\n");
    let mut long = store.home().to_owned();
    while long.as_os_str().len() < 600 {
        long.push("d".repeat(100));
    }
    Cmd::new(rbuild())
        .env("RBUILD_ROOT", &long)
        .args(["images"])
        .fails(1)
        .tells("the path of the store has")
        .tells("shorter");
}

#[test]
fn a_store_that_cannot_be_written_can_be_looked_at() {
    let disk = need!(Disk::new(64));
    let base = need!(busybox());
    disk.rbuild(["import"]).arg(&base).arg("busybox").ok();
    let expected = disk.rbuild(["images", "-q"]).ok().out();
    let remount = |how: &str| {
        Cmd::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&disk.mount)
            .ok();
    };
    for killed in [false, true] {
        if killed {
            // The log of a writer that did not get to tidy up.
            remount("rw");
            let context = Dir::dockerfile("FROM busybox\nRUN echo running; sleep 300\n");
            let running = disk
                .rbuild(["build", "--network", "none", "-t", "x"])
                .arg(context.path())
                .spawn();
            running.until_err(" running\n");
            running.signal(nix::sys::signal::Signal::SIGKILL);
            running.wait();
        }
        remount("ro");
        assert_eq!(disk.rbuild(["images", "-q"]).ok().out(), expected);
        disk.rbuild(["history", "busybox"]).ok();
        disk.rbuild(["inspect", "busybox"]).ok();
        disk.rbuild(["df"]).ok();
        disk.rbuild(["info"]).ok();
        disk.rbuild(["fsck"]).run().says("Checked 1 images");
        disk.rbuild(["save", "busybox", "-o", "/dev/null"]).ok();
        disk.rbuild(["tag", "busybox", "x"])
            .fails(1)
            .tells("Read-only file system");
    }
    remount("rw");
}

/// Runs a command on a terminal of its own, and returns what that showed.
fn on_terminal(script: &str) -> String {
    let done = Cmd::new("script")
        .args(["-qefc", script, "/dev/null"])
        .env("TERM", "xterm")
        .run();
    done.out()
}

#[test]
fn foreign_text_cannot_act_on_a_terminal() {
    let store = need!(Store::busybox());
    need!(program("script"));
    let evil = "\x1b]0;title\x07\x1b[2J";
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nLABEL a=\"{evil}\"\nENV B=\"{evil}\"\n"
    ));
    store.build("app", &context).ok();
    let program = rbuild();
    let run = |args: &str| {
        let root = store.root();
        format!(
            "RBUILD_ROOT={} {} {args}",
            root.display(),
            program.display()
        )
    };
    for args in ["history --no-trunc app", "inspect -f '{{.Config.Env}}' app"] {
        let shown = on_terminal(&run(args));
        assert!(shown.contains("\\x1b]0;title\\x07\\x1b[2J"), "{shown:?}");
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
    // What docker 28 writes to a pipe: text is what it is, and JSON escapes as JSON does.
    let json = "\\u001b]0;title\\u0007\\u001b[2J";
    for (args, wanted) in [
        (&["inspect", "-f", "{{.Config.Labels.a}}", "app"][..], evil),
        (&["inspect", "-f", "{{.Config.Env}}", "app"], evil),
        (&["inspect", "-f", "{{json .Config.Labels}}", "app"], json),
        (&["inspect", "app"], json),
        (&["history", "--no-trunc", "app"], evil),
        (
            &["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"],
            evil,
        ),
        (&["history", "--no-trunc", "--format", "json", "app"], json),
    ] {
        let out = store.rbuild(args).ok().out();
        assert!(out.contains(wanted), "{args:?}: {out:?}");
        let other = if wanted == evil { json } else { evil };
        assert!(!out.contains(other), "{args:?}: {out:?}");
    }
    let broken = Dir::dockerfile(&format!("FROM busybox\nNOPE {evil}\n"));
    let shown = on_terminal(&run(&format!("build {}", broken.path().display())));
    assert!(
        shown.contains("NOPE \u{241b}]0;title\u{2407}\u{241b}[2J"),
        "{shown:?}"
    );
    let acts = |text: &str| text.contains("\x1b]0") || text.contains('\x07');
    assert!(!acts(&shown), "{shown:?}");
    let noisy =
        Dir::dockerfile("FROM busybox\nRUN printf '\\033]0;title\\007\\033[2Jseen\\n'; exit 1\n");
    let shown = on_terminal(&run(&format!(
        "build --network none {}",
        noisy.path().display()
    )));
    assert!(shown.contains("seen"), "{shown:?}");
    assert!(!acts(&shown) && !shown.contains("\x1b[2J"), "{shown:?}");
}

#[test]
fn archives_that_grow_too_far() {
    let store = need!(Store::busybox());
    need!(program("zstd"));
    let dir = Dir::new();
    let bomb = dir.join("bomb.tar.zst");
    // A tar of one file of 2 GiB of zeros: some 200 kB, 10,000 times less.
    let script = "truncate -s 2G zeros && tar -c zeros | zstd -q -3 -o bomb.tar.zst";
    Cmd::new("sh")
        .args(["-c", script])
        .current_dir(dir.path())
        .ok();
    fs::remove_file(dir.join("zeros")).unwrap();
    let size = fs::metadata(&bomb).unwrap().len();
    assert!(size < (2 << 30) / 1200, "{size}");
    let tells = "looks like a decompression bomb";
    store
        .rbuild(["import"])
        .arg(&bomb)
        .arg("x")
        .fails(1)
        .tells(tells);
    store
        .rbuild(["load", "-i"])
        .arg(&bomb)
        .fails(1)
        .tells(tells);
    let mut archive = Vec::new();
    File::open(&bomb)
        .unwrap()
        .read_to_end(&mut archive)
        .unwrap();
    store
        .rbuild(["build", "--network", "none", "-"])
        .stdin(&archive)
        .fails(1)
        .tells(tells);
    let context =
        Dir::dockerfile("FROM scratch\nADD bomb.tar.zst /\n").file("bomb.tar.zst", &archive);
    store.build("x", &context).fails(1).tells(tells);
    let small = store.build("x", &context).env("RBUILD_MAX_UNPACKED", "1m");
    small.fails(1).tells("larger than 1048576 bytes");
    store
        .rbuild(["images"])
        .env("RBUILD_MAX_RATIO", "many")
        .fails(125)
        .tells("RBUILD_MAX_RATIO");
    assert_eq!(files_below(&store.root().join("staging")), 0);
}

fn files_below(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}
