//! The digest of an operation, and what its inputs are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::instruction::{Network, Sharing};
use oci::{Digest, Platform};

use super::json::{
    self, CacheOpt, Copy, Exec, ExecKey, Meta, MkDir, MkFile, Mount, Owner, SecretEnv, SecretOpt,
    Tmpfs,
};
use super::output;
use crate::plan::{CopyFrom, CopyOp, CopySource, MountOp, Mounted, Op, RunOp, WorkdirOp};

/// What BuildKit makes of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What its records are called.
    pub key: Digest,
    /// What each of its inputs is, in BuildKit's order.
    pub inputs: Vec<Input>,
}

/// An input of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The layers that the step stands on.
    Parent {
        /// Which part of them counts.
        selector: Option<Digest>,
    },
    /// Files of the tree that the step takes from.
    Files {
        /// Which, by their paths.
        selector: Digest,
        /// The paths and patterns, absolute; a digest of what is there does as well.
        paths: Vec<String>,
    },
    /// Something that is made for this step alone.
    Made {
        /// What its record is called.
        key: Digest,
        /// Which part of it counts.
        selector: Digest,
    },
}

/// What BuildKit makes of an operation: none where that is not known. `network` is what the build
/// says of RUN steps.
pub fn keyed(op: &Op, on_layers: bool, platform: &Platform, network: &str) -> Option<Keyed> {
    match op {
        Op::Run(run) => on_layers.then(|| run_key(run, platform, network))?,
        Op::Copy(copy) => copy_key(copy, on_layers),
        Op::Workdir(workdir) => workdir_key(workdir, on_layers),
    }
}

/// A digest of paths.
fn selector(paths: &[String]) -> Digest {
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    paths.reverse();
    Digest::sha256(paths.join("\0").as_bytes())
}

fn root() -> Digest {
    selector(&["/".to_owned()])
}

/// Inputs and outputs are no numbers of inputs.
const NONE: i64 = -1;

fn run_key(run: &RunOp, platform: &Platform, network: &str) -> Option<Keyed> {
    let plain = run.script.is_none() && run.devices.is_empty() && !run.insecure;
    let network = match (run.network, network) {
        (Network::None, _) | (Network::Default, "none") => 2,
        (Network::Host, _) | (Network::Default, "host") => 1,
        (Network::Default, "default") => 0,
        (Network::Default, _) => return None,
    };
    let mut inputs = vec![Input::Parent {
        selector: Some(root()),
    }];
    let (mut mounts, mut secrets) = (Vec::new(), Vec::new());
    for mount in &run.mounts {
        if let Mounted::Secret { .. } = &mount.what {
            let (file, variable) = secret_key(mount);
            mounts.extend(file);
            secrets.extend(variable);
            continue;
        }
        let (mounted, input) = mount_key(mount)?;
        // Several trees are numbered by what they are, which may be the same.
        if input.is_some() && inputs.len() > 1 {
            return None;
        }
        inputs.extend(input);
        mounts.push(mounted);
    }
    if !mounts.is_empty() {
        let root = Mount {
            dest: "/",
            ..Mount::default()
        };
        mounts.push(root);
        mounts.sort_by_key(|mount| mount.dest);
    }
    let key = ExecKey {
        kind: "buildkit.exec.v0",
        exec: Exec {
            meta: Meta {
                args: &run.argv,
                env: run.env_as_set.iter().map(String::as_str).collect(),
                cwd: &run.cwd,
                user: &run.user,
                remove_stubs: true,
            },
            mounts,
            network,
            secrets,
        },
        os: &platform.os,
        architecture: &platform.architecture,
        variant: platform.variant.as_deref().unwrap_or_default(),
    };
    let digest = json::exec(&key).filter(|_| plain)?;
    Some(Keyed {
        key: output(&digest, 0),
        inputs,
    })
}

/// A secret as a file, as a variable, or as both.
fn secret_key(mount: &MountOp) -> (Option<Mount<'_>>, Option<SecretEnv<'_>>) {
    let Mounted::Secret {
        id,
        env,
        required,
        access,
    } = &mount.what
    else {
        return (None, None);
    };
    let optional = !required;
    let file = mount.target.as_deref().map(|dest| Mount {
        input: NONE,
        dest,
        kind: 1,
        secret: Some(SecretOpt {
            id,
            uid: access.uid.into(),
            gid: access.gid.into(),
            mode: access.mode.into(),
            optional,
        }),
        ..Mount::default()
    });
    let variable = env.as_deref().map(|name| SecretEnv { id, name, optional });
    (file, variable)
}

fn mount_key(mount: &MountOp) -> Option<(Mount<'_>, Option<Input>)> {
    let dest = mount.target.as_deref()?;
    let own = Mount {
        input: NONE,
        dest,
        output: NONE,
        ..Mount::default()
    };
    match &mount.what {
        Mounted::Cache(cache) => {
            let usual = cache.from.is_none()
                && !cache.readonly
                && (cache.mode, cache.uid, cache.gid) == (None, None, None);
            // Only the usual cache is part of the key by its name.
            let id = match cache.id == dest && cache.sharing == Sharing::Shared {
                true => format!("/{dest}"),
                false => String::new(),
            };
            let mounted = Mount {
                kind: 3,
                cache: Some(CacheOpt { id }),
                ..own
            };
            usual.then_some((mounted, None))
        }
        Mounted::Tmpfs { size } => {
            let size = i64::try_from(size.unwrap_or_default()).ok()?;
            let mounted = Mount {
                kind: 4,
                tmpfs: Some(Tmpfs { size }),
                ..own
            };
            (size != 0).then_some((mounted, None))
        }
        Mounted::Bind {
            source, writable, ..
        } if !writable && source != "/" => {
            let mounted = Mount {
                input: 1,
                readonly: true,
                ..own
            };
            let paths = vec![source.clone()];
            let input = Input::Files {
                selector: selector(&paths),
                paths,
            };
            Some((mounted, Some(input)))
        }
        Mounted::Bind { .. } | Mounted::Secret { .. } | Mounted::Ssh { .. } => None,
    }
}

fn workdir_key(workdir: &WorkdirOp, on_layers: bool) -> Option<Keyed> {
    let owner = match workdir.user.as_str() {
        "" => None,
        user => Some(Owner::parse(user)?),
    };
    let action = MkDir {
        path: &workdir.path,
        mode: 0o755,
        parents: true,
        owner,
        timestamp: -1,
    };
    let below = if on_layers { 0 } else { NONE };
    let digest = json::file(&[action], vec![[below, NONE, 0]])?;
    let parent = Input::Parent { selector: None };
    Some(Keyed {
        key: output(&digest, 0),
        inputs: on_layers.then_some(parent).into_iter().collect(),
    })
}

fn copy_key(copy: &CopyOp, on_layers: bool) -> Option<Keyed> {
    let plain = !copy.parents
        && !copy.link
        && copy.exclude.is_empty()
        && copy.unpack.is_none()
        && copy.checksum.is_none()
        && copy.from != CopyFrom::Scratch;
    let mode = match &copy.chmod {
        None => -1,
        Some((_, chmod)) => i64::from(chmod.octal()?),
    };
    let owner = match copy.chown.as_deref() {
        None | Some("") => None,
        Some(text) => Some(Owner::parse(text)?),
    };
    let taken = taken(copy)?;
    let inputs = i64::from(on_layers) + 1;
    let last = i64::try_from(taken.paths.len()).ok()? - 1;
    let mut actions = Vec::new();
    let mut indexes = Vec::new();
    for (path, at) in taken.paths.iter().zip(0..) {
        actions.push(Copy {
            src: base(path),
            dest: &copy.dest,
            owner: owner.clone(),
            mode,
            follow: taken.from_tree,
            contents: taken.from_tree,
            unpack: taken.from_tree && copy.unpack_local,
            create: true,
            wildcard: taken.from_tree,
            empty_wildcard: taken.from_tree,
            timestamp: -1,
        });
        let below = match (at, on_layers) {
            (0, true) => 0,
            (0, false) => NONE,
            (at, _) => inputs + at - 1,
        };
        let out = if at == last { 0 } else { NONE };
        indexes.push([below, inputs - 1, out]);
    }
    let digest = json::file(&actions, indexes).filter(|_| plain)?;
    let parent = Input::Parent { selector: None };
    let mut inputs: Vec<Input> = on_layers.then_some(parent).into_iter().collect();
    inputs.push(taken.input);
    Some(Keyed {
        key: output(&digest, 0),
        inputs,
    })
}

/// What a copy takes.
struct Taken {
    paths: Vec<String>,
    input: Input,
    /// It is no here-document.
    from_tree: bool,
}

fn taken(copy: &CopyOp) -> Option<Taken> {
    if let [CopySource::Inline { name, content }] = copy.sources.as_slice() {
        let path = format!("/{name}");
        let file = MkFile {
            path: &path,
            mode: 0o644,
            data: &STANDARD.encode(content),
            timestamp: -1,
        };
        let made = json::file(&[file], vec![[NONE, NONE, 0]])?;
        let paths = vec![path];
        let input = Input::Made {
            key: output(&made, 0),
            selector: selector(&paths),
        };
        return Some(Taken {
            paths,
            input,
            from_tree: false,
        });
    }
    let paths: Option<Vec<String>> = copy
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(path) => Some(golang::path::clean(&format!("/{path}"))),
            _ => None,
        })
        .collect();
    let paths = paths?;
    let input = Input::Files {
        selector: selector(&paths),
        paths: paths.clone(),
    };
    Some(Taken {
        paths,
        input,
        from_tree: true,
    })
}

/// The last component of an absolute path.
fn base(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some("") | None => "/",
        Some(base) => base,
    }
}
