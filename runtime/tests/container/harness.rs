//! Runs the tests and gives them an image to work with.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use runtime::{Container, ExitStatus, Mount, Overlay, Rootfs, Spec, Stdio};

/// A name and what to run; `Err` is why it was skipped.
pub type Test = (&'static str, fn() -> Result<(), String>);

pub fn run(tests: &[Test]) -> ExitCode {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f));
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    println!(
        "\nrunning {} tests",
        tests.iter().filter(|(name, _)| chosen(name)).count()
    );
    for (name, test) in tests.iter().filter(|(name, _)| chosen(name)) {
        let ready = prerequisites();
        match ready.map(|()| catch_unwind(AssertUnwindSafe(test))) {
            Ok(Ok(Ok(()))) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Ok(Ok(Err(why))) | Err(why) => {
                skipped += 1;
                println!("test {name} ... skipped: {why}");
            }
            Ok(Err(_)) => {
                failed.push(*name);
                println!("test {name} ... FAILED");
            }
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} ignored; 0 measured; 0 \
         filtered out\n",
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn prerequisites() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    if !Path::new("/bin/busybox").exists() {
        return Err("needs /bin/busybox of the package busybox-static".to_owned());
    }
    Ok(())
}

/// A busybox image below a temporary directory.
pub struct Image {
    dir: tempfile::TempDir,
    pub lowers: Vec<PathBuf>,
}

pub struct Ran {
    pub status: ExitStatus,
    pub out: String,
}

impl Image {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        for sub in ["bin", "tmp", "root"] {
            fs::create_dir_all(base.join(sub)).unwrap();
        }
        fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
        for name in [
            "sh", "true", "cat", "ls", "mount", "id", "env", "touch", "echo", "sleep",
        ] {
            symlink("busybox", base.join("bin").join(name)).unwrap();
        }
        runtime::overlay::prepare_stub_dir(&dir.path().join("stub")).unwrap();
        Self {
            dir,
            lowers: vec![base],
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The topmost lower directory's entry, for a test to change.
    pub fn file(&self, path: &str) -> PathBuf {
        let path = self.lowers[0].join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn upper(&self) -> PathBuf {
        self.dir.path().join("upper")
    }

    /// A new container of the image; the changes of the last one are dropped.
    pub fn spec(&self, argv: &[&str]) -> Spec {
        let (upper, work) = (self.upper(), self.dir.path().join("work"));
        for dir in [&upper, &work] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir(dir).unwrap();
        }
        let stub = Some(self.dir.path().join("stub"));
        let overlay = Overlay {
            lowers: self.lowers.clone(),
            stub,
            upper,
            work,
        };
        Spec::new(Rootfs::Overlay(overlay), argv.to_vec()).env(["PATH=/bin:/usr/bin"])
    }

    pub fn sh(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }

    /// Everything in the upper directory, sorted.
    pub fn changes(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.upper(), &self.upper(), &mut found);
        found.sort();
        found
    }

    /// The host's programs, read-only, for what busybox cannot do.
    pub fn with_host_programs(&self, spec: Spec) -> Spec {
        for name in ["lib", "lib64"] {
            let link = self.lowers[0].join(name);
            if !link.exists() {
                let _ = symlink(format!("usr/{name}"), link);
            }
        }
        spec.mount(Mount::bind("/usr", "/usr", true))
    }
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.strip_prefix(root).unwrap().display().to_string());
        if path.symlink_metadata().unwrap().is_dir() {
            walk(root, &path, found);
        }
    }
}

/// Runs to the end; standard output and error together.
pub fn ran(spec: &Spec) -> Ran {
    let (read, write) = pipe();
    let stdio = Stdio {
        stdin: None,
        stderr: Some(write.try_clone().unwrap()),
        stdout: Some(write),
    };
    let running = Container::spawn(spec, stdio).unwrap();
    let mut out = String::new();
    File::from(read).read_to_string(&mut out).unwrap();
    Ran {
        status: running.wait().unwrap(),
        out,
    }
}

/// Runs to the end, must succeed; the output without the last line break.
pub fn output(spec: &Spec) -> String {
    let ran = ran(spec);
    assert!(ran.status.success(), "{}: {}", ran.status, ran.out);
    ran.out.trim_end().to_owned()
}

pub fn failure(spec: &Spec) -> runtime::Error {
    match Container::spawn(spec, Stdio::default()) {
        Ok(_) => panic!("the container started"),
        Err(error) => error,
    }
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// Waits for something that must happen soon.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
