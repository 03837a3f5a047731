//! RUN's mounts: what remains of a `--mount` once everything in it is expanded.

use dockerfile::instruction::{Mount, MountKind, Sharing};

use super::copy::{CopyFrom, CopyOp, CopySource};
use super::state::join;

/// What is mounted for one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOp {
    /// The absolute path in the container; `None` for a secret that is only a variable.
    pub target: Option<String>,
    /// What is there.
    pub what: Mounted,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// Files of a tree. What is written to them is thrown away.
    Bind {
        /// The tree.
        from: CopyFrom,
        /// The absolute path in it.
        source: String,
        /// The step may write.
        writable: bool,
    },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// A memory file system.
    Tmpfs {
        /// Bytes it may hold; `None` is what the kernel gives.
        size: Option<u64>,
    },
    /// A secret: a file, a variable, or both.
    Secret {
        /// The name it is given by.
        id: String,
        /// The variable.
        env: Option<String>,
        /// The step fails without it.
        required: bool,
        /// The file's.
        access: Access,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// The name it is given by.
        id: String,
        /// The step fails without it.
        required: bool,
        /// The socket's.
        access: Access,
    },
}

/// `type=cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// What tells caches apart.
    pub id: String,
    /// What a new one is filled from.
    pub from: Option<CopyFrom>,
    /// The absolute path in `from`.
    pub source: String,
    /// The step may not write.
    pub readonly: bool,
    /// What other steps may do with it at the same time.
    pub sharing: Sharing,
    /// Mode of a new directory.
    pub mode: Option<u32>,
    /// Owner of a new directory.
    pub uid: Option<u32>,
    /// Group of a new directory.
    pub gid: Option<u32>,
}

/// Owner and mode of a file that is made for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Access {
    fn new(uid: Option<u32>, gid: Option<u32>, mode: u32) -> Self {
        Self {
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
            mode,
        }
    }
}

impl MountOp {
    /// The `number`-th SSH agent of its step or any other mount, in the working directory `cwd`;
    /// `tree` tells what a `from` means.
    ///
    /// # Errors
    /// Those of `tree`, and a target that nothing can be mounted on, in BuildKit's words.
    pub fn new<E: From<String>>(
        mount: Mount,
        cwd: &str,
        number: usize,
        mut tree: impl FnMut(&str) -> Result<CopyFrom, E>,
    ) -> Result<Self, E> {
        let Mount { target, kind } = mount;
        let below_cwd = |target: Option<String>| {
            let path = join(cwd, target.as_deref().unwrap_or_default());
            // Without a name there is the root alone, wherever the step runs.
            match target.is_some() && path != "/" {
                true => Ok(path),
                false => Err(E::from(NO_TARGET.to_owned())),
            }
        };
        let source = |source: Option<String>| join("/", &source.unwrap_or_default());
        let (target, what) = match kind {
            MountKind::Bind {
                from,
                source: path,
                writable,
            } => {
                let from = match from {
                    Some(from) => tree(&from)?,
                    None => CopyFrom::Context,
                };
                let what = Mounted::Bind {
                    from,
                    source: source(path),
                    writable,
                };
                (Some(below_cwd(target)?), what)
            }
            MountKind::Cache {
                id,
                from,
                source: path,
                readonly,
                sharing,
                mode,
                uid,
                gid,
            } => {
                // As BuildKit: the target as it is written, relative ones too.
                let id = id.unwrap_or_else(|| clean(target.as_deref().unwrap_or_default()));
                let from = from.as_deref().map(tree).transpose()?;
                let what = Mounted::Cache(CacheMount {
                    id,
                    from,
                    source: source(path),
                    readonly,
                    sharing,
                    mode,
                    uid,
                    gid,
                });
                (Some(below_cwd(target)?), what)
            }
            MountKind::Tmpfs { size } => (Some(below_cwd(target)?), Mounted::Tmpfs { size }),
            MountKind::Secret {
                id,
                env,
                required,
                mode,
                uid,
                gid,
            } => {
                let (path, id) = secret_place(target.as_deref(), id, env.is_some());
                if path.as_deref() == Some("/") {
                    return Err(E::from(NO_TARGET.to_owned()));
                }
                let what = Mounted::Secret {
                    id,
                    env,
                    required,
                    access: Access::new(uid, gid, mode.unwrap_or(0o400)),
                };
                (path, what)
            }
            MountKind::Ssh {
                id,
                required,
                mode,
                uid,
                gid,
            } => {
                let usual = || format!("/run/buildkit/ssh_agent.{number}");
                let path = target.map_or_else(usual, |target| join("/", &target));
                let what = Mounted::Ssh {
                    id: id.unwrap_or_else(|| "default".to_owned()),
                    required,
                    access: Access::new(uid, gid, mode.unwrap_or(0o600)),
                };
                (Some(path), what)
            }
        };
        Ok(Self { target, what })
    }

    /// The tree whose files are part of what the step depends on, and the copy that takes them.
    pub fn taken(&self) -> Option<(&CopyFrom, CopyOp)> {
        match &self.what {
            Mounted::Bind { from, source, .. } => Some((from, taking(from, source))),
            _ => None,
        }
    }

    /// The tree that files are mounted or, for a new cache, copied from.
    pub fn from(&self) -> Option<&CopyFrom> {
        match &self.what {
            Mounted::Bind { from, .. } => Some(from),
            Mounted::Cache(cache) => cache.from.as_ref(),
            _ => None,
        }
    }

    /// All that the step's result depends on beside the files, on one line. A secret's value is
    /// no part of it.
    pub fn describe(&self) -> String {
        match &self.what {
            // Where files come from does not matter, only what they are.
            Mounted::Bind { writable, .. } => format!("bind writable={writable}"),
            other => format!("{other:?}"),
        }
    }
}

/// BuildKit's words for a mount that would cover the root.
const NO_TARGET: &str = "invalid mount target \"/\"";

/// Where a secret's file is, if it has one, and what the secret is called.
fn secret_place(target: Option<&str>, id: Option<String>, env: bool) -> (Option<String>, String) {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let path = target.map(|target| join("/", target));
    let id = id.unwrap_or_else(|| last(path.as_deref().unwrap_or_default()));
    let path = match path {
        None if !env => Some(format!("/run/secrets/{}", last(&id))),
        path => path,
    };
    (path, id)
}

/// Where [`taking`] puts what it takes.
pub const TAKEN: &str = "/source";

/// Takes `source` out of a tree as it is; it is a path, and no pattern.
pub fn taking(from: &CopyFrom, source: &str) -> CopyOp {
    let mut literal = String::new();
    for c in source.trim_start_matches('/').chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    if literal.is_empty() {
        literal.push('.');
    }
    CopyOp {
        from: from.clone(),
        sources: vec![CopySource::Path(literal)],
        dest: TAKEN.to_owned(),
        ..CopyOp::default()
    }
}

/// A path of a container, cleaned: nothing steps out of the root.
pub fn absolute(path: &str) -> String {
    join("/", path)
}

/// Go's `path.Clean`, but of nothing nothing comes.
pub(super) fn clean(path: &str) -> String {
    match path.strip_prefix('/') {
        Some(_) => join("/", path),
        None => join("/", path).trim_start_matches('/').to_owned(),
    }
}

/// Puts mounts above those that lie below them, whatever their order in the file; equal ones stay
/// in it, so that the last one is seen.
pub fn in_order(mounts: &mut [MountOp]) {
    let depth = |path: &String| path.split('/').filter(|part| !part.is_empty()).count();
    mounts.sort_by_key(|mount| mount.target.as_ref().map_or(0, depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerfile::instruction::RawMount;
    use dockerfile::span::{Span, Text};

    fn mount(value: &str, cwd: &str) -> Result<MountOp, String> {
        let raw = RawMount {
            value: Text::new(value, Span::new(0, value.len())),
        };
        let mount = raw.resolve(|word| Ok(word.to_owned())).unwrap();
        MountOp::new(mount, cwd, 3, |name| Ok(CopyFrom::Named(name.to_owned())))
    }

    /// Targets as BuildKit 0.26 mounts them (its docker 28), and what it calls caches.
    #[test]
    fn targets_are_where_buildkit_has_them() {
        for (value, cwd, target) in [
            ("target=/ctx", "/w", "/ctx"),
            ("target=ctx/../x", "/w", "/w/x"),
            ("type=tmpfs,target=.", "/w", "/w"),
            ("type=cache,target=../c", "/w/d", "/w/c"),
            ("type=secret,id=s", "/w", "/run/secrets/s"),
            ("type=secret,id=a/s", "/w", "/run/secrets/s"),
            ("type=secret,id=s,target=rel", "/w", "/rel"),
            ("type=secret,id=s,env=E,target=/z", "/w", "/z"),
            ("type=ssh", "/w", "/run/buildkit/ssh_agent.3"),
            ("type=ssh,target=/tmp/k", "/w", "/tmp/k"),
        ] {
            let found = mount(value, cwd).unwrap().target;
            assert_eq!(found.as_deref(), Some(target), "{value} in {cwd}");
        }
        assert_eq!(mount("type=secret,id=s,env=E", "/").unwrap().target, None);
        for value in [
            "source=a.txt",
            "type=cache",
            "type=tmpfs",
            "type=tmpfs,target=/",
            "type=tmpfs,target=../..",
            "target=.",
        ] {
            let refused = mount(value, "/").unwrap_err();
            assert_eq!(refused, "invalid mount target \"/\"", "{value}");
        }
    }

    #[test]
    fn a_cache_is_told_by_its_id_or_target() {
        for (value, id) in [
            ("type=cache,target=/c/", "/c"),
            ("type=cache,target=c/../d", "d"),
            ("type=cache,target=/c,id=/c/", "/c/"),
        ] {
            match mount(value, "/w").unwrap().what {
                Mounted::Cache(cache) => assert_eq!(cache.id, id, "{value}"),
                other => panic!("{other:?}"),
            }
        }
        let secret = mount("type=secret,target=/etc/npmrc", "/").unwrap();
        assert!(matches!(secret.what, Mounted::Secret { id, .. } if id == "npmrc"));
    }

    #[test]
    fn sources_are_paths_and_no_patterns() {
        for (source, path) in [("/", "."), ("/a/b", "a/b"), ("/a[1]*?\\", "a\\[1\\]*")] {
            let op = taking(&CopyFrom::Context, source);
            let CopySource::Path(found) = &op.sources[0] else {
                panic!("no path");
            };
            match path.starts_with("a\\[") {
                true => assert_eq!(found, "a\\[1]\\*\\?\\\\"),
                false => assert_eq!(found, path),
            }
        }
    }

    #[test]
    fn mounts_go_from_the_root_down() {
        let values = ["target=/t/a/b", "type=tmpfs,target=/t", "target=/t"];
        let mut all: Vec<MountOp> = values.iter().map(|v| mount(v, "/").unwrap()).collect();
        in_order(&mut all);
        let kinds: Vec<&str> = all
            .iter()
            .map(|m| match m.what {
                Mounted::Tmpfs { .. } => "tmpfs",
                _ => "bind",
            })
            .collect();
        assert_eq!(kinds, ["tmpfs", "bind", "bind"]);
        assert_eq!(all[2].target.as_deref(), Some("/t/a/b"));
    }
}
