//! The world as it is: the local store, the container runtime, registries and build contexts.

mod cache;
pub mod cancel;
pub mod common;
mod copies;
pub mod copy;
pub mod devices;
mod elsewhere;
mod execute;
pub mod fetched;
mod filled;
mod foreign;
pub mod keys;
mod mounted;
mod mounts;
pub mod network;
mod remote;
pub mod run;
pub mod secrets;
pub mod sharing;
mod sources;
mod squash;
mod stack;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use images::Images;
use images::layout::LayoutPlace;
use oci::layer::TarOptions;
use oci::layer::clamp::clamp_times;
use oci::layer::compression::Compression;
use oci::layer::diff::measure;
use oci::{ChainId, Digest};
use runtime::Overlay;
use store::{StagedSnapshot, Store};

use crate::auth::Auth;
use crate::context::BuildContext;
use crate::files::select::{Everything, Selection};
use crate::plan::RunOp;
use crate::solve::backend::{Execute as _, Job, Layer, Tree};
use crate::solve::error::StepError;
use crate::solve::jobs::Turn;
use crate::solve::progress::{Progress, Vertex};
use cancel::Cancel;
use common::Common;
use copy::OpenTree;
use filled::{Filled, keep_record};
use run::{RunContext, RunSettings, Started};
use secrets::{Agents, Secrets};
use sharing::{Foreign, SharedSteps, Sharing};
use stack::{Stack, make_cwd, make_workdir, mount};

/// Builds on this machine.
pub struct Engine {
    /// The store and the way to registries.
    images: Images,
    options: EngineOptions,
    /// The secrets that are for servers.
    auth: Auth,
    progress: Arc<dyn Progress>,
    cancel: Arc<Cancel>,
    /// What it shares with builds that go on at the same time.
    shared: Common,
    /// What is known of steps of shared caches.
    steps: SharedSteps,
    /// What is known of BuildKit's caches.
    foreign: Foreign,
    /// What the build cache has for keys that will be asked for.
    expected: Mutex<HashMap<Digest, Layer>>,
}

/// What each path among the sources of a copy takes, if it was looked for.
type Selected = Option<Vec<Vec<Selection>>>;

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
    /// `--cache-from` and `--cache-to`
    pub sharing: Sharing,
    /// `--no-cache`: cache mounts begin empty, and no file of an earlier layer is
    /// taken for one of the context.
    pub no_cache: bool,
    /// `--secret`
    pub secrets: Secrets,
    /// `--ssh`
    pub agents: Agents,
    /// How the result's layers will have to be compressed, each as soon as its step is done. `None`
    /// stands for any way that registries hold.
    pub compress: Vec<Option<Compression>>,
    /// `SOURCE_DATE_EPOCH`: nothing made is dated later than this, seconds since 1970.
    pub epoch: Option<i64>,
}

impl Engine {
    /// An engine for one build, which tells of its work through `progress` and ends early when
    /// `cancel` says so. Builds that go on at the same time have `shared` in common.
    pub fn new(
        images: Images,
        options: EngineOptions,
        shared: Common,
        progress: Arc<dyn Progress>,
        cancel: Arc<Cancel>,
    ) -> Self {
        Self {
            images,
            auth: Auth::of(&options.secrets),
            options,
            progress,
            cancel,
            shared,
            steps: SharedSteps::default(),
            foreign: Foreign::default(),
            expected: Mutex::default(),
        }
    }

    fn store(&self) -> &Store {
        &self.images.store
    }

    /// The directories of a chain, topmost first. What is elsewhere is fetched.
    async fn lowers(&self, chain: Option<&ChainId>) -> Result<Vec<PathBuf>, StepError> {
        let Some(chain) = chain else {
            return Ok(Vec::new());
        };
        let found = self.store().directories(chain).await;
        let mut directories = found.map_err(failed("read the store"))?;
        if directories.is_empty() && self.bring(chain).await? {
            let found = self.store().directories(chain).await;
            directories = found.map_err(failed("read the store"))?;
        }
        if directories.is_empty() {
            let gone = StepError::LayersGone(chain.clone());
            // Another build may have found out that they are not to be had where they were seen.
            return Err(match self.has_lost_elsewhere() {
                true => StepError::CacheLost(gone.to_string()),
                false => gone,
            });
        }
        Ok(directories)
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
        let make = || async {
            let path = self.derived("mountpoints").await?;
            blocking(move || {
                if !path.join("etc/mtab").exists() {
                    runtime::overlay::prepare_stub_dir(&path)
                        .map_err(|e| StepError::Other(e.to_string()))?;
                }
                Ok(path)
            })
            .await
        };
        self.shared.stub.get_or_try_init(make).await.cloned()
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

    /// RUN: a process on the stack. While it sleeps it does not hold others back.
    async fn run(
        &self,
        op: &RunOp,
        trees: &[Option<Tree>],
        stack: Stack,
        (vertex, anew): (&Vertex, bool),
        turn: &Turn,
    ) -> Result<(), StepError> {
        let line = (vertex, turn);
        let mounts = self.mounts(op, trees, &stack, line, anew).await?;
        let stub = self.stub().await?;
        let scratch = self.scratch().await?;
        let settings = self.options.settings.clone();
        let (networks, usual) = (self.shared.networks.clone(), self.options.network.clone());
        let cancel = Arc::clone(&self.cancel);
        let progress = Arc::clone(&self.progress);
        let (op, vertex) = (op.clone(), vertex.clone());
        let started = Started::default();
        let watched = started.clone();
        let _watched = turn.watched(Box::new(move || watched.at_work()));
        blocking(move || {
            let network = networks.take(op.network, &usual)?;
            make_cwd(&op.cwd, &stack)?;
            let overlay = Overlay {
                lowers: stack.lowers,
                stub: Some(stub),
                upper: stack.upper,
                work: stack.work,
            };
            let context = RunContext {
                network: network.mode(),
                mounts,
                settings: &settings,
                scratch: &scratch,
                cancel: &cancel,
                started: &started,
                progress: progress.as_ref(),
                vertex: &vertex,
            };
            run::run(&op, overlay, context)
        })
        .await
    }

    /// Does a step.
    async fn make(
        &self,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
        turn: &Turn,
    ) -> Result<Layer, StepError> {
        self.cancel.check()?;
        // What depends on no layer below it is put on them afterwards.
        let alone = matches!(&job, Job::Copy { op, .. } if op.link);
        let staged = self
            .store()
            .begin_snapshot()
            .await
            .map_err(failed("prepare a snapshot"))?;
        let done = self.fill(&staged, job, parent, vertex, turn).await;
        let filled = match done.and_then(|filled| self.cancel.check().map(|()| filled)) {
            Ok(filled) => filled,
            Err(e) => return Err(self.give_up(staged, e).await),
        };
        let layer = self
            .commit(staged, parent.filter(|_| !alone), vertex)
            .await?;
        if !filled.steady {
            lock(&self.shared.unsteady).insert(layer.chain_id.clone());
        } else if let Some((path, made)) = filled.made {
            keep_record(path, made, layer.chain_id.clone()).await;
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

    /// Fills a staged snapshot.
    async fn fill(
        &self,
        staged: &StagedSnapshot,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
        turn: &Turn,
    ) -> Result<Filled, StepError> {
        let stack = Stack {
            lowers: self.lowers(parent).await?,
            empty: self.derived("empty").await?,
            upper: staged.upper().to_owned(),
            work: staged.work().to_owned(),
        };
        match job {
            Job::Run { op, trees, anew } => {
                self.run(op, &trees, stack, (vertex, anew), turn).await?
            }
            Job::Copy { op, tree, selected } => {
                return self.copy(op, &tree, selected, stack, parent).await;
            }
            Job::Workdir(op) => {
                let op = op.clone();
                blocking(move || make_workdir(&op.path, &op.user, &stack.writable()?)).await?;
            }
        }
        Ok(Filled {
            steady: true,
            made: None,
        })
    }

    /// Makes the layer of what is in a staged snapshot.
    async fn commit(
        &self,
        staged: StagedSnapshot,
        parent: Option<&ChainId>,
        vertex: &Vertex,
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
        self.progress.layer(vertex, size_files);
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
            created: self.now(),
        })
    }

    /// What is made now is dated to this.
    fn now(&self) -> String {
        let now = || jiff::Timestamp::now().to_string();
        self.dated().unwrap_or_else(now)
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
