//! Blobs in Garage: a store of several nodes, each part on three of them, some of which die.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use oci::Digest;
use registry::storage::{Backend, ObjectSettings, Service};

use crate::harness::skipped;
use crate::objects::bytes;
use crate::process::{Process, command, send, start, text};

const BUCKET: &str = "images";
const KEY: &str = "GK0123456789abcdef01234567";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NODES: usize = 3;

/// A store that ends with this value, or with the process at the latest.
pub struct Cluster {
    program: PathBuf,
    dir: tempfile::TempDir,
    nodes: [Mutex<Option<Child>>; NODES],
    addresses: [SocketAddr; NODES],
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..NODES).for_each(|node| self.kill(node));
    }
}

impl Cluster {
    fn start() -> Option<Self> {
        let program = program()?;
        let dir = tempfile::tempdir().unwrap();
        let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // All are free at the same time, and so none is given twice.
        let held: Vec<_> = (0..NODES * 2).map(|_| port()).collect();
        let ports = held.iter().map(|held| held.local_addr().unwrap());
        let ports: Vec<SocketAddr> = ports.collect();
        drop(held);
        for node in 0..NODES {
            let folder = dir.path().join(format!("node{node}"));
            std::fs::create_dir(&folder).unwrap();
            let (folder, rpc, s3) = (folder.display(), ports[node], ports[NODES + node]);
            let settings = format!(
                "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\n\
                 db_engine = \"sqlite\"\nreplication_factor = 3\n\
                 rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{SECRET}\"\n\
                 [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"{s3}\"\n"
            );
            std::fs::write(settings_of(dir.path(), node), settings).unwrap();
        }
        let cluster = Self {
            program,
            dir,
            nodes: Default::default(),
            addresses: std::array::from_fn(|node| ports[NODES + node]),
        };
        (0..NODES).for_each(|node| cluster.go(node));
        let ids = [0, 1, 2].map(|node| cluster.ask(node, &["node", "id", "-q"]));
        for id in &ids[1..] {
            cluster.ask(0, &["node", "connect", id.trim()]);
        }
        for id in &ids {
            let id = id.split('@').next().unwrap();
            cluster.ask(0, &["layout", "assign", "-z", "a", "-c", "1G", id]);
        }
        cluster.ask(0, &["layout", "apply", "--version", "1"]);
        cluster.ask(0, &["key", "import", "--yes", KEY, SECRET, "-n", "test"]);
        cluster.ask(0, &["bucket", "create", BUCKET]);
        let allow = ["bucket", "allow", "--read", "--write", "--owner", BUCKET];
        cluster.ask(0, &[&allow[..], &["--key", KEY]].concat());
        Some(cluster)
    }

    /// Starts a node, and waits until it answers.
    fn go(&self, node: usize) {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .arg("-c")
            .arg(settings_of(self.dir.path(), node))
            .arg("server")
            .env("RUST_LOG", "garage=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        *self.node(node) = Some(begun(command));
        self.ask(node, &["status"]);
    }

    /// SIGKILL, now.
    fn kill(&self, node: usize) {
        if let Some(mut child) = self.node(node).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn node(&self, node: usize) -> std::sync::MutexGuard<'_, Option<Child>> {
        let node = self.nodes[node].lock();
        node.unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store's own command says, once the node is ready to say it.
    fn ask(&self, node: usize, arguments: &[&str]) -> String {
        let since = Instant::now();
        loop {
            let said = self.try_ask(node, arguments);
            if said.status.success() {
                return String::from_utf8(said.stdout).unwrap();
            }
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&said.stderr)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_ask(&self, node: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        let settings = settings_of(self.dir.path(), node);
        command.arg("-c").arg(settings).args(arguments);
        command.output().unwrap()
    }

    /// Every node sees every other one.
    fn wait_until_whole(&self) {
        let whole = |node| !self.ask(node, &["status"]).contains("FAILED NODES");
        let since = Instant::now();
        while !(0..NODES).all(whole) {
            assert!(since.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The program for a directory whose blobs are here, reached through a node.
    fn command(&self, dir: &Path, node: usize) -> Command {
        let mut command = command();
        command
            .env("RREGISTRY_DATA_DIR", dir)
            .env("RREGISTRY_STORAGE_BACKEND", "s3")
            .env("RREGISTRY_STORAGE_BUCKET", BUCKET)
            .env("RREGISTRY_STORAGE_REGION", "garage")
            .env("RREGISTRY_STORAGE_ENDPOINT", self.endpoint(node))
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    }

    fn serve(&self, dir: &Path, node: usize) -> Process {
        let mut command = self.command(dir, node);
        start(command.args(["serve", "--addr", "127.0.0.1:0"]))
    }

    fn endpoint(&self, node: usize) -> String {
        format!("http://{}", self.addresses[node])
    }
}

/// Where a registry in a directory has its blobs when all tests are to run here.
pub fn backend(dir: &Path) -> Backend {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(Cluster::start);
    let cluster = cluster.as_ref().expect("Garage is asked for and not there");
    let digest = Digest::sha256(dir.as_os_str().as_encoded_bytes());
    Backend::Objects(Box::new(ObjectSettings {
        service: Service::S3,
        bucket: BUCKET.to_owned(),
        prefix: format!("{}/", digest.short()),
        endpoint: Some(cluster.endpoint(0)),
        region: Some("garage".to_owned()),
        path_style: true,
        allow_http: true,
        ca: None,
        access_key: Some(KEY.to_owned()),
        secret_key: Some(SECRET.to_owned()),
        redirect: false,
    }))
}

/// The store's program: `scripts/test-garage.sh` makes it.
fn program() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let program = root.join("target/test-garage/bin/garage");
    if !program.exists() {
        skipped("Garage is not there: scripts/test-garage.sh target/test-garage");
        return None;
    }
    Some(program)
}

fn settings_of(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node{node}.toml"))
}

/// Starts what asked to be killed when the thread that began it ends: one that never does.
fn begun(mut command: Command) -> Child {
    let (told, child) = mpsc::channel();
    std::thread::spawn(move || {
        told.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    child.recv().unwrap().unwrap()
}

fn location(answer: &str) -> &str {
    let mut lines = answer.lines();
    let found = lines.find_map(|line| line.strip_prefix("Location: "));
    found.expect(answer)
}

/// Pushes blobs until it is told to stop, or there are many; all that were acknowledged.
fn pushes(addr: &str, stop: &AtomicBool, seed: u64) -> Vec<(Digest, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for n in 0..40 {
        if stop.load(Relaxed) {
            break;
        }
        let content = bytes(seed * 10_000 + n, 10 << (seed % 4 * 6));
        let digest = Digest::sha256(&content);
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        let answer = send(addr, "POST", &path, &content).unwrap();
        // What is not taken is said so, and may be tried again.
        match answer.starts_with("HTTP/1.1 201") {
            true => acknowledged.push((digest, content)),
            false => assert!(answer.starts_with("HTTP/1.1 503"), "{answer}"),
        }
    }
    acknowledged
}

#[test]
fn nodes_of_the_store_die_and_nothing_is_lost() {
    let Some(store) = Cluster::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let long = bytes(1, (17 << 20) + 7);
    let mut acknowledged = Vec::new();
    let mut begun: Option<String> = None;
    let mut sent = 0;
    // Each process speaks to one node, and another node dies under it.
    for (reached, dies) in [(0, 1), (1, 2), (2, 0)] {
        let process = store.serve(dir.path(), reached);
        let location = begun.get_or_insert_with(|| {
            let answer = process.send("POST", "/v2/app/blobs/uploads/", b"");
            location(&answer).to_owned()
        });
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (addr, stop) = (&process.addr, &stop);
            let pushing = [0, 1, 2, 3].map(|of| {
                let seed = reached as u64 * 4 + of;
                scope.spawn(move || pushes(addr, stop, seed))
            });
            for kill in [false, true] {
                if kill {
                    store.kill(dies);
                }
                let next = (sent + (3 << 20)).min(long.len());
                let answer = process.send("PATCH", location, &long[sent..next]);
                let all = format!("Range: 0-{}\r\n", next - 1);
                assert!(answer.contains(&all), "{kill}: {answer}");
                sent = next;
            }
            stop.store(true, Relaxed);
            for pushing in pushing {
                acknowledged.extend(pushing.join().unwrap());
            }
        });
        assert!(process.kill());
        drop(process);
        store.go(dies);
        store.wait_until_whole();
    }
    let location = begun.unwrap();
    let process = store.serve(dir.path(), 1);
    let digest = Digest::sha256(&long);
    let rest = format!("{location}?digest={digest}");
    let answer = process.send("PUT", &rest, &long[sent..]);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    acknowledged.push((digest, long));

    // Of two of three nodes nothing comes: no blob is called unknown, and no push is taken.
    store.kill(0);
    store.kill(2);
    let lost = acknowledged[0].1.clone();
    let path = format!("/v2/app/blobs/uploads/?digest={}", Digest::sha256(&lost));
    let refused = process.send("POST", &path, &lost);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");
    store.go(0);
    store.go(2);
    store.wait_until_whole();

    let mut size = 0;
    acknowledged.sort();
    acknowledged.dedup();
    assert!(acknowledged.len() > 12, "{}", acknowledged.len());
    for (digest, content) in &acknowledged {
        let answer = process.get(&format!("/v2/app/blobs/{digest}"));
        assert!(answer == *content, "{digest}");
        size += content.len();
    }
    drop(process);
    // What was not acknowledged may be there as well; what was is whole.
    let checked = store
        .command(dir.path(), 0)
        .args(["fsck", "--deep"])
        .output();
    let checked = text(&checked.unwrap());
    assert!(
        checked.ends_with(" read and checked; 0 problems\n"),
        "{checked}"
    );
    let count: usize = checked.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= acknowledged.len(), "{checked}");

    // Nothing needs them: all goes, and the store has no more objects than its own.
    let collected = store
        .command(dir.path(), 2)
        .args(["gc", "--grace", "0s"])
        .output();
    let collected = text(&collected.unwrap());
    assert!(collected.contains(&format!("{count} blobs")), "{collected}");
    assert!(size > 0);
    let left = store.ask(0, &["bucket", "info", BUCKET]);
    let objects = left.lines().find(|line| line.contains("Objects:"));
    assert_eq!(
        objects.unwrap_or(&left).split_whitespace().last(),
        Some("1"),
        "{left}"
    );
}
