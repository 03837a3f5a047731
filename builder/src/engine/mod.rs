//! The world as it is: the local store, the container runtime, registries and build contexts.

pub mod copy;
mod remote;
pub mod run;
mod sources;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dockerfile::instruction::Network;
use images::Images;
use images::layout::{LayoutPlace, ingest_image};
use images::progress::Untold;
use oci::layer::TarOptions;
use oci::layer::clamp::clamp_times;
use oci::layer::diff::measure;
use oci::{ChainId, Digest};
use runtime::Overlay;
use runtime::network::Sandbox;
use runtime::users::UserError;
use store::{NewCacheRecord, StagedSnapshot, Store};
use tokio::sync::OnceCell;

use crate::context::BuildContext;
use crate::files::index::FileIndex;
use crate::files::rootfs::{Owner, Rootfs};
use crate::files::select::{Everything, Selection};
use crate::plan::{CopyOp, ImageName, ImageRequest, RunOp};
use crate::solve::backend::{Backend, BaseImage, Job, Layer, Sources, Tree};
use crate::solve::error::StepError;
use crate::solve::progress::{Progress, Vertex};
use copy::{Destination, OpenTree};
use run::{Cancel, RunContext, RunSettings, StepNetwork};

/// Builds on this machine.
pub struct Engine {
    /// The store and the way to registries.
    images: Images,
    options: EngineOptions,
    progress: Arc<dyn Progress>,
    cancel: Arc<Cancel>,
    shared: Shared,
}

/// What each path among the sources of a copy takes, if it was looked for.
type Selected = Option<Vec<Vec<Selection>>>;

/// What steps leave for later ones.
#[derive(Default)]
struct Shared {
    sandbox: OnceCell<Arc<Sandbox>>,
    indexes: Mutex<HashMap<PathBuf, FileIndex>>,
    remote: remote::Known,
    /// Layers of files that changed while they were copied: their keys may tell of others.
    unsteady: Mutex<HashSet<ChainId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a build on this machine is made with.
pub struct EngineOptions {
    /// The build context.
    pub context: Arc<BuildContext>,
    /// The trees of `--build-context`, by name.
    pub named: BTreeMap<String, Arc<BuildContext>>,
    /// `--build-context NAME=oci-layout://…`, by name.
    pub layouts: BTreeMap<String, LayoutPlace>,
    /// What RUN steps share.
    pub settings: RunSettings,
    /// `--network`
    pub network: String,
    /// `--pull`
    pub pull: bool,
    /// `SOURCE_DATE_EPOCH`: nothing made is dated later than this, seconds since 1970.
    pub epoch: Option<i64>,
}

impl Engine {
    /// An engine for one build, which tells of its work through `progress` and ends early when
    /// `cancel` says so.
    pub fn new(
        images: Images,
        options: EngineOptions,
        progress: Arc<dyn Progress>,
        cancel: Arc<Cancel>,
    ) -> Self {
        Self {
            images,
            options,
            progress,
            cancel,
            shared: Shared::default(),
        }
    }

    fn store(&self) -> &Store {
        &self.images.store
    }

    /// The directories of a chain, topmost first.
    async fn lowers(&self, chain: Option<&ChainId>) -> Result<Vec<PathBuf>, StepError> {
        let Some(chain) = chain else {
            return Ok(Vec::new());
        };
        let snapshots = self
            .store()
            .chain(chain)
            .await
            .map_err(failed("read the store"))?;
        if snapshots.is_empty() {
            return Err(StepError::LayersGone(chain.clone()));
        }
        Ok(snapshots.into_iter().map(|s| s.fs_path).collect())
    }

    /// The network of a RUN, made when the first step needs it.
    async fn step_network(&self, wanted: Network) -> Result<StepNetwork, StepError> {
        match (wanted, self.options.network.as_str()) {
            (Network::Host, _) | (Network::Default, "host") => Ok(StepNetwork::Host),
            (Network::None, _) | (Network::Default, "none") => Ok(StepNetwork::None),
            (Network::Default, _) => {
                // It waits for its turn among the builds of this machine.
                let make = || {
                    blocking(|| {
                        Sandbox::create(&runtime::network::Config::default())
                            .map(Arc::new)
                            .map_err(|e| StepError::Other(e.to_string()))
                    })
                };
                let sandbox = self.shared.sandbox.get_or_try_init(make).await?;
                Ok(StepNetwork::Sandbox(Arc::clone(sandbox)))
            }
        }
    }

    /// A directory of data that can be made again.
    async fn derived(&self, name: &str) -> Result<PathBuf, StepError> {
        let made = self.store().derived_dir(name).await;
        made.map_err(failed("make a directory in the store"))
    }

    /// A directory for temporary files.
    async fn scratch(&self) -> Result<PathBuf, StepError> {
        let made = self.store().scratch_dir().await;
        made.map_err(failed("make a directory in the store"))
    }

    /// The directory of mount points that lies below all layers of a container.
    async fn stub(&self) -> Result<PathBuf, StepError> {
        let path = self.derived("mountpoints").await?;
        blocking(move || {
            if !path.join("etc/mtab").exists() {
                runtime::overlay::prepare_stub_dir(&path)
                    .map_err(|e| StepError::Other(e.to_string()))?;
            }
            Ok(path)
        })
        .await
    }

    /// The context that a tree names, when it is one.
    fn context_of(&self, tree: &Tree) -> Result<Option<Arc<BuildContext>>, StepError> {
        match tree {
            Tree::Context => Ok(Some(Arc::clone(&self.options.context))),
            Tree::Named(name) => match self.options.named.get(name) {
                Some(context) => Ok(Some(Arc::clone(context))),
                None => Err(StepError::NoSuchContext(name.clone())),
            },
            Tree::Layers(_) => Ok(None),
        }
    }

    /// Opens a tree and calls `work` with it, off the async threads.
    async fn with_tree<T: Send + 'static>(
        &self,
        tree: &Tree,
        work: impl FnOnce(&OpenTree<'_>) -> Result<T, StepError> + Send + 'static,
    ) -> Result<T, StepError> {
        let context = self.context_of(tree)?;
        let lowers = match tree {
            Tree::Layers(chain) => self.lowers(chain.as_ref()).await?,
            _ => Vec::new(),
        };
        let empty = self.derived("empty").await?;
        let stop = self.cancel.flag();
        blocking(move || match context {
            Some(context) => work(&OpenTree {
                rootfs: &context.rootfs,
                filter: &context.filter,
                is_context: true,
                stop: &stop,
            }),
            None => {
                let rootfs = mount(&lowers, &empty, None)?;
                work(&OpenTree {
                    rootfs: &rootfs,
                    filter: &Everything,
                    is_context: false,
                    stop: &stop,
                })
            }
        })
        .await
    }

    /// RUN: a process on the stack.
    async fn run(&self, op: &RunOp, stack: Stack, vertex: &Vertex) -> Result<(), StepError> {
        let network = self.step_network(op.network).await?;
        let stub = self.stub().await?;
        let scratch = self.scratch().await?;
        let settings = self.options.settings.clone();
        let cancel = Arc::clone(&self.cancel);
        let progress = Arc::clone(&self.progress);
        let (op, vertex) = (op.clone(), vertex.clone());
        blocking(move || {
            make_cwd(&op.cwd, &stack)?;
            let overlay = Overlay {
                lowers: stack.lowers,
                stub: Some(stub),
                upper: stack.upper,
                work: stack.work,
            };
            let context = RunContext {
                network,
                settings: &settings,
                scratch: &scratch,
                cancel: &cancel,
                progress: progress.as_ref(),
                vertex: &vertex,
            };
            run::run(&op, overlay, context)
        })
        .await
    }

    /// COPY and ADD: files of a tree onto the stack. Returns whether they were still what their
    /// digests say.
    async fn copy(
        &self,
        op: &CopyOp,
        tree: &Tree,
        selected: Selected,
        stack: Stack,
    ) -> Result<bool, StepError> {
        let fetched = self.fetch(op).await?;
        let op = op.clone();
        self.with_tree(tree, move |open| {
            let selected = match selected {
                Some(selected) => selected,
                None => copy::select(&op, open)?,
            };
            let (rootfs, below) = match op.link {
                true => (stack.bare()?, Some(stack.readable()?)),
                false => (stack.writable()?, None),
            };
            let dest = Destination {
                rootfs: &rootfs,
                below: below.as_ref(),
            };
            copy::perform(&op, open, &selected, &fetched, &dest)
        })
        .await
    }

    /// Does a step.
    async fn make(
        &self,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
    ) -> Result<Layer, StepError> {
        self.cancel.check()?;
        let staged = self
            .store()
            .begin_snapshot()
            .await
            .map_err(failed("prepare a snapshot"))?;
        let done = self.fill(&staged, job, parent, vertex).await;
        let steady = match done.and_then(|steady| self.cancel.check().map(|()| steady)) {
            Ok(steady) => steady,
            Err(e) => return Err(self.give_up(staged, e).await),
        };
        let layer = self.commit(staged, parent).await?;
        if !steady {
            lock(&self.shared.unsteady).insert(layer.chain_id.clone());
        }
        Ok(layer)
    }

    /// Gives the space of a step back that failed: it may have filled the disk, which whatever
    /// comes next needs. Who has interrupted it does not wait for that.
    async fn give_up(&self, staged: StagedSnapshot, error: StepError) -> StepError {
        let error = self.cancel.explain(error);
        if !matches!(error, StepError::Cancelled) {
            staged.discard().await;
        }
        error
    }

    /// Fills a staged snapshot; whether the step would come to the same again.
    async fn fill(
        &self,
        staged: &StagedSnapshot,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
    ) -> Result<bool, StepError> {
        let stack = Stack {
            lowers: self.lowers(parent).await?,
            empty: self.derived("empty").await?,
            upper: staged.upper().to_owned(),
            work: staged.work().to_owned(),
        };
        match job {
            Job::Run(op) => self.run(op, stack, vertex).await?,
            Job::Copy { op, tree, selected } => {
                return self.copy(op, &tree, selected, stack).await;
            }
            Job::Workdir(op) => {
                let op = op.clone();
                blocking(move || make_workdir(&op.path, &op.user, &stack.writable()?)).await?;
            }
        }
        Ok(true)
    }

    /// Makes the layer of what is in a staged snapshot.
    async fn commit(
        &self,
        staged: StagedSnapshot,
        parent: Option<&ChainId>,
    ) -> Result<Layer, StepError> {
        let upper = staged.upper().to_owned();
        let options = TarOptions {
            clamp_mtime: self.options.epoch,
        };
        let stop = self.cancel.flag();
        let layer = blocking(move || {
            let go_on = || stop.check();
            let dir = oci::layer::open_dir(&upper)?;
            // What runs on it here sees what it will see where it is pulled.
            if let Some(latest) = options.clamp_mtime {
                clamp_times(&dir, latest, &go_on)?;
            }
            Ok(measure(&dir, &options, &go_on)?)
        })
        .await;
        let layer = match layer {
            Ok(layer) => layer,
            Err(e) => return Err(self.give_up(staged, e).await),
        };
        let (diff, size_tar, size_files) = (layer.diff_id, layer.size_tar, layer.size_files);
        let snapshot = staged
            .commit(
                parent,
                diff.clone(),
                size_tar,
                size_files,
                self.options.epoch,
            )
            .await
            .map_err(failed("store the layer"))?;
        Ok(Layer {
            diff_id: diff,
            chain_id: snapshot.chain_id,
            created: self
                .dated()
                .unwrap_or_else(|| jiff::Timestamp::now().to_string()),
        })
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    tokio::task::spawn_blocking(work).await?
}

/// The store failed while this was being done.
fn failed(what: &'static str) -> impl Fn(store::Error) -> StepError {
    move |cause| StepError::Store { what, cause }
}

/// The layers that a step works on, and where it leaves its own.
struct Stack {
    /// Topmost first.
    lowers: Vec<PathBuf>,
    /// Stands for the layers when there are none.
    empty: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

impl Stack {
    /// The files as they are.
    fn readable(&self) -> Result<Rootfs, StepError> {
        mount(&self.lowers, &self.empty, None)
    }

    /// The files, to be changed.
    fn writable(&self) -> Result<Rootfs, StepError> {
        let upper = Some((self.upper.as_path(), self.work.as_path()));
        mount(&self.lowers, &self.empty, upper)
    }

    /// No files, to be added to: what comes of it lies upon the layers.
    fn bare(&self) -> Result<Rootfs, StepError> {
        let upper = Some((self.upper.as_path(), self.work.as_path()));
        mount(&[], &self.empty, upper)
    }
}

/// A detached overlay of `lowers`, writable when `upper` (and its work directory) is given.
fn mount(
    lowers: &[PathBuf],
    empty: &Path,
    upper: Option<(&Path, &Path)>,
) -> Result<Rootfs, StepError> {
    let empty = [empty.to_owned()];
    let lowers = if lowers.is_empty() {
        &empty[..]
    } else {
        lowers
    };
    let mounted = runtime::overlay::mount_detached(lowers, upper)
        .map_err(|e| StepError::Other(e.to_string()))?;
    Ok(Rootfs::new(mounted))
}

impl Backend for Engine {
    type Selected = Selected;

    async fn image(&self, wanted: &ImageRequest, vertex: &Vertex) -> Result<BaseImage, StepError> {
        let note = |text: &str| self.progress.status(vertex, text);
        let platform = &wanted.platform;
        let found = match &wanted.name {
            ImageName::Reference(reference) => {
                let pull = self.options.pull;
                self.images.image(reference, platform, pull, &note).await
            }
            ImageName::Layout(name) => {
                let missing = || StepError::NoSuchContext(name.clone());
                let place = self.options.layouts.get(name).ok_or_else(missing)?;
                ingest_image(&self.images, place, platform).await
            }
        };
        let image = found?;
        self.images.ensure_unpacked(&image.config, &Untold).await?;
        Ok(BaseImage {
            id: image.id,
            config: image.config,
        })
    }

    async fn sources(&self, op: &CopyOp, tree: &Tree) -> Result<Sources<Selected>, StepError> {
        let found = self.find_sources(op, tree).await;
        found.map_err(|e| self.cancel.explain(e))
    }

    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError> {
        let found = self.store().cache_get(key).await;
        let failed = failed("read the build cache");
        let Some(record) = found.map_err(&failed)? else {
            return Ok(None);
        };
        let (Some(diff_id), Some(chain_id)) = (record.diff_id, record.chain_id) else {
            return Ok(None);
        };
        // The files may have been taken away behind the store's back: the step is done again.
        let there = self.store().snapshot(&chain_id).await.map_err(&failed)?;
        Ok(there.map(|_| Layer {
            diff_id,
            chain_id,
            created: record.created,
        }))
    }

    async fn execute(
        &self,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
    ) -> Result<Layer, StepError> {
        let made = self.make(job, parent, vertex).await;
        made.map_err(|e| self.cancel.explain(e))
    }

    async fn remember(&self, key: &Digest, layer: &Layer, name: &str) -> Result<(), StepError> {
        if lock(&self.shared.unsteady).contains(&layer.chain_id) {
            return Ok(());
        }
        let failed = failed("write the build cache");
        let snapshot = self.store().snapshot(&layer.chain_id).await;
        let size = snapshot.map_err(&failed)?.map_or(0, |s| s.size_disk);
        let record = NewCacheRecord {
            key: key.clone(),
            chain_id: Some(layer.chain_id.clone()),
            diff_id: Some(layer.diff_id.clone()),
            created: layer.created.clone(),
            description: name.to_owned(),
            size,
        };
        let stored = self.store().cache_put(record).await;
        stored.map(drop).map_err(failed)
    }

    fn dated(&self) -> Option<String> {
        let time = jiff::Timestamp::from_second(self.options.epoch?);
        Some(time.unwrap_or_default().to_string())
    }
}

/// Makes the working directory of a RUN when the image lacks it, as runtimes do.
fn make_cwd(cwd: &str, stack: &Stack) -> Result<(), StepError> {
    if cwd == "/" || stack.readable()?.open_dir(Path::new(cwd)).is_ok() {
        return Ok(());
    }
    make_workdir(cwd, "", &stack.writable()?)
}

/// `mkdir -p` for WORKDIR; new directories belong to the user in force.
fn make_workdir(path: &str, user: &str, dest: &Rootfs) -> Result<(), StepError> {
    let owner = match user {
        "" => Owner::default(),
        user => match copy::find_owner(user, dest) {
            Ok(owner) => owner,
            // Only a RUN needs the user to exist; it may be made by then.
            Err(UserError::UnknownUser(_) | UserError::UnknownGroup(_)) => Owner::default(),
            Err(e) => return Err(StepError::Other(format!("USER {user}: {e}"))),
        },
    };
    // As BuildKit: what a `..` steps out of is made as well.
    for (at, _) in path.match_indices("/..") {
        let before = Path::new(&path[..at]);
        if matches!(path.as_bytes().get(at + 3), None | Some(b'/')) && before.has_root() {
            dest.make_dirs(before, 0o755, owner)
                .map_err(|e| StepError::Other(format!("WORKDIR {path}: {e}")))?;
        }
    }
    dest.make_dirs(Path::new(path), 0o755, owner)
        .map(drop)
        .map_err(|e| StepError::Other(format!("WORKDIR {path}: {e}")))
}
