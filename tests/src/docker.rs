//! A real dockerd, private to the test run.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{Archive, Cmd, Missing, bases, is_root, program, repository};

/// Runs dockerd until its own standard input ends, which it does whatever way the tests end; then
/// takes away all that is left. dockerd and its containers share a process ID namespace that dies
/// with its first process, and a mount namespace whose mounts die likewise.
const KEEPER: &str = r#"
dir=$1 parent=$2 root=$3
enter='exec "$@"'
if [ -n "$root" ]; then
    mkdir -p "$root$dir"
    # A container's root can be made only where that of its parent is a mount.
    enter='mount --bind "$0" "$0"
        for d in proc sys dev; do mount --rbind "/$d" "$0/$d"; done
        mount --rbind "$1" "$0$1"; shift; exec chroot "$0" "$@"'
    set -- "$dir"
else
    set --
fi
unshare --fork --kill-child --pid --mount-proc --mount --propagation private -- \
    sh -c "$enter" "$root" "$@" \
    dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
    --host "unix://$dir/sock" --config-file "$dir/daemon.json" --storage-driver overlay2 \
    --cgroup-parent "/$parent" --bridge none --iptables=false --ip6tables=false \
    </dev/null >"$dir/log" 2>&1 &
read -r _
kill -KILL $!
wait
for group in /sys/fs/cgroup/"$parent" /sys/fs/cgroup/*/"$parent"; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
done
rm -rf --one-file-system -- "$dir"
[ -z "$root" ] || rmdir "$root$dir"
"#;

/// Only the classic builder heeds it, for --squash.
const EXPERIMENTAL: &str = r#"{"experimental": true}"#;

/// The daemon and a client of it. Containers use the host's network: it has no bridge.
#[derive(Debug)]
pub struct Docker {
    client: PathBuf,
    dir: PathBuf,
    // Open as long as the tests run.
    _keeper: ChildStdin,
}

/// The daemon, started at its first use.
///
/// # Errors
/// [`Missing`] without root, dockerd or docker.
///
/// # Panics
/// When it is installed but does not start.
pub fn docker() -> Result<&'static Docker, Missing> {
    static DOCKER: OnceLock<Result<Docker, Missing>> = OnceLock::new();
    DOCKER
        .get_or_init(|| Docker::start(None, EXPERIMENTAL, ""))
        .as_ref()
        .map_err(Missing::clone)
}

/// The daemon of Debian's next release, with its BuildKit, which `scripts/modern-docker.sh` has
/// put into `RBUILD_TEST_DOCKER` (`target/test-docker`); started at its first use.
///
/// # Errors
/// [`Missing`] without root, or where it is not installed.
///
/// # Panics
/// When it is installed but does not start.
pub fn modern_docker() -> Result<&'static Docker, Missing> {
    static DOCKER: OnceLock<Result<Docker, Missing>> = OnceLock::new();
    let start = || {
        let root = std::env::var_os("RBUILD_TEST_DOCKER");
        let root = repository().join(root.unwrap_or_else(|| "target/test-docker".into()));
        match root.join("usr/sbin/dockerd").exists() {
            true => Docker::start(Some(&root), EXPERIMENTAL, "-modern"),
            false => Err(Missing(format!(
                "there is no dockerd in {}: run scripts/modern-docker.sh {0}",
                root.display()
            ))),
        }
    };
    DOCKER.get_or_init(start).as_ref().map_err(Missing::clone)
}

impl Docker {
    /// A daemon of its own that pulls through the mirror at a URL; it ends with the value.
    ///
    /// # Errors
    /// As [`docker`].
    ///
    /// # Panics
    /// As [`docker`].
    pub fn mirroring(url: &str) -> Result<Self, Missing> {
        let settings = format!("{{\"registry-mirrors\": [\"{url}\"]}}");
        Self::start(None, &settings, "-mirror")
    }

    /// The daemon of this machine, or of the root file system at `root`, with these settings;
    /// `suffix` tells it from others of the same tests.
    fn start(root: Option<&Path>, settings: &str, suffix: &str) -> Result<Self, Missing> {
        is_root()?;
        if root.is_none() {
            program("dockerd")?;
        }
        program("unshare")?;
        // The daemon's own client, rather than a newer one that needs plugins to build.
        let packaged = PathBuf::from("/usr/bin/docker");
        let client = if packaged.exists() {
            packaged
        } else {
            program("docker")?
        };
        let dir = tempfile::Builder::new().prefix("e2e-docker.").tempdir();
        let dir = dir.expect("temporary folder").keep();
        fs::create_dir(dir.join("config")).expect("mkdir");
        fs::write(dir.join("daemon.json"), settings).expect("write");
        let parent = format!("rbuild-e2e-{}{suffix}", std::process::id());
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(&dir)
            .arg(&parent)
            .arg(root.unwrap_or(Path::new("")))
            .env(
                "PATH",
                format!(
                    "{}:/usr/sbin:/sbin",
                    std::env::var("PATH").unwrap_or_default()
                ),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal must not reach it: it has to clean up.
            .process_group(0);
        let mut keeper = keeper.spawn().expect("sh");
        let pipe = keeper.stdin.take().expect("a pipe");
        std::thread::spawn(move || keeper.wait());
        let docker = Self {
            client,
            dir,
            _keeper: pipe,
        };
        docker.wait_until_ready();
        let busybox = bases::busybox()?;
        docker
            .cmd(["import", "--change", r#"CMD ["sh"]"#])
            .arg(busybox)
            .arg("busybox:latest")
            .ok();
        Ok(docker)
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.cmd(["version"]).run().status.success() {
            assert!(
                Instant::now() < until,
                "dockerd did not start:\n{}",
                fs::read_to_string(self.dir.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `docker` with these arguments.
    pub fn cmd<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, args: I) -> Cmd {
        Cmd::new(&self.client)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.dir.join("sock").display()),
            )
            .env("DOCKER_CONFIG", self.dir.join("config"))
            .env("HOME", &self.dir)
            .args(args)
    }

    /// `docker build` with BuildKit; RUN steps have no network.
    pub fn build(&self, tag: &str, context: &Path) -> Cmd {
        self.cmd(["build", "--network", "none", "-t", tag])
            .env("DOCKER_BUILDKIT", "1")
            .env("BUILDKIT_PROGRESS", "plain")
            .arg(context)
    }

    /// What `docker save` writes.
    #[track_caller]
    pub fn archive(&self, image: &str) -> Archive {
        let tar = tempfile::NamedTempFile::new().expect("file");
        self.cmd(["save", "-o"]).arg(tar.path()).arg(image).ok();
        Archive::read(tar.path())
    }

    /// A container that is removed with the value.
    #[track_caller]
    pub fn run_detached(&self, args: &[&str]) -> Container<'_> {
        let mut all = vec!["run", "--detach", "--network", "host"];
        all.extend(args);
        let id = self.cmd(all).ok().out().trim().to_owned();
        Container { docker: self, id }
    }
}

/// A running container.
#[derive(Debug)]
pub struct Container<'a> {
    docker: &'a Docker,
    id: String,
}

impl Container<'_> {
    /// What it wrote.
    pub fn logs(&self) -> String {
        let done = self.docker.cmd(["logs", &self.id]).run();
        done.out() + &done.err()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.docker.cmd(["rm", "--force", &self.id]).run();
    }
}
