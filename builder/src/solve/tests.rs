//! The solver on a backend that only remembers what it was asked.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use dockerfile::parse;
use oci::config::Config;
use oci::{ChainId, DiffId, Digest, ImageConfig, Platform};
use tokio::sync::Notify;

use super::NoCache;
use super::backend::{BaseImage, Cache, Execute, Job, Layer, Sources, Tree};
use super::error::{SolveError, StepError};
use super::image::StageImage;
use super::jobs::{Bound, Turn};
use super::progress::{Progress, Vertex};
use super::reason::Reason;
use super::together::Together;
use super::trace::Trace;
use super::{Build, Solver};
use crate::plan::graph::GraphOptions;
use crate::plan::{BuildArgs, Consent, CopyOp, Graph, ImageRequest, NamedContexts, RunOp};

type Pairs = Vec<(String, String)>;

mod parallel;

/// Makes a layer of everything, and fails the command `false`.
#[derive(Default)]
struct Fake {
    cache: RefCell<HashMap<Digest, Layer>>,
    executed: RefCell<Vec<String>>,
    files: RefCell<String>,
    /// Where copies took from, in order.
    copied: RefCell<Vec<Tree>>,
    /// What `--link` copies take from the image.
    below: RefCell<Vec<(String, String)>>,
    /// The steps that began, how many run now, and how many ran at once.
    begun: RefCell<Vec<String>>,
    running: Cell<usize>,
    most: Cell<usize>,
    /// How many have come to a meeting.
    met: Cell<usize>,
    stopped: Cell<bool>,
    told: Notify,
    /// Another build does all steps, and the layer that it comes to.
    elsewhere: Cell<bool>,
    other: RefCell<Option<Layer>>,
    /// The keys that were said to be looked up.
    expected: RefCell<Vec<Digest>>,
}

/// The layer that every image of the fake has, one for each platform.
fn layer_of(platform: &Platform) -> DiffId {
    DiffId(Digest::sha256(platform.to_string().as_bytes()))
}

impl Execute for Fake {
    type Selected = Tree;

    async fn image(&self, wanted: &ImageRequest, _: &Vertex) -> Result<BaseImage, StepError> {
        let platform = &wanted.platform;
        if wanted.name.to_string().contains("library/missing") {
            return Err(StepError::Other("manifest unknown".to_owned()));
        }
        let mut config = ImageConfig::for_platform(platform);
        config.config = Some(Config {
            env: vec!["FROM=base".to_owned()],
            ..Config::default()
        });
        config.created = Some("2020-01-01T00:00:00Z".to_owned());
        config.rootfs.diff_ids = vec![layer_of(platform)];
        Ok(BaseImage {
            config,
            id: Digest::sha256(b"x"),
        })
    }

    async fn sources(&self, _: &CopyOp, tree: &Tree, _: &Turn) -> Result<Sources<Tree>, StepError> {
        Ok(Sources {
            files: vec![("f".to_owned(), self.files.borrow().clone())],
            selected: tree.clone(),
        })
    }

    async fn bound(&self, _: &RunOp, _: &[Option<Tree>], _: &Turn) -> Result<Pairs, StepError> {
        Ok(Vec::new())
    }

    async fn below(&self, _: &CopyOp, _: Option<&ChainId>) -> Result<Pairs, StepError> {
        Ok(self.below.borrow().clone())
    }

    async fn stack(
        &self,
        layer: Layer,
        parent: Option<&ChainId>,
    ) -> Result<Option<Layer>, StepError> {
        let chain_id = ChainId::extend(parent, &layer.diff_id);
        Ok(Some(Layer { chain_id, ..layer }))
    }

    fn stop(&self) {
        self.stopped.set(true);
        self.told.notify_waiters();
    }

    async fn execute(
        &self,
        job: Job<'_, Tree>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
        turn: &Turn,
    ) -> Result<Layer, StepError> {
        if let Job::Copy { tree, selected, .. } = &job {
            assert_eq!(tree, selected, "a copy takes what was looked at for it");
            self.copied.borrow_mut().push(tree.clone());
        }
        self.begin(vertex);
        let ended = self.wait(&job, turn).await;
        self.running.set(self.running.get() - 1);
        ended?;
        if let Job::Run { op: run, .. } = job
            && run.argv.last().is_some_and(|a| a == "false")
        {
            return Err(StepError::Process {
                status: "exit code: 1".to_owned(),
                code: 1,
            });
        }
        self.executed.borrow_mut().push(vertex.name.to_string());
        let diff_id = DiffId(Digest::sha256(format!("{parent:?}{job:?}").as_bytes()));
        let chain_id = ChainId::extend(parent, &diff_id);
        Ok(Layer {
            diff_id,
            chain_id,
            created: "2021-01-01T00:00:00Z".to_owned(),
        })
    }

    fn dated(&self) -> Option<String> {
        None
    }
}

impl Cache for Fake {
    type Claim = ();

    async fn expect(&self, keys: &[Digest]) {
        self.expected.borrow_mut().extend_from_slice(keys);
    }

    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError> {
        Ok(self.cache.borrow().get(key).cloned())
    }

    async fn remember(&self, key: &Digest, layer: &Layer, _: &str) -> Result<(), StepError> {
        self.cache.borrow_mut().insert(key.clone(), layer.clone());
        Ok(())
    }

    async fn claim(&self, _: &Digest) -> Result<Option<()>, StepError> {
        Ok((!self.elsewhere.get()).then_some(()))
    }

    async fn claim_after(&self, key: &Digest) -> Result<(), StepError> {
        // The other build has come to this meanwhile.
        let layer = self.other.borrow_mut().take();
        if let Some(layer) = layer {
            self.cache.borrow_mut().insert(key.clone(), layer);
        }
        Ok(())
    }
}

impl Fake {
    fn begin(&self, vertex: &Vertex) {
        self.begun.borrow_mut().push(vertex.name.to_string());
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
    }

    /// `RUN meet N` ends when N of them run, `RUN sleep` when it is stopped, `RUN pause` soon.
    async fn wait(&self, job: &Job<'_, Tree>, turn: &Turn) -> Result<(), StepError> {
        let Job::Run { op: run, .. } = job else {
            return Ok(());
        };
        let command = run.argv.last().cloned().unwrap_or_default();
        let _waiting = match command.starts_with("sleep") || command.starts_with("meet") {
            true => Some(turn.waiting()),
            false => None,
        };
        if let Some(number) = command.strip_prefix("meet ") {
            let number: usize = number.split(' ').next().unwrap().parse().unwrap();
            self.met.set(self.met.get() + 1);
            while self.met.get() < number {
                tokio::task::yield_now().await;
            }
        }
        if command.starts_with("pause") {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        if command.starts_with("sleep") && !self.stopped.get() {
            self.told.notified().await;
            return Err(StepError::Cancelled);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Log(std::sync::Mutex<Vec<String>>);

impl Log {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Progress for Log {
    fn started(&self, _: &Vertex) {}
    fn cached(&self, vertex: &Vertex) {
        self.push(format!("CACHED {}", vertex.name));
    }
    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        if *reason != Reason::New {
            self.push(format!("missed {}: {reason}", vertex.name));
        }
    }
    fn output(&self, _: &Vertex, _: &[u8]) {}
    fn status(&self, _: &Vertex, _: &str) {}
    fn done(&self, _: &Vertex) {}
    fn failed(&self, vertex: &Vertex, _: &str) {
        self.push(format!("failed {}", vertex.name));
    }
    fn canceled(&self, vertex: &Vertex) {
        self.push(format!("canceled {}", vertex.name));
    }
    fn warning(&self, _: &str) {}
}

fn solve(
    fake: &Fake,
    text: &str,
    before: Trace,
) -> (Result<(StageImage, Trace), SolveError>, Vec<String>) {
    solve_for(fake, text, "linux/amd64", before)
}

/// Builds with so many steps at a time.
fn solve_with(
    fake: &Fake,
    text: &str,
    jobs: Bound,
) -> (Result<(StageImage, Trace), SolveError>, Vec<String>) {
    solve_bounded(fake, text, "linux/amd64", Trace::default(), jobs)
}

fn solve_for(
    fake: &Fake,
    text: &str,
    platform: &str,
    before: Trace,
) -> (Result<(StageImage, Trace), SolveError>, Vec<String>) {
    solve_bounded(fake, text, platform, before, Bound::Work(NonZeroUsize::MIN))
}

fn solve_bounded(
    fake: &Fake,
    text: &str,
    platform: &str,
    before: Trace,
    jobs: Bound,
) -> (Result<(StageImage, Trace), SolveError>, Vec<String>) {
    let parsed = parse(text);
    let (args, named) = (BuildArgs::default(), NamedContexts::default());
    let platform: Platform = platform.parse().unwrap();
    let options = GraphOptions {
        target: "",
        args: &args,
        build_platform: &platform,
        target_platform: &platform,
        named: &named,
        consent: Consent::default(),
    };
    let graph = Graph::new(&parsed.dockerfile, &options).unwrap();
    let together = Together::new(jobs);
    let build = Build {
        file: &parsed.dockerfile,
        graph: &graph,
        args: &args,
        named: &named,
        consent: &options.consent,
        platform: &platform,
        run_flags: "default",
        no_cache: NoCache::No,
        together: &together,
        whole: true,
        image: true,
    };
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let solved = runtime.block_on(async {
        let mut solver = Solver::new(build, fake, &log, before);
        solver.prepare().await?;
        let (image, trace) = solver.solve().await;
        Ok((image?, trace))
    });
    (solved, log.0.into_inner().unwrap())
}

const TEXT: &str = "FROM base\nENV A=1\nCOPY f /f\nRUN make\nLABEL l=1\n";

#[test]
fn a_second_build_runs_nothing_and_comes_to_the_same_image() {
    let fake = Fake::default();
    let (first, _) = solve(&fake, TEXT, Trace::default());
    let (first, trace) = first.unwrap();
    assert_eq!(
        *fake.executed.borrow(),
        ["[2/3] COPY f /f", "[3/3] RUN make"]
    );
    assert!(fake.expected.borrow().is_empty());
    let (second, log) = solve(&fake, TEXT, trace);
    let (second, _) = second.unwrap();
    assert_eq!(fake.executed.borrow().len(), 2);
    // All that is looked up is told beforehand, to be had at once.
    let expected: HashSet<Digest> = fake.expected.take().into_iter().collect();
    assert_eq!(expected, fake.cache.borrow().keys().cloned().collect());
    assert_eq!(log, ["CACHED [2/3] COPY f /f", "CACHED [3/3] RUN make"]);
    assert_eq!(first.document(None), second.document(None));
}

#[test]
fn a_changed_file_runs_its_copy_and_what_follows_and_says_why() {
    let fake = Fake::default();
    let (first, _) = solve(&fake, TEXT, Trace::default());
    *fake.files.borrow_mut() = "other".to_owned();
    let (second, log) = solve(&fake, TEXT, first.unwrap().1);
    second.unwrap();
    assert_eq!(
        log,
        [
            "missed [2/3] COPY f /f: the content of f changed",
            // The fake's layers do not depend on content, so what follows is found again.
            "CACHED [3/3] RUN make"
        ]
    );
}

#[test]
fn history_counts_layers_and_dates_metadata_by_the_layer_before() {
    let (solved, _) = solve(&Fake::default(), TEXT, Trace::default());
    let image = solved.unwrap().0;
    let document = image.document(None);
    assert_eq!(document.rootfs.diff_ids.len(), 3);
    let layers = document.history.iter().filter(|h| !h.empty_layer).count();
    assert_eq!(
        layers, 2,
        "the base of the fake has a layer without history"
    );
    let dates: Vec<_> = document
        .history
        .iter()
        .map(|h| h.created.as_deref().unwrap())
        .collect();
    let (base, built) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    assert_eq!(dates, [base, built, built, built]);
    assert_eq!(document.created.as_deref(), Some(built));
    // An epoch comes before whatever the cache says.
    let dated = image.document(Some("epoch"));
    assert_eq!(dated.created.as_deref(), Some("epoch"));
}

#[test]
fn a_failing_step_stops_the_build_with_its_place_and_code() {
    let fake = Fake::default();
    let text = "FROM base\nRUN one\nRUN false\nRUN three\n";
    let (solved, _) = solve(&fake, text, Trace::default());
    let Err(SolveError::Step { span, cause }) = solved else {
        panic!("it must fail")
    };
    assert_eq!(span.text(text), "RUN false");
    assert_eq!(cause.exit_code(), 1);
    assert_eq!(*fake.executed.borrow(), ["[2/4] RUN one"]);
}

#[test]
fn nothing_runs_when_an_image_is_missing_or_a_later_line_is_wrong() {
    for text in [
        "FROM base\nRUN one\nFROM missing\nCOPY --from=0 / /\n",
        "FROM base\nRUN one\nSTOPSIGNAL nope\n",
    ] {
        let fake = Fake::default();
        assert!(solve(&fake, text, Trace::default()).0.is_err());
        assert!(fake.executed.borrow().is_empty());
    }
}

#[test]
fn stages_hand_their_files_and_configuration_on() {
    let text = "FROM base AS a\nENV X=1\nRUN one\nFROM a\nRUN two\nCOPY --from=a /x /x\n";
    let fake = Fake::default();
    let (solved, _) = solve(&fake, text, Trace::default());
    let image = solved.unwrap().0;
    assert!(image.config.env.contains(&"X=1".to_owned()));
    assert_eq!(image.diff_ids.len(), 4);
    let expected = [
        "[a 2/2] RUN one",
        "[stage-1 1/2] RUN two",
        "[stage-1 2/2] COPY --from=a /x /x",
    ];
    assert_eq!(*fake.executed.borrow(), expected);
}

#[test]
fn a_copy_from_an_image_takes_the_one_for_the_platform_that_is_built_for() {
    for (text, expected) in [
        (
            "FROM --platform=linux/amd64 x AS tools\nFROM scratch\nCOPY --from=tools /a /a\n\
             COPY --from=x /a /b\n",
            ["linux/amd64", "linux/arm64"],
        ),
        (
            "FROM x AS own\nFROM --platform=linux/amd64 x AS tools\nCOPY --from=x /a /a\n\
             FROM scratch\nCOPY --from=own /a /a\nCOPY --from=tools /a /b\n",
            ["linux/arm64", "linux/arm64"],
        ),
    ] {
        let fake = Fake::default();
        let (solved, _) = solve_for(&fake, text, "linux/arm64", Trace::default());
        solved.unwrap();
        let copied = fake.copied.borrow();
        let expected = expected.map(|platform| {
            let layer = layer_of(&platform.parse().unwrap());
            Tree::Layers(Some(ChainId::extend(None, &layer)))
        });
        assert_eq!(copied[..2], expected, "{text}");
    }
}

#[test]
fn images_are_known_by_platform() {
    let text = "FROM --platform=linux/amd64 x AS tools\nFROM x\nCOPY --from=tools /a /a\n";
    let parsed = parse(text);
    let (args, named) = (BuildArgs::default(), NamedContexts::default());
    let platform: Platform = "linux/arm64".parse().unwrap();
    let options = GraphOptions {
        target: "",
        args: &args,
        build_platform: &platform,
        target_platform: &platform,
        named: &named,
        consent: Consent::default(),
    };
    let graph = Graph::new(&parsed.dockerfile, &options).unwrap();
    let together = Together::new(Bound::Work(NonZeroUsize::MIN));
    let build = Build {
        file: &parsed.dockerfile,
        graph: &graph,
        args: &args,
        named: &named,
        consent: &options.consent,
        platform: &platform,
        run_flags: "default",
        no_cache: NoCache::No,
        together: &together,
        whole: true,
        image: true,
    };
    let (fake, log) = (Fake::default(), Log::default());
    let mut solver = Solver::new(build, &fake, &log, Trace::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(solver.prepare()).unwrap();
    let known: Vec<(String, String)> = solver
        .images()
        .map(|(asked, config)| (asked.platform.to_string(), config.platform().to_string()))
        .collect();
    let both = ["linux/amd64", "linux/arm64"].map(|p| (p.to_owned(), p.to_owned()));
    assert_eq!(known, both);
}

#[test]
fn what_has_no_layer_has_no_date() {
    // As the newest BuildKit: the same file is the same image at any time.
    let (solved, _) = solve(
        &Fake::default(),
        "FROM scratch\nENV A=1\n",
        Trace::default(),
    );
    let image = solved.unwrap().0;
    let document = image.document(None);
    assert_eq!(
        (document.created, &document.history[0].created),
        (None, &None)
    );
    let document = image.document(Some("2001-09-09T01:46:40Z"));
    assert_eq!(document.created.as_deref(), Some("2001-09-09T01:46:40Z"));
}
