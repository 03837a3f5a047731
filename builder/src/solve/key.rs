//! Cache keys: what a step's result depends on, part by part, so that a miss can be explained.

use std::fmt::Write as _;

use oci::digest::Algorithm;
use oci::{ChainId, Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::plan::{CopyFrom, CopyOp, CopySource, Op, RunOp};

/// Changed when the meaning of a key or of what a step does changes, so that old records miss.
const VERSION: &str = "4";

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

    /// Why a step with this key missed where `before` was its key at the last build: the first
    /// parts that differ, in words. `None` when nothing differs.
    pub fn difference(&self, before: &Self) -> Option<String> {
        let old = |name: &str| {
            before
                .parts
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.as_str())
        };
        let mut reasons = Vec::new();
        for (name, value) in &self.parts {
            let was = old(name);
            if was == Some(value) {
                continue;
            }
            reasons.push(match (name.as_str(), was) {
                ("version", _) => "a new version of rbuild keys it differently".to_owned(),
                ("kind", _) => "the instruction is a different one".to_owned(),
                ("parent", _) => "the layers below it changed".to_owned(),
                ("network", Some(_)) => "the network or hosts of RUN changed".to_owned(),
                ("command", Some(was)) => format!("the command changed (it was {was})"),
                (name, Some(was)) => match name.split_once(' ') {
                    Some(("file", "")) => "the content of . changed".to_owned(),
                    Some(("file", path)) => format!("the content of {path} changed"),
                    Some(("env", variable)) => {
                        format!("{variable} changed from {was:?} to {value:?}")
                    }
                    _ => format!("{name} changed from {was:?} to {value:?}"),
                },
                (name, None) => format!("{name} is new"),
            });
        }
        for (name, _) in &before.parts {
            if !self.parts.iter().any(|(n, _)| n == name) {
                reasons.push(format!("{name} is gone"));
            }
        }
        // Another instruction has other parts: naming them all would be noise.
        if reasons.iter().any(|r| r.starts_with("the instruction is")) {
            return Some("the instruction is a different one".to_owned());
        }
        // What lies below explains all that follows; the rest would be noise.
        if reasons.iter().any(|r| r.starts_with("the layers below")) {
            return Some("the layers below it changed".to_owned());
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
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
                key.push(format!("git {i}"), format!("kept={kept} without={without}"));
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
        assert_eq!(first.difference(&first), None);
        let reason = run("make", &["V=2"]).difference(&first).unwrap();
        assert_eq!(reason, r#"V changed from "1" to "2""#);
        let reason = run("make all", &["V=1"]).difference(&first).unwrap();
        assert_eq!(reason, r#"the command changed (it was ["make"])"#);
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(run("a", &["B=cd"]).digest(), run("a", &["Bc=d"]).digest());
        assert_ne!(run("ab", &[]).digest(), run("a", &["b="]).digest());
    }
}
