//! A disk that is full at some moment of whatever is done: a clear error, nothing half-written, and
//! once there is space again all goes on.

use std::fs;

use e2e::{Cmd, Dir, Done, Registry, busybox, need};

use crate::robust::Disk;

/// Bytes that are left when something begins: each lets it come further.
const LEFT: [u64; 6] = [0, 20 << 10, 200 << 10, 700 << 10, 1500 << 10, 5 << 20];

/// Fills a disk but for some bytes, while this lives.
struct Filled(std::path::PathBuf);

impl Filled {
    fn but_for(disk: &Disk, left: u64) -> Self {
        let path = disk.mount.join("fill");
        for size in ["64k", "1k"] {
            let dd = Cmd::new("dd").args(["if=/dev/zero", "oflag=append", "conv=notrunc"]);
            let of = format!("of={}", path.display());
            dd.arg(of).arg(format!("bs={size}")).fails(1);
        }
        let file = fs::File::options().write(true).open(&path).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(left)).unwrap();
        Self(path)
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Does something on a disk with less and less space missing: `reset` undoes it.
fn at_every_moment(disk: &Disk, what: &str, act: impl Fn() -> Done, reset: impl Fn()) {
    let mut failed = 0;
    for left in LEFT {
        let filled = Filled::but_for(disk, left);
        let done = act();
        drop(filled);
        let told = done.err();
        if !done.status.success() {
            failed += 1;
            let full = {
                let told = told.to_lowercase();
                // A process may get that from the overlay that it writes to.
                told.contains("no space left")
                    || told.contains("disk is full")
                    || (what == "RUN" && told.contains("i/o error"))
            };
            assert!(full, "{what} with {left} bytes: {done}");
            assert!(
                !told.contains("panicked"),
                "{what} with {left} bytes: {done}"
            );
        }
        let checked = disk.rbuild(["fsck"]).run();
        assert!(
            checked.status.success(),
            "{what} with {left} bytes: {checked}"
        );
        let again = act();
        assert!(again.status.success(), "{what} after {left} bytes: {again}");
        reset();
    }
    assert!(failed > 0, "{what} has never met the end of the disk");
}

#[test]
fn a_disk_that_is_full_at_any_moment() {
    let disk = need!(Disk::new(48));
    let base = need!(busybox());
    let registry = Registry::start();
    disk.rbuild(["import"]).arg(&base).arg("busybox").ok();
    // Bytes that no compression makes fewer.
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    });
    let bytes: Vec<u8> = bytes.take(3 << 20).collect();
    let copied = Dir::dockerfile("FROM busybox\nCOPY f /f\n").file("f", &bytes);
    let run = Dir::dockerfile("FROM busybox\nRUN head -c 3000000 /dev/urandom >/f\n");
    let name = registry.name("app");
    let build = |context: &Dir| {
        let command = disk.rbuild(["build", "--network", "none", "-t", "app", "-t"]);
        command.arg(&name).arg(context.path()).run()
    };
    let forget = || {
        disk.rbuild(["rmi", "-f", "app", &name]).run();
        disk.rbuild(["builder", "prune", "-af"]).ok();
        disk.rbuild(["prune", "-f"]).ok();
    };
    at_every_moment(&disk, "COPY", || build(&copied), forget);
    at_every_moment(&disk, "RUN", || build(&run), forget);
    assert!(build(&copied).status.success());
    let out = disk.mount.join("out.tar");
    let save = || disk.rbuild(["save", "app", "-o"]).arg(&out).run();
    at_every_moment(&disk, "save", save, || {
        assert!(fs::metadata(&out).unwrap().len() > 3 << 20);
        fs::remove_file(&out).unwrap();
        let left = fs::read_dir(&disk.mount).unwrap().flatten();
        let mut left = left.filter(|entry| entry.file_name().to_string_lossy().contains("out"));
        assert!(left.next().is_none(), "nothing half-written stays");
    });
    let archive = copied.join("app.tar");
    disk.rbuild(["save", "app", "-o"]).arg(&archive).ok();
    // What is compressed for a push is kept: each time it is another image.
    let push = || disk.rbuild(["push"]).arg(&name).run();
    at_every_moment(&disk, "push", push, || {
        forget();
        assert!(build(&copied).status.success());
    });
    forget();
    at_every_moment(
        &disk,
        "pull",
        || disk.rbuild(["pull"]).arg(&name).run(),
        forget,
    );
    let load = || disk.rbuild(["load", "-i"]).arg(&archive).run();
    at_every_moment(&disk, "load", load, forget);
}
