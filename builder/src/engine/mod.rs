//! The world as it is: the local store, the container runtime, registries and build contexts.

pub mod copy;
pub mod run;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use images::Images;
use images::layout::{LayoutPlace, ingest_image};
use oci::layer::TarOptions;
use oci::layer::diff::measure;
use oci::{ChainId, Digest, Platform};
use runtime::Overlay;
use runtime::network::Sandbox;
use runtime::users::UserError;
use store::{NewCacheRecord, StagedSnapshot, Store};

use crate::context::BuildContext;
use crate::download::{Download, fetch};
use crate::files::index::FileIndex;
use crate::files::rootfs::{Owner, Rootfs};
use crate::files::select::{Everything, Selection};
use crate::plan::{CopyOp, CopySource, ImageName, Op};
use crate::solve::engine::{BaseImage, Engine, Layer, Progress, StepError, Tree, Vertex};
use copy::OpenTree;
use run::{Cancel, RunContext, RunSettings, StepNetwork};

/// What a build on this machine is made with.
pub struct LocalEngine {
    /// The store and the way to registries.
    pub images: Images,
    /// The build context.
    pub context: Arc<BuildContext>,
    /// `--build-context`, by name.
    pub named: BTreeMap<String, Arc<BuildContext>>,
    /// `--build-context NAME=oci-layout://…`, by name.
    pub layouts: BTreeMap<String, LayoutPlace>,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
    /// What RUN steps share.
    pub settings: RunSettings,
    /// `--network`
    pub network: String,
    /// `--pull`
    pub pull: bool,
    /// Nothing made is dated later than this: seconds since the epoch.
    pub epoch: Option<i64>,
    /// Ends the build early.
    pub cancel: Arc<Cancel>,
    shared: Shared,
}

type Downloads = HashMap<(String, Option<Digest>), Arc<Download>>;

/// What steps leave for later ones.
#[derive(Default)]
struct Shared {
    sandbox: Mutex<Option<Arc<Sandbox>>>,
    indexes: Mutex<HashMap<PathBuf, FileIndex>>,
    /// By URL and `--checksum`: what one step verified is not verified for another.
    downloads: Mutex<Downloads>,
    selected: Mutex<Option<(String, Vec<Vec<Selection>>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What makes an engine.
pub struct EngineOptions {
    /// The build context.
    pub context: BuildContext,
    /// What RUN steps share.
    pub settings: RunSettings,
    /// `--network`
    pub network: String,
    /// `--pull`
    pub pull: bool,
    /// `SOURCE_DATE_EPOCH`
    pub epoch: Option<i64>,
}

impl LocalEngine {
    /// An engine for one build.
    pub fn new(
        images: Images,
        options: EngineOptions,
        progress: Arc<dyn Progress>,
        cancel: Arc<Cancel>,
    ) -> Self {
        Self {
            images,
            context: Arc::new(options.context),
            named: BTreeMap::new(),
            layouts: BTreeMap::new(),
            progress,
            settings: options.settings,
            network: options.network,
            pull: options.pull,
            epoch: options.epoch,
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
            .map_err(|e| StepError::other("read the store", e))?;
        if snapshots.is_empty() {
            return Err(StepError::Other(format!(
                "the layers of {chain} are gone from the store"
            )));
        }
        Ok(snapshots.into_iter().map(|s| s.fs_path).collect())
    }

    /// The network of a RUN, made when the first step needs it.
    fn step_network(
        &self,
        wanted: dockerfile::instruction::Network,
    ) -> Result<StepNetwork, StepError> {
        use dockerfile::instruction::Network;
        match (wanted, self.network.as_str()) {
            (Network::Host, _) | (Network::Default, "host") => Ok(StepNetwork::Host),
            (Network::None, _) | (Network::Default, "none") => Ok(StepNetwork::None),
            (Network::Default, _) => {
                let mut sandbox = lock(&self.shared.sandbox);
                if let Some(sandbox) = sandbox.as_ref() {
                    return Ok(StepNetwork::Sandbox(Arc::clone(sandbox)));
                }
                let made = Sandbox::create(&runtime::network::Config::default())
                    .map_err(|e| StepError::Other(e.to_string()))?;
                let made = Arc::new(made);
                *sandbox = Some(Arc::clone(&made));
                Ok(StepNetwork::Sandbox(made))
            }
        }
    }

    /// A directory of data that can be made again.
    async fn derived(&self, name: &str) -> Result<PathBuf, StepError> {
        let made = self.store().derived_dir(name).await;
        made.map_err(|e| StepError::Other(e.to_string()))
    }

    /// A directory for temporary files.
    async fn scratch(&self) -> Result<PathBuf, StepError> {
        let made = self.store().scratch_dir().await;
        made.map_err(|e| StepError::Other(e.to_string()))
    }

    /// The directory of mount points that lies below all layers of a container.
    async fn stub(&self) -> Result<PathBuf, StepError> {
        let path = self.derived("stub").await?;
        blocking(move || {
            if !path.join("etc/hostname").exists() {
                runtime::overlay::prepare_stub_dir(&path)
                    .map_err(|e| StepError::Other(e.to_string()))?;
            }
            Ok(path)
        })
        .await
    }

    /// Downloads what a copy names by URL, once a build.
    async fn download(&self, op: &CopyOp) -> Result<HashMap<String, Arc<Download>>, StepError> {
        let mut all = HashMap::new();
        for source in &op.sources {
            let CopySource::Url(url) = source else {
                continue;
            };
            let asked = (url.clone(), op.checksum.clone());
            let known = lock(&self.shared.downloads).get(&asked).cloned();
            let download = match known {
                Some(download) => download,
                None => {
                    let dir = self.scratch().await?;
                    let fetched = fetch(url, op.checksum.as_ref(), &dir).await?;
                    let fetched = Arc::new(fetched);
                    lock(&self.shared.downloads).insert(asked, Arc::clone(&fetched));
                    fetched
                }
            };
            all.insert(url.clone(), download);
        }
        Ok(all)
    }

    /// The context that a tree names, when it is one.
    fn context_of(&self, tree: &Tree) -> Result<Option<Arc<BuildContext>>, StepError> {
        match tree {
            Tree::Context => Ok(Some(Arc::clone(&self.context))),
            Tree::Named(name) => match self.named.get(name) {
                Some(context) => Ok(Some(Arc::clone(context))),
                None => Err(StepError::Other(format!(
                    "no build context is named {name}"
                ))),
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
        blocking(move || match context {
            Some(context) => work(&OpenTree {
                rootfs: &context.rootfs,
                filter: &context.filter,
                as_root: true,
            }),
            None => {
                let rootfs = mount(&lowers, &empty, None)?;
                work(&OpenTree {
                    rootfs: &rootfs,
                    filter: &Everything,
                    as_root: false,
                })
            }
        })
        .await
    }

    /// Does a step: what it writes is in the two directories of `into` then, upper and work.
    async fn fill(
        &self,
        op: &Op,
        lowers: Vec<PathBuf>,
        tree: Option<&Tree>,
        into: (PathBuf, PathBuf),
        vertex: &Vertex,
    ) -> Result<(), StepError> {
        let (upper, work) = into;
        let empty = self.derived("empty").await?;
        match op {
            Op::Run(run_op) => {
                let network = self.step_network(run_op.network)?;
                let stub = self.stub().await?;
                let scratch = self.scratch().await?;
                let settings = self.settings.clone();
                let cancel = Arc::clone(&self.cancel);
                let progress = Arc::clone(&self.progress);
                let (run_op, vertex) = (run_op.clone(), vertex.clone());
                blocking(move || {
                    make_cwd(&run_op.cwd, &lowers, &empty, (&upper, &work))?;
                    let overlay = Overlay {
                        lowers,
                        stub: Some(stub),
                        upper,
                        work,
                    };
                    let context = RunContext {
                        network,
                        settings: &settings,
                        scratch: &scratch,
                        cancel: &cancel,
                        progress: progress.as_ref(),
                        vertex: &vertex,
                    };
                    run::run(&run_op, overlay, context)
                })
                .await?;
            }
            Op::Copy(copy_op) => {
                let downloads = self.download(copy_op).await?;
                let known = lock(&self.shared.selected).take();
                let copy_op = copy_op.clone();
                let this = format!("{copy_op:?}");
                let perform = move |open: &OpenTree<'_>| {
                    let dest = mount(&lowers, &empty, Some((&upper, &work)))?;
                    let selected = match known {
                        Some((of, selected)) if of == this => selected,
                        _ => copy::select(&copy_op, open)?,
                    };
                    copy::perform(&copy_op, open, &selected, &downloads, &dest)
                };
                self.with_tree(tree.unwrap_or(&Tree::Context), perform)
                    .await?;
            }
            Op::Workdir(workdir) => {
                let workdir = workdir.clone();
                blocking(move || {
                    let dest = mount(&lowers, &empty, Some((&upper, &work)))?;
                    make_workdir(&workdir.path, &workdir.user, &dest)
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Makes the layer of what is in a staged snapshot.
    async fn commit(
        &self,
        staged: StagedSnapshot,
        parent: Option<&ChainId>,
    ) -> Result<Layer, StepError> {
        let upper = staged.upper().to_owned();
        let options = TarOptions {
            clamp_mtime: self.epoch,
        };
        let layer = blocking(move || {
            let dir = oci::layer::open_dir(&upper).map_err(|e| StepError::Other(e.to_string()))?;
            measure(&dir, &options).map_err(|e| StepError::Other(e.to_string()))
        })
        .await;
        let layer = match layer {
            Ok(layer) => layer,
            Err(e) => {
                staged.discard().await;
                return Err(e);
            }
        };
        let (diff, size_tar, size_files) = (layer.diff_id, layer.size_tar, layer.size_files);
        let snapshot = staged
            .commit(parent, diff.clone(), size_tar, size_files, self.epoch)
            .await
            .map_err(|e| StepError::other("store the layer", e))?;
        Ok(Layer {
            diff_id: diff,
            chain_id: snapshot.chain_id,
            created: self.now(),
        })
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StepError::other("a worker thread failed", error)),
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

impl Engine for LocalEngine {
    async fn image(
        &self,
        name: &ImageName,
        platform: &Platform,
        vertex: &Vertex,
    ) -> Result<BaseImage, StepError> {
        let note = |text: &str| self.progress.status(vertex, text);
        let found = match name {
            ImageName::Reference(reference) => {
                let pull = self.pull;
                self.images.image(reference, platform, pull, &note).await
            }
            ImageName::Layout(name) => {
                let missing = || StepError::Other(format!("no layout is named {name}"));
                let place = self.layouts.get(name).ok_or_else(missing)?;
                ingest_image(&self.images, place, platform).await
            }
        };
        let image = found.map_err(|e| StepError::Other(e.to_string()))?;
        self.images
            .ensure_unpacked(&image.config)
            .await
            .map_err(|e| StepError::Other(e.to_string()))?;
        Ok(BaseImage {
            id: image.id.to_string(),
            config: image.config,
        })
    }

    async fn digests(&self, op: &Op, tree: &Tree) -> Result<Vec<(String, String)>, StepError> {
        let Op::Copy(copy_op) = op else {
            return Ok(Vec::new());
        };
        self.source_digests(copy_op, tree).await
    }

    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError> {
        let found = self.store().cache_get(key).await;
        let failed = |e| StepError::other("read the build cache", e);
        let Some(record) = found.map_err(failed)? else {
            return Ok(None);
        };
        let (Some(diff_id), Some(chain_id)) = (record.diff_id, record.chain_id) else {
            return Ok(None);
        };
        // The files may have been taken away behind the store's back: the step is done again.
        let there = self.store().snapshot(&chain_id).await.map_err(failed)?;
        Ok(there.map(|_| Layer {
            diff_id,
            chain_id,
            created: record.created,
        }))
    }

    async fn execute(
        &self,
        op: &Op,
        parent: Option<&ChainId>,
        tree: Option<&Tree>,
        vertex: &Vertex,
    ) -> Result<Layer, StepError> {
        self.cancel.check()?;
        let lowers = self.lowers(parent).await?;
        let staged = self
            .store()
            .begin_snapshot()
            .await
            .map_err(|e| StepError::other("prepare a snapshot", e))?;
        let into = (staged.upper().to_owned(), staged.work().to_owned());
        let done = match self.fill(op, lowers, tree, into, vertex).await {
            Ok(()) => self.cancel.check(),
            Err(e) => Err(e),
        };
        match done {
            Ok(()) => self.commit(staged, parent).await,
            Err(StepError::Cancelled) => Err(StepError::Cancelled),
            Err(e) => {
                // It may have filled the disk, which whatever comes next needs.
                staged.discard().await;
                Err(e)
            }
        }
    }

    async fn remember(&self, key: &Digest, layer: &Layer, name: &str) -> Result<(), StepError> {
        let failed = |e| StepError::other("write the build cache", e);
        let snapshot = self.store().snapshot(&layer.chain_id).await;
        let size = snapshot.map_err(failed)?.map_or(0, |s| s.size_disk);
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

    fn now(&self) -> String {
        let time = match self.epoch {
            Some(seconds) => jiff::Timestamp::from_second(seconds).unwrap_or_default(),
            None => jiff::Timestamp::now(),
        };
        time.to_string()
    }
}

/// Makes the working directory of a RUN when the image lacks it, as runtimes do.
fn make_cwd(
    cwd: &str,
    lowers: &[PathBuf],
    empty: &Path,
    upper: (&Path, &Path),
) -> Result<(), StepError> {
    if cwd == "/" {
        return Ok(());
    }
    let view = mount(lowers, empty, None)?;
    let exists = view.open_dir(Path::new(cwd)).is_ok();
    drop(view);
    if exists {
        return Ok(());
    }
    let dest = mount(lowers, empty, Some(upper))?;
    make_workdir(cwd, "", &dest)
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
    dest.make_dirs(Path::new(path), 0o755, owner)
        .map(drop)
        .map_err(|e| StepError::Other(format!("WORKDIR {path}: {e}")))
}
