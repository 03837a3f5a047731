//! Trees made at random, copied by docker and by rbuild: the same files with the same modes,
//! owners, links, devices and attributes come of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use e2e::{Cmd, Dir, Docker, Store, modern_docker, need};
use sha2::{Digest as _, Sha256};

/// A generator of numbers (xorshift): a seed gives the same tree on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// A capability of files as the kernel keeps it (version 2: effective, CAP_NET_RAW).
const CAPABILITY: &str = "0x0100000200200000000000000000000000000000";

/// A shell script of this machine that makes a tree of `count` entries in the working directory.
fn script(seed: u64, count: usize) -> String {
    let mut random = Random(seed);
    let mut lines = vec!["set -eu".to_owned(), "umask 022".to_owned()];
    let mut dirs = vec![".".to_owned()];
    let mut files: Vec<String> = Vec::new();
    for n in 0..count {
        let dir = dirs[random.below(dirs.len() as u64) as usize].clone();
        let stem = random.of(&["f", "with space", "ünï", ".hidden", "-dash", "a'b", "long"]);
        let name = match stem {
            "long" => format!("{n}{}", "l".repeat(200 + random.below(50) as usize)),
            stem => format!("{stem}{n}"),
        };
        let path = format!("{dir}/{name}");
        let quoted = format!("'{}'", path.replace('\'', r"'\''"));
        let time = 1_000_000_000 + random.below(500_000_000);
        match random.below(12) {
            0..=2 => {
                let mode = random.of(&[0o755, 0o700, 0o1777, 0o2755, 0o500, 0o111]);
                lines.push(format!("mkdir {quoted}; chmod {mode:o} {quoted}"));
                dirs.push(path);
                continue;
            }
            3 => lines.push(format!("ln -s ../nowhere/{n} {quoted}")),
            4 => lines.push(format!("mkfifo -m 620 {quoted}")),
            // Block devices are left out: docker 28 makes character devices of them.
            5 => lines.push(format!("mknod -m 640 {quoted} c 1 {n}")),
            6 if !files.is_empty() => {
                let target = files[random.below(files.len() as u64) as usize].clone();
                lines.push(format!("ln {target} {quoted}"));
                continue;
            }
            7 => {
                // Holes before, between and after data.
                lines.push(format!(
                    "truncate -s 1M {quoted}; printf {n} | dd of={quoted} bs=1 seek=300000 \
                     conv=notrunc status=none"
                ));
            }
            kind => {
                let size = random.of(&[0, 1, 100, 5000, 70_000]);
                let mode = random.of(&[0o644, 0o600, 0o4755, 0o2711, 0o1644, 0o000, 0o777]);
                lines.push(format!(
                    "head -c {size} /dev/zero | tr '\\0' {} >{quoted}",
                    n % 10
                ));
                let owner = random.of(&["0:0", "1:2", "65534:65534", "100000:7"]);
                lines.push(format!("chown {owner} {quoted}; chmod {mode:o} {quoted}"));
                if kind == 8 {
                    lines.push(format!(
                        "setfattr -n security.capability -v {CAPABILITY} {quoted}"
                    ));
                }
                if kind == 9 {
                    lines.push(format!("setfattr -n user.n{n} -v value{n} {quoted}"));
                }
                files.push(quoted.clone());
            }
        }
        lines.push(format!("touch -h -d @{time} {quoted}"));
    }
    // The deepest first: what is made in a directory dates it.
    for (n, dir) in dirs.iter().enumerate().rev() {
        let quoted = format!("'{}'", dir.replace('\'', r"'\''"));
        lines.push(format!("touch -d @{} {quoted}", 1_100_000_000 + n));
    }
    lines.join("\n")
}

/// What there is of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    mode: u32,
    owner: (u64, u64),
    size: u64,
    content: String,
    link: String,
    device: (Option<u32>, Option<u32>),
    attributes: Vec<(String, Vec<u8>)>,
    /// Of files, whose time copies keep.
    mtime: u64,
    /// The first of the names of one file, where it has several.
    same_as: String,
}

/// The entries of a tar.
fn listing(tar: &Path) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let mut all: BTreeMap<String, Entry> = BTreeMap::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let clean = |path: &str| path.trim_start_matches("./").trim_matches('/').to_owned();
        let path = clean(&path);
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        let link = String::from_utf8_lossy(&link).into_owned();
        let mut attributes = Vec::new();
        for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
            let extension = extension.unwrap();
            let key = extension.key().unwrap();
            // Others docker's export leaves out.
            if let Some(name) = key.strip_prefix("SCHILY.xattr.security.") {
                attributes.push((name.to_owned(), extension.value_bytes().to_vec()));
            }
        }
        attributes.sort();
        let header = entry.header().clone();
        let kind = header.entry_type().as_byte();
        if header.entry_type() == tar::EntryType::Link {
            let first = clean(&link);
            let known = all[&first].clone();
            names.entry(first).or_default().push(path.clone());
            all.insert(path, known);
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let is_file = header.entry_type().is_file();
        let found = Entry {
            kind: if is_file { b'0' } else { kind },
            mode: header.mode().unwrap() & 0o7777,
            owner: (header.uid().unwrap(), header.gid().unwrap()),
            size: content.len() as u64,
            content: hex::encode(Sha256::digest(&content)),
            link,
            device: match kind {
                b'3' | b'4' => (
                    header.device_major().unwrap(),
                    header.device_minor().unwrap(),
                ),
                _ => (None, None),
            },
            attributes,
            mtime: if is_file { header.mtime().unwrap() } else { 0 },
            same_as: String::new(),
        };
        all.insert(path, found);
    }
    for (first, mut others) in names {
        others.push(first);
        others.sort();
        for name in &others {
            let entry = all.get_mut(name).unwrap();
            entry.same_as = others[0].clone();
            // docker 28 loses them when it gives the second name its owner.
            entry.attributes.clear();
        }
    }
    all
}

/// The first differences of two listings, in words.
fn differences(ours: &BTreeMap<String, Entry>, theirs: &BTreeMap<String, Entry>) -> Vec<String> {
    let all: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let differs = all
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path));
    let told =
        differs.map(|path| format!("{path}\n  {:?}\n  {:?}", ours.get(path), theirs.get(path)));
    told.take(5).collect()
}

/// The trees as tars: one whose owners and attributes count, and one for a context.
fn make(dir: &Dir, seed: u64) -> std::path::PathBuf {
    let tree = dir.join("tree");
    std::fs::create_dir(&tree).unwrap();
    Cmd::new("sh")
        .args(["-c", &script(seed, 60)])
        .current_dir(&tree)
        .ok();
    let tar = dir.join("tree.tar");
    let create = Cmd::new("tar").args(["--create", "--sort=name", "--numeric-owner", "--xattrs"]);
    let create = create.args(["--xattrs-include=*", "--format=pax", "--file"]);
    create.arg(&tar).arg("-C").arg(&tree).arg(".").ok();
    tar
}

fn by_docker(docker: &Docker, tar: &Path, context: &Dir, out: &Path) {
    docker.cmd(["import"]).arg(tar).arg("random:latest").ok();
    docker.build("copied", context.path()).ok();
    let id = docker
        .cmd(["create", "copied", "true"])
        .ok()
        .out()
        .trim()
        .to_owned();
    docker.cmd(["export", "-o"]).arg(out).arg(&id).ok();
    docker.cmd(["rm", &id]).ok();
}

/// What docker itself adds to a container's root.
fn without_dockers(mut all: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    all.retain(|path, _| path.starts_with("copied/") || path.starts_with("owned/"));
    all
}

#[test]
fn copies_of_random_trees_are_dockers() {
    let store = need!(Store::new());
    let docker = need!(modern_docker());
    need!(e2e::program("setfattr"));
    let seed = std::env::var("RBUILD_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = seed.map_or_else(|| vec![3, 77, 123_456_789], |seed| vec![seed]);
    for seed in seeds {
        let dir = Dir::new();
        let tar = make(&dir, seed);
        let context = Dir::dockerfile(
            "FROM scratch\nCOPY --from=random / /copied/\nCOPY --from=random --chown=7:8 / /owned/\n",
        );
        store.rbuild(["import"]).arg(&tar).arg("random:latest").ok();
        store.build("copied", &context).ok();
        let ours = dir.join("ours.tar");
        store.rbuild(["export", "-o"]).arg(&ours).arg("copied").ok();
        let ours = without_dockers(listing(&ours));
        assert!(ours.len() > 100, "seed {seed}: {}", ours.len());
        let theirs = dir.join("theirs.tar");
        by_docker(docker, &tar, &context, &theirs);
        let theirs = without_dockers(listing(&theirs));
        let found = differences(&ours, &theirs);
        assert!(found.is_empty(), "seed {seed}:\n{}", found.join("\n"));
    }
}
