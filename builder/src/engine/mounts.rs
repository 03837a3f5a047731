//! What `--mount` shows to a step: made before it runs, taken back after.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dockerfile::instruction::Sharing;
use oci::{ChainId, Platform};
use runtime::{Hidden, Mount, MountKind};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use store::{CacheDir, CacheName, CacheOffer, CacheSharing, NewCacheDir};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use super::copy::{self, Destination, OpenTree};
use super::fetched::Fetched;
use super::mounted::{Forwarded, Held, Mounts};
use super::secrets::Agent;
use super::stack::{Stack, mount};
use super::{Engine, blocking, failed, lock};
use crate::files::rootfs::{Owner, Rootfs};
use crate::plan::mount::{Access, TAKEN, taking};
use crate::plan::{CacheMount, CopyFrom, MountOp, Mounted, Op, RunOp};
use crate::solve::backend::{Cache as _, Job, Tree};
use crate::solve::error::StepError;
use crate::solve::jobs::{Aside, Turn};
use crate::solve::key::{Taken, step_key};
use crate::solve::progress::Vertex;

/// How often a step that waits for a cache mount asks for it.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The mode of a new cache directory (reference, "RUN --mount=type=cache").
const CACHE_MODE: u32 = 0o755;

impl Engine {
    /// Makes a step's mounts; `trees` are those that the mounts are taken from, in their order.
    /// With `anew` cache mounts begin empty, each once in a build.
    pub(super) async fn mounts(
        &self,
        op: &RunOp,
        trees: &[Option<Tree>],
        stack: &Stack,
        line: (&Vertex, &Turn),
        anew: bool,
    ) -> Result<Mounts, StepError> {
        let mut made = Mounts::default();
        for (n, mount) in op.mounts.iter().enumerate() {
            let tree = trees.get(n).and_then(Option::as_ref);
            let at = (stack, line, anew);
            self.mount(op, mount, tree, at, &mut made).await?;
        }
        Ok(made)
    }

    async fn mount(
        &self,
        op: &RunOp,
        mount: &MountOp,
        tree: Option<&Tree>,
        (stack, line, anew): (&Stack, (&Vertex, &Turn), bool),
        made: &mut Mounts,
    ) -> Result<(), StepError> {
        let target = mount.target.clone().unwrap_or_default();
        match &mount.what {
            Mounted::Bind {
                source, writable, ..
            } => {
                let tree = tree.ok_or_else(|| StepError::Other(format!("{target} has no tree")))?;
                let kind = self.bind(tree, source, *writable, line, made).await?;
                made.mounts.push(Mount { target, kind });
            }
            Mounted::Cache(cache) => {
                let dir = self
                    .cache(op, cache, &target, tree, (stack, line, anew))
                    .await?;
                made.mounts
                    .push(Mount::bind(dir.path(), target, cache.readonly));
                made.held.push(Held::Cache(dir));
            }
            Mounted::Tmpfs { size } => made.mounts.push(Mount::tmpfs(target, *size)),
            Mounted::Secret {
                id,
                env,
                required,
                access,
            } => match self.options.secrets.get(id) {
                Some(secret) => secret_mount(mount, secret, id, env.as_deref(), *access, made)?,
                None if *required => {
                    return Err(StepError::NotGiven {
                        what: format!("secret {id}: not found"),
                        help: format!("--secret id={id},src=FILE"),
                    });
                }
                // BuildKit's: a file is absent, a variable is empty, so that `set -u` is content.
                None => made.env.extend(env.iter().map(|name| format!("{name}="))),
            },
            Mounted::Ssh {
                id,
                required,
                access,
            } => match self.options.agents.get(id) {
                Some(agent) => {
                    let (socket, dir, agent) = self.agent(agent, *access).await?;
                    made.mounts.push(Mount::bind(socket, target, false));
                    made.held.extend([Held::Forwarded(agent), Held::Dir(dir)]);
                }
                None if *required => {
                    return Err(StepError::NotGiven {
                        what: format!("unset ssh forward key {id}"),
                        help: format!("--ssh {id}"),
                    });
                }
                None => {}
            },
        }
        Ok(())
    }

    /// Files of a tree.
    async fn bind(
        &self,
        tree: &Tree,
        source: &str,
        writable: bool,
        line: (&Vertex, &Turn),
        made: &mut Mounts,
    ) -> Result<MountKind, StepError> {
        let (chain, below) = match tree {
            Tree::Layers(chain) => (chain.clone(), source.to_owned()),
            // The context as COPY sees it: without what is ignored, all of it root's.
            Tree::Context | Tree::Named(_) => {
                let chain = self.taken(tree, source, line).await?;
                (Some(chain), TAKEN.to_owned())
            }
        };
        let lowers = self.lowers(chain.as_ref()).await?;
        let empty = self.derived("empty").await?;
        let dir = match writable {
            true => Some(self.temporary().await?),
            false => None,
        };
        let paths = dir
            .as_ref()
            .map(|dir| (dir.path().join("upper"), dir.path().join("work")));
        let mounted = blocking(move || {
            if let Some((upper, work)) = &paths {
                for dir in [upper, work] {
                    std::fs::create_dir(dir)
                        .map_err(|e| StepError::other("make a directory", e))?;
                }
                // What the tree's own root is like, which this one covers.
                copy_attributes(lowers.first().unwrap_or(&empty), upper)
                    .map_err(|e| StepError::other("make a directory", e))?;
            }
            let paths = paths
                .as_ref()
                .map(|(upper, work)| (upper.as_path(), work.as_path()));
            mount(&lowers, &empty, paths).map(Rootfs::into_fd)
        })
        .await?;
        made.held.extend(dir.map(Held::Dir));
        Ok(MountKind::Tree {
            tree: Arc::new(mounted),
            below: match below.as_str() {
                "/" => String::new(),
                _ => below,
            },
            readonly: !writable,
        })
    }

    /// A layer of what lies at a path of a context. It is a cached step like a COPY, so that many
    /// steps, and later builds, use one.
    async fn taken(
        &self,
        tree: &Tree,
        source: &str,
        (vertex, turn): (&Vertex, &Turn),
    ) -> Result<ChainId, StepError> {
        let from = match tree {
            Tree::Named(name) => CopyFrom::Named(name.clone()),
            Tree::Context | Tree::Layers(_) => CopyFrom::Context,
        };
        let op = taking(&from, source);
        let sources = self.find_sources(&op, tree, turn).await?;
        let taken = Taken {
            files: &sources.files,
            below: &[],
        };
        let wrapped = Op::Copy(Box::new(op.clone()));
        let key = step_key(&wrapped, None, &Platform::host(), "", taken).digest();
        if let Some(layer) = self.lookup(&key).await? {
            return Ok(layer.chain_id);
        }
        let job = Job::Copy {
            op: &op,
            tree: tree.clone(),
            selected: sources.selected,
        };
        // Boxed: a job that takes files is made within one that runs.
        let layer = Box::pin(self.make(job, None, vertex, turn)).await?;
        self.remember(&key, &layer, &format!("mount {source} of the context"))
            .await?;
        Ok(layer.chain_id)
    }

    /// A directory of this build's own.
    async fn temporary(&self) -> Result<TempDir, StepError> {
        let scratch = self.scratch().await?;
        blocking(move || {
            TempDir::new_in(scratch).map_err(|e| StepError::other("make a directory", e))
        })
        .await
    }

    /// A directory that outlives the build.
    async fn cache(
        &self,
        op: &RunOp,
        cache: &CacheMount,
        target: &str,
        tree: Option<&Tree>,
        (stack, line, anew): (&Stack, (&Vertex, &Turn), bool),
    ) -> Result<CacheDir, StepError> {
        let origin = match tree {
            None => None,
            Some(Tree::Layers(chain)) => Some(format!("{chain:?} {}", cache.source)),
            Some(other) => Some(format!("{other:?} {}", cache.source)),
        };
        let name = CacheName::new(&cache.id, origin.as_deref());
        let store = self.store();
        if anew && lock(&self.shared.emptied).insert(name.clone()) {
            let forgotten = store.forget_cache_mounts(&name).await;
            forgotten.map_err(failed("empty a cache mount"))?;
        }
        let sharing = match cache.sharing {
            Sharing::Shared => CacheSharing::Shared,
            Sharing::Private => CacheSharing::Private,
            Sharing::Locked => CacheSharing::Locked,
        };
        let (mut told, mut away) = (false, None);
        loop {
            let offered = store.cache_mount(&name, sharing).await;
            match offered.map_err(failed("find a cache mount"))? {
                CacheOffer::Kept(dir) => {
                    back(away.take()).await;
                    return Ok(dir);
                }
                CacheOffer::New(dir) => {
                    back(away.take()).await;
                    self.fill_cache(&dir, op, cache, tree, stack).await?;
                    let command = op.argv.join(" ");
                    let text = format!(
                        "cached mount {target} from exec {command} with id {:?}",
                        cache.id
                    );
                    let published = dir.publish(&cache.id, &text).await;
                    if let Some(dir) = published.map_err(failed("keep a cache mount"))? {
                        return Ok(dir);
                    }
                }
                CacheOffer::Busy => {
                    if !told {
                        self.progress
                            .status(line.0, "waiting for the cache mount of another step");
                        told = true;
                    }
                    // Whoever has it may need the turn.
                    away.get_or_insert_with(|| line.1.away());
                    tokio::select! {
                        () = tokio::time::sleep(ASK_AGAIN) => {}
                        () = self.cancel.cancelled() => return Err(StepError::Cancelled),
                    }
                }
            }
        }
    }

    /// Makes a new cache directory: empty, or what `from` has, and owned by whom the mount or else
    /// the step names.
    async fn fill_cache(
        &self,
        dir: &NewCacheDir,
        op: &RunOp,
        cache: &CacheMount,
        tree: Option<&Tree>,
        stack: &Stack,
    ) -> Result<(), StepError> {
        let (parent, path) = (dir.parent().to_owned(), dir.path());
        let mut begun = None;
        if let (Some(tree), Some(from)) = (tree, &cache.from) {
            let mut take = taking(from, &cache.source);
            take.dest = "/fs".to_owned();
            let source = cache.source.clone();
            begun = self
                .with_tree(tree, move |open| {
                    let selected = copy::select(&take, open)?;
                    let open_dir = || {
                        Rootfs::open(&parent).map_err(|e| StepError::other("open a directory", e))
                    };
                    let dest = Destination {
                        mount: &open_dir,
                        below: None,
                        upper: None,
                    };
                    copy::perform(&take, open, &selected, &Fetched::default(), &dest)?;
                    Ok(look_of(open, &source))
                })
                .await?;
        }
        let owner = match (cache.uid, cache.gid, tree) {
            (None, None, Some(_)) => begun.map(|(owner, _)| owner),
            (None, None, None) => Some(self.runs_as(op, stack)?),
            (uid, gid, _) => Some(Owner {
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
            }),
        };
        let mode = match (cache.mode, tree) {
            (None, Some(_)) => begun.map(|(_, mode)| mode),
            (mode, _) => Some(mode.unwrap_or(CACHE_MODE)),
        };
        blocking(move || {
            set_up(&path, owner, mode).map_err(|e| StepError::other("make a cache mount", e))
        })
        .await
    }

    /// Whom a step runs as.
    fn runs_as(&self, op: &RunOp, stack: &Stack) -> Result<Owner, StepError> {
        if op.user.is_empty() {
            return Ok(Owner::default());
        }
        let rootfs = stack.readable()?;
        runtime::users::lookup(rootfs.as_fd(), &op.user)
            .map(|found| Owner {
                uid: found.uid,
                gid: found.gid,
            })
            .map_err(|e| StepError::Other(format!("USER {}: {e}", op.user)))
    }

    /// A socket behind which an SSH agent is.
    async fn agent(
        &self,
        agent: &Agent,
        access: Access,
    ) -> Result<(PathBuf, TempDir, Forwarded), StepError> {
        let dir = self.temporary().await?;
        let socket = dir.path().join("agent");
        let failed = |e: std::io::Error| StepError::other("make the socket of an SSH agent", e);
        // The names of sockets are short, and the store's may be long.
        let open = std::fs::File::open(dir.path()).map_err(failed)?;
        let short = format!("/proc/self/fd/{}/agent", open.as_raw_fd());
        let listener = UnixListener::bind(short).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(access.uid), Gid::from_raw(access.gid));
        rustix::fs::chownat(
            CWD,
            &socket,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .and_then(|()| {
            let mode = Mode::from_raw_mode(access.mode);
            rustix::fs::chmodat(CWD, &socket, mode, AtFlags::empty())
        })
        .map_err(|e| failed(e.into()))?;
        let serving = match agent.clone() {
            Agent::Socket(agent) => tokio::spawn(forward(listener, agent)),
            Agent::Keys(keys) => tokio::spawn(async move {
                let _ = ssh_agent_lib::agent::listen(listener, keys).await;
            }),
        };
        Ok((socket, dir, Forwarded(serving)))
    }
}

/// Goes on when it is this step's turn again.
async fn back(away: Option<Aside<'_>>) {
    if let Some(away) = away {
        away.back().await;
    }
}

/// Connects whoever comes with an agent.
async fn forward(listener: UnixListener, agent: PathBuf) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let agent = agent.clone();
        connections.spawn(async move {
            if let Ok(mut server) = UnixStream::connect(agent).await {
                // Either side may go when it likes.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

/// A secret as a variable, a file, or both.
fn secret_mount(
    mount: &MountOp,
    secret: &Hidden,
    id: &str,
    env: Option<&str>,
    access: Access,
    made: &mut Mounts,
) -> Result<(), StepError> {
    if let Some(name) = env {
        let value = std::str::from_utf8(&secret.0)
            .ok()
            .filter(|text| !text.contains('\0'));
        let Some(value) = value else {
            return Err(StepError::Other(format!(
                "secret {id} cannot be the variable {name}: it is no text; mount it as a file"
            )));
        };
        made.env.push(format!("{name}={value}"));
    }
    if let Some(target) = &mount.target {
        made.mounts.push(Mount {
            target: target.clone(),
            kind: MountKind::File {
                content: secret.clone(),
                uid: access.uid,
                gid: access.gid,
                mode: access.mode,
            },
        });
    }
    Ok(())
}

impl Engine {
    /// The content of what a RUN binds, by target.
    pub(super) async fn bound_files(
        &self,
        op: &RunOp,
        trees: &[Option<Tree>],
        turn: &Turn,
    ) -> Result<Vec<(String, String)>, StepError> {
        let mut digests = Vec::new();
        for (mount, tree) in op.mounts.iter().zip(trees) {
            let (Some((from, take)), Some(tree)) = (mount.taken(), tree) else {
                continue;
            };
            let target = mount.target.clone().unwrap_or_default();
            // An image is what it is: hashing all of it would only find that out again.
            let whole = matches!(&mount.what, Mounted::Bind { source, .. } if source == "/");
            if let (CopyFrom::Image(_), Tree::Layers(Some(chain)), true) = (from, tree, whole) {
                digests.push((target, format!("layers {chain}")));
                continue;
            }
            let found = self.find_sources(&take, tree, turn).await?;
            digests.extend(
                found
                    .files
                    .into_iter()
                    .map(|(_, digest)| (target.clone(), digest)),
            );
        }
        Ok(digests)
    }
}

/// Owner and mode of a directory that a cache begins with: copying its files does not tell them.
fn look_of(open: &OpenTree<'_>, source: &str) -> Option<(Owner, u32)> {
    let dir = open.rootfs.open_dir(Path::new(source)).ok()?;
    let stat = rustix::fs::fstat(dir).ok()?;
    let owner = match open.is_context {
        true => Owner::default(),
        false => Owner {
            uid: stat.st_uid,
            gid: stat.st_gid,
        },
    };
    Some((owner, stat.st_mode & 0o7777))
}

fn set_up(path: &Path, owner: Option<Owner>, mode: Option<u32>) -> std::io::Result<()> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    if let Some(Owner { uid, gid }) = owner {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    }
    match mode {
        Some(mode) => {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(path, mode)
        }
        None => Ok(()),
    }
}

fn copy_attributes(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let there = std::fs::metadata(from)?;
    std::os::unix::fs::lchown(to, Some(there.uid()), Some(there.gid()))?;
    std::fs::set_permissions(to, there.permissions())
}
