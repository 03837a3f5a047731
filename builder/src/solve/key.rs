//! Cache keys: what a step's result depends on, part by part, so that a miss can be explained.

use std::fmt::Write as _;

use oci::digest::Algorithm;
use oci::{ChainId, Digest, Platform};
use serde::{Deserialize, Serialize};

use super::reason::{Difference, tellable};
use crate::plan::{CopyFrom, CopyOp, CopySource, Op, RunOp};

/// Changed when the meaning of a key or of what a step does changes, so that old records miss.
const VERSION: &str = "5";

/// The named parts of a cache key, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepKey {
    parts: Vec<(String, String)>,
}

impl StepKey {
    fn new(kind: &str, parent: Option<&ChainId>) -> Self {
        let parent = parent.map_or_else(|| "scratch".to_owned(), ToString::to_string);
        let mut key = Self { parts: Vec::new() };
        key.push("version", VERSION);
        key.push("kind", kind);
        key.push("parent", parent);
        key
    }

    fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.parts.push((name.into(), value.into()));
    }

    /// The key of the same step whose files are dated to a moment.
    pub fn dated(mut self, moment: &str) -> Self {
        self.push("epoch", moment);
        self
    }

    /// The digest that records are found by.
    pub fn digest(&self) -> Digest {
        let mut hasher = Algorithm::Sha256.hasher();
        for (name, value) in &self.parts {
            for text in [name, value] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        hasher.finish()
    }

    /// The same without the values of variables whose names say that they are secrets: in place
    /// of each is what tells whether it changes.
    pub fn kept(&self) -> Self {
        let parts = self.parts.iter().map(|(name, value)| {
            let value = match secret(name) && !value.starts_with(SEALED) {
                true => format!("{SEALED}{}", Digest::sha256(value.as_bytes()).hex()),
                false => value.clone(),
            };
            (name.clone(), value)
        });
        Self {
            parts: parts.collect(),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut parts = self.parts.iter();
        let found = parts.find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// In what a step with this key differs from `before`, the key of what was in its place, both
    /// as they are [`kept`](Self::kept); `from` says what is below it.
    pub fn differences(&self, before: &Self, from: &str) -> Vec<Difference> {
        // Another instruction has other parts: naming them all would be noise.
        for (name, difference) in [
            ("version", Difference::Version),
            ("kind", Difference::Instruction),
        ] {
            if self.value(name) != before.value(name) {
                return vec![difference];
            }
        }
        let gone = before.parts.iter();
        let gone = gone.filter(|(name, _)| self.value(name).is_none());
        let gone = gone.map(|(name, value)| (name, Some(value.as_str()), None));
        let here = self.parts.iter();
        let here = here.map(|(name, value)| (name, before.value(name), Some(value.as_str())));
        let changed = here.chain(gone).filter(|(_, was, is)| was != is);
        changed
            .map(|(name, was, is)| difference(name, was, is, from))
            .collect()
    }

    /// The sources whose files are listed, in the groups in which they are: those of a copy
    /// together, those of mounts one by one.
    pub fn listed(&self) -> Vec<Vec<Part<'_>>> {
        let files = self.parts.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("file ")?;
            let listed = ["directory ", "file "]
                .iter()
                .any(|kind| value.starts_with(kind));
            listed.then_some(Part { name, value })
        });
        match self.value("kind") {
            Some("copy") => vec![files.collect()],
            _ => files.map(|part| vec![part]).collect(),
        }
    }

    /// Whether the files of a source are listed.
    pub fn lists(&self, path: &str) -> bool {
        let groups = self.listed();
        groups.iter().flatten().any(|part| part.name == path)
    }
}

/// What a key says of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'k> {
    /// What the instruction calls it.
    pub name: &'k str,
    /// What it holds.
    pub value: &'k str,
}

/// What stands before the digest of a value that is not kept.
const SEALED: &str = "sealed ";

/// Whether a part is a variable whose name says that it is a secret.
fn secret(part: &str) -> bool {
    let name = part.strip_prefix("env ");
    name.is_some_and(dockerfile::lint::names_a_secret)
}

fn difference(part: &str, was: Option<&str>, is: Option<&str>, from: &str) -> Difference {
    let text = |value: Option<&str>| value.map(str::to_owned);
    match (part, part.split_once(' ')) {
        ("parent", _) => Difference::Below {
            from: from.to_owned(),
        },
        ("network", _) => Difference::Network,
        ("command", _) => Difference::Command {
            before: was.unwrap_or_default().to_owned(),
            after: is.unwrap_or_default().to_owned(),
        },
        (_, Some(("file", path))) => Difference::Content {
            path: path.to_owned(),
        },
        (_, Some(("env", name))) => {
            let told = |value: Option<&str>| value.map(|value| tellable(name, value));
            Difference::Variable {
                name: name.to_owned(),
                before: told(was),
                after: told(is),
            }
        }
        (name, _) => Difference::Other {
            name: name.to_owned(),
            before: text(was),
            after: text(is),
        },
    }
}

/// What an operation takes from elsewhere, by name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken<'a> {
    /// The content digests of a copy's sources, or of what a RUN binds, in order.
    pub files: &'a [(String, String)],
    /// What a `--link` copy takes from the layers below it, which are no part of its key.
    pub below: &'a [(String, String)],
}

/// The key of an operation on top of `parent`. `run_flags` tell what else a RUN depends on.
pub fn step_key(
    op: &Op,
    parent: Option<&ChainId>,
    platform: &Platform,
    run_flags: &str,
    taken: Taken<'_>,
) -> StepKey {
    match op {
        Op::Run(run) => run_key(run, parent, platform, run_flags, taken.files),
        Op::Copy(copy) => {
            let parent = parent.filter(|_| !copy.link);
            copy_key(copy, parent, taken)
        }
        Op::Workdir(workdir) => {
            let mut key = StepKey::new("workdir", parent);
            key.push("path", &workdir.path);
            key.push("USER", &workdir.user);
            key
        }
    }
}

fn run_key(
    run: &RunOp,
    parent: Option<&ChainId>,
    platform: &Platform,
    run_flags: &str,
    files: &[(String, String)],
) -> StepKey {
    let mut key = StepKey::new("run", parent);
    key.push("command", quote(&run.argv));
    for pair in &run.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        key.push(format!("env {name}"), value);
    }
    key.push("USER", &run.user);
    key.push("WORKDIR", &run.cwd);
    key.push("platform", platform.to_string());
    key.push("network", format!("{:?}/{run_flags}", run.network));
    if let Some((path, body)) = &run.script {
        key.push("script", path);
        key.push("script text", Digest::sha256(body.as_bytes()).to_string());
    }
    for mount in &run.mounts {
        let target = mount.target.as_deref().unwrap_or("as a variable");
        key.push(format!("mount {target}"), mount.describe());
    }
    for device in &run.devices {
        key.push(
            format!("--device {}", device.name),
            device.required.to_string(),
        );
    }
    if run.insecure {
        key.push("--security", "insecure");
    }
    for (target, digest) in files {
        key.push(format!("file {target}"), digest);
    }
    key
}

fn copy_key(copy: &CopyOp, parent: Option<&ChainId>, taken: Taken<'_>) -> StepKey {
    let mut key = StepKey::new("copy", parent);
    // What is taken is told by content; where it comes from decides only how owners are kept.
    let kept = !matches!(copy.from, CopyFrom::Context);
    key.push("owners", if kept { "kept" } else { "root" });
    key.push("destination", &copy.dest);
    key.push("--chown", copy.chown.as_deref().unwrap_or_default());
    key.push("--chmod", copy.chmod.as_ref().map_or("", |(text, _)| text));
    let mut flags = String::new();
    let _ = write!(
        flags,
        "parents={} link={} unpack={}",
        copy.parents, copy.link, copy.unpack_local
    );
    let _ = write!(flags, "/{:?}", copy.unpack);
    key.push("flags", flags);
    for (i, source) in copy.sources.iter().enumerate() {
        match source {
            CopySource::Inline { name, content } => {
                let digest = Digest::sha256(content.as_bytes()).to_string();
                key.push(format!("file <<{name}"), digest);
            }
            CopySource::Path(path) | CopySource::Url(path) => {
                key.push(format!("source {i}"), path);
            }
            // Its commit stands for where it comes from.
            CopySource::Git(git) => {
                let subdir = git.source.subdir.as_deref().unwrap_or_default();
                key.push(format!("source {i}"), format!("git {subdir}"));
                let (kept, without) = (git.keep_git_dir, git.source.without_submodules);
                // Which of its files are taken is told by no digest.
                let exclude = &copy.exclude;
                let text = format!("kept={kept} without={without} exclude={exclude:?}");
                key.push(format!("git {i}"), text);
            }
        }
    }
    for (path, digest) in taken.files {
        key.push(format!("file {path}"), digest);
    }
    for (what, value) in taken.below {
        key.push(format!("the image's {what}"), value);
    }
    key
}

fn quote(argv: &[String]) -> String {
    serde_json::to_string(argv).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerfile::instruction::Network;

    fn run(command: &str, env: &[&str]) -> StepKey {
        let op = Op::Run(RunOp {
            argv: vec![command.to_owned()],
            env: env.iter().map(|s| (*s).to_owned()).collect(),
            env_as_set: Vec::new(),
            hidden_env: vec!["HTTP_PROXY=http://proxy".to_owned()],
            user: String::new(),
            cwd: "/".to_owned(),
            network: Network::Default,
            script: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            insecure: false,
        });
        step_key(&op, None, &Platform::host(), "default", Taken::default())
    }

    #[test]
    fn a_difference_is_named() {
        let first = run("make", &["V=1"]);
        let told = |key: &StepKey| {
            let all = key.kept().differences(&first.kept(), "FROM x");
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&first), [""; 0]);
        assert_eq!(
            told(&run("make", &["V=2"])),
            [r#"V changed from "1" to "2""#]
        );
        let reason = r#"the command changed (it was ["make"])"#;
        assert_eq!(told(&run("make all", &["V=1"])), [reason]);
        assert_eq!(told(&run("make", &[])), [r#"V is gone, which was "1""#]);
        let reason = r#"W is new, with the value "x""#;
        assert_eq!(told(&run("make", &["V=1", "W=x"])), [reason]);
    }

    #[test]
    fn values_of_secrets_are_neither_kept_nor_told() {
        let key = run("make", &["NPM_TOKEN=hunter2", "V=1"]);
        let kept = serde_json::to_string(&key.kept()).unwrap();
        assert!(
            !kept.contains("hunter2") && kept.contains("NPM_TOKEN"),
            "{kept}"
        );
        assert_eq!(key.kept().kept(), key.kept());
        let other = run("make", &["NPM_TOKEN=swordfish", "V=1"]);
        let told = other.kept().differences(&key.kept(), "");
        let hidden = Some("***".to_owned());
        let (before, after) = (hidden.clone(), hidden);
        let name = "NPM_TOKEN".to_owned();
        assert_eq!(
            told,
            [Difference::Variable {
                name,
                before,
                after
            }]
        );
        assert_eq!(key.kept().differences(&key.kept(), ""), []);
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(run("a", &["B=cd"]).digest(), run("a", &["Bc=d"]).digest());
        assert_ne!(run("ab", &[]).digest(), run("a", &["b="]).digest());
    }
}
