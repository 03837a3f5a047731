//! Many containers, each ended in a way that chance chooses: every exit code is right, and nothing
//! is left. `RBUILD_PROOF_COUNT` says how many.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use e2e::{Store, need};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::both::{eventually, inspect, monitor, pid_of};

const COUNT: usize = 60;
/// How many are worked on at once.
const AT_ONCE: usize = 4;

/// Numbers that look like chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A container that ends with 7 when it is asked to.
const HEEDS: &str = "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.05; done";

fn start(store: &Store, name: &str, script: &str, net: &str) {
    store
        .rbuild(["run", "-d", "--net", net, "--name", name, "busybox"])
        .args(["sh", "-c", script])
        .ok();
}

fn ended(store: &Store, name: &str, code: i64) {
    let mut state = inspect(store, name)["State"].take();
    eventually("it has ended", || {
        state = inspect(store, name)["State"].take();
        state["Status"] == "exited"
    });
    assert_eq!(state["ExitCode"], code, "{name}: {state}");
}

/// One life.
fn live(store: &Store, name: &str, chance: &mut Chance) {
    let net = ["none", "bridge"][usize::from(chance.below(4) == 0)];
    match chance.below(7) {
        0 => {
            let code = chance.below(200) as i64;
            start(store, name, &format!("exit {code}"), net);
            ended(store, name, code);
        }
        1 => {
            start(store, name, HEEDS, net);
            let pid = pid_of(store, name);
            let _ = kill(monitor(pid), Signal::SIGKILL);
            ended(store, name, 137);
        }
        2 => {
            start(store, name, HEEDS, net);
            let _ = kill(Pid::from_raw(pid_of(store, name)), Signal::SIGKILL);
            ended(store, name, 137);
        }
        3 => {
            start(store, name, HEEDS, net);
            eventually("it heeds signals", || {
                let ready = store.rbuild(["exec", name, "test", "-e", "/ready"]).run();
                ready.status.success()
            });
            store.rbuild(["stop", name]).ok();
            ended(store, name, 7);
            store.rbuild(["start", name]).ok();
            store.rbuild(["kill", name]).ok();
            ended(store, name, 137);
        }
        4 => {
            start(store, name, HEEDS, net);
            store.rbuild(["rm", "-f", name]).ok();
        }
        5 => {
            // The command that starts it is killed at any moment; it may be there or not.
            let runs = store
                .rbuild(["run", "-d", "--net", net, "--name", name, "busybox"])
                .args(["sh", "-c", HEEDS])
                .spawn();
            thread::sleep(Duration::from_micros(chance.below(150_000)));
            runs.signal(Signal::SIGKILL);
            runs.wait();
        }
        _ => {
            // In the foreground, and killed: the container lives on, or was never made.
            let runs = store
                .rbuild(["run", "--net", net, "--name", name, "busybox"])
                .args(["sh", "-c", HEEDS])
                .spawn();
            thread::sleep(Duration::from_micros(chance.below(300_000)));
            runs.signal(Signal::SIGKILL);
            runs.wait();
            let _ = store.rbuild(["restart", "-t", "0", name]).run();
        }
    }
}

#[test]
fn however_containers_end_nothing_is_left() {
    let store = need!(Store::busybox());
    let count = std::env::var("RBUILD_PROOF_COUNT").ok();
    let count = count.map_or(COUNT, |count| count.parse().unwrap());
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = seed.unwrap().subsec_nanos();
    println!("chance begins with {seed}");
    let next = AtomicUsize::new(0);
    let ids = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (store, next, ids) = (&store, &next, &ids);
            scope.spawn(move || {
                let mut chance = Chance(u64::from(seed) << 8 | (worker as u64 + 1));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    live(store, &format!("c{number}"), &mut chance);
                    if number % 10 == 9 {
                        let all = store.rbuild(["ps", "-aq", "--no-trunc"]).ok().out();
                        ids.lock().unwrap().extend(all.lines().map(str::to_owned));
                    }
                }
            });
        }
    });
    let all = store.rbuild(["ps", "-aq", "--no-trunc"]).ok().out();
    let rest: Vec<&str> = all.lines().collect();
    store.rbuild(["rm", "-f"]).args(&rest).ok();
    assert_eq!(store.rbuild(["ps", "-aq"]).ok().out(), "");
    let mut ids = ids.into_inner().unwrap();
    ids.extend(rest.iter().map(|&id| id.to_owned()));
    // A command that was killed before it had written down what it made leaves that to a clean-up.
    store.rbuild(["prune", "-f"]).ok();
    let folders = fs::read_dir(store.root().join("containers")).unwrap();
    assert_eq!(folders.count(), 0, "folders are left");
    let groups = |dir: &str| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| ids.contains(name)).collect()
    };
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path().join("rbuild"));
    let left: Vec<String> = hierarchies
        .chain(["/sys/fs/cgroup/rbuild".into()])
        .flat_map(|dir| groups(dir.to_str().unwrap()))
        .collect();
    assert!(left.is_empty(), "groups are left: {left:?}");
    store.rbuild(["fsck"]).ok();
    // Processes, mounts, namespaces, links and leases are looked for when the store goes.
}
