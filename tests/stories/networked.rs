//! A machine of a test's own, with a store, for stories about networks of containers.

use std::time::{Duration, Instant};

use e2e::{Cmd, Done, Machine, Store, program};

/// A machine with a store.
pub struct Host {
    pub machine: Machine,
    store: Store,
}

impl Host {
    pub fn new() -> Result<Self, e2e::Missing> {
        program("nft")?;
        Ok(Self {
            store: Store::busybox()?,
            machine: Machine::new()?,
        })
    }

    /// A line, in which quotes keep words together.
    pub fn line(&self, line: &str) -> Cmd {
        let mut words = Vec::new();
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        self.machine.on(self.store.rbuild(words))
    }

    #[track_caller]
    pub fn says(&self, line: &str) -> String {
        let done = self.line(line).run();
        assert!(done.status.success(), "{line}: {done}");
        done.out().trim_end().to_owned()
    }

    /// What a line that fails tells, with `ID` for words that have one.
    #[track_caller]
    pub fn refuses(&self, line: &str, code: i32) -> String {
        let done: Done = self.line(line).fails(code);
        let told = done.err();
        let told = told.trim_start_matches("ERROR: ");
        let first = told.split("\n\n").next().unwrap_or_default().trim_end();
        let is_id = |word: &str| {
            let bare = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
            let is_whole = bare.len() == 64 && bare.bytes().all(|b| b.is_ascii_hexdigit());
            is_whole || word.starts_with("id:\"")
        };
        let plain = |line: &str| {
            let words = line.split(' ').map(|word| match is_id(word) {
                true => "ID",
                false => word,
            });
            words.collect::<Vec<_>>().join(" ")
        };
        first.lines().map(plain).collect::<Vec<_>>().join("\n")
    }

    /// A container that answers whoever calls port 80.
    pub fn server(&self, flags: &str, answer: &str) {
        let serve = format!("'busybox nc -ll -p 80 -e echo {answer}'");
        self.says(&format!("run -d {flags} busybox sh -c {serve}"));
    }

    pub fn address(&self, name: &str) -> String {
        let format = "'{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'";
        self.says(&format!("inspect -f {format} {name}"))
    }

    /// What a container hears that calls somebody.
    pub fn hears(&self, name: &str, address: &str, port: u16) -> String {
        let call = format!("'nc -w 2 {address} {port} </dev/null || true'");
        self.says(&format!("exec {name} sh -c {call}"))
    }

    /// What a container learns of a name.
    pub fn resolves(&self, name: &str, asked: &str) -> Vec<String> {
        let lookup = format!("'nslookup -type=a {asked} 2>/dev/null || true'");
        let out = self.says(&format!("exec {name} sh -c {lookup}"));
        let lines = out
            .lines()
            .filter_map(|line| line.strip_prefix("Address: "));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    /// All containers go.
    pub fn end(&self) {
        let all = self.says("ps -aq").replace('\n', " ");
        if !all.is_empty() {
            self.says(&format!("rm -f {all}"));
        }
    }

    pub fn rules(&self) -> String {
        self.machine.sh(
            "nft list ruleset; cat /proc/sys/net/ipv4/ip_forward; ip -o link | grep -c vrb || true",
        )
    }
}

/// What is opened there belongs to a network namespace.
pub fn in_network<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(namespace).unwrap();
    let enter = || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    // A thread that ends right after: it is the one that changes namespaces.
    std::thread::scope(|scope| scope.spawn(enter).join()).unwrap()
}

#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
