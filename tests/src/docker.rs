//! A real dockerd, private to the test run.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{Archive, Cmd, Machine, Missing, bases, is_root, program, repository};

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
        mount --rbind "$1" "$0$1"; shift
        # Not by chroot alone: who enters a namespace later is at its root.
        cd "$0"; pivot_root . mnt; exec chroot . "$@"'
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
    /// The root file system that it comes from, where that is not this machine's.
    root: Option<PathBuf>,
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
        .get_or_init(|| Docker::start(None, EXPERIMENTAL, "", None))
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
    let start = || Docker::start(Some(&modern_root(DOCKERD)?), EXPERIMENTAL, "-modern", None);
    DOCKER.get_or_init(start).as_ref().map_err(Missing::clone)
}

/// The root file system of [`modern_docker`], which has this program.
fn modern_root(program: &str) -> Result<PathBuf, Missing> {
    let root = std::env::var_os("RBUILD_TEST_DOCKER");
    let root = repository().join(root.unwrap_or_else(|| "target/test-docker".into()));
    match root.join(program).exists() {
        true => Ok(root),
        false => Err(Missing(format!(
            "there is no {program} in {}: run scripts/modern-docker.sh {0}",
            root.display()
        ))),
    }
}

/// The daemon in that root.
const DOCKERD: &str = "usr/sbin/dockerd";

/// docker compose, which needs no docker to be called by.
const COMPOSE: &str = "usr/libexec/docker/cli-plugins/docker-compose";

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
        Self::start(None, &settings, "-mirror", None)
    }

    /// A daemon of Debian's next release on a machine of its own, whose containers have networks
    /// there; it ends with the value.
    ///
    /// # Errors
    /// As [`modern_docker`].
    ///
    /// # Panics
    /// As [`modern_docker`].
    pub fn on(machine: &Machine) -> Result<Self, Missing> {
        let root = modern_root(COMPOSE)?;
        Self::start(Some(&root), EXPERIMENTAL, "-machine", Some(machine))
    }

    /// `docker compose`, where the daemon comes with it.
    pub fn compose(&self) -> Cmd {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        self.with(&root.join(COMPOSE))
    }

    /// The daemon of this machine, or of the root file system at `root`, with these settings, in
    /// the network of `machine` if that is named; `suffix` tells it from others of the same tests.
    fn start(
        root: Option<&Path>,
        settings: &str,
        suffix: &str,
        machine: Option<&Machine>,
    ) -> Result<Self, Missing> {
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
        let mut keeper = match machine {
            None => Command::new("sh"),
            Some(machine) => {
                let mut entered = Command::new("nsenter");
                let network = format!("--net={}", machine.namespace());
                entered.args([&network, "--", "sh"]);
                entered
            }
        };
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
            root: root.map(Path::to_owned),
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
        self.with(&self.client).args(args)
    }

    /// A client of the daemon.
    fn with(&self, client: &Path) -> Cmd {
        Cmd::new(client)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.dir.join("sock").display()),
            )
            .env("DOCKER_CONFIG", self.dir.join("config"))
            .env("HOME", &self.dir)
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
