//! One rule at work: its jobs, so many at once, and when the other registry is left alone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oci::Digest;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::counts::Counts;
use super::error::{ReplicationError, Trouble, Whose};
use super::remote::Remote;
use super::settings::{Direction, Replicate};
use super::tagged::RecentlyTagged;
use crate::clock::now;
use crate::meta::{Job, MetaError};
use crate::mirror::Mirror;
use crate::name::RepositoryName;
use crate::service::Registry;
use crate::sync::lock;

/// The first pause after the other registry failed; each later one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest of those.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long one that says "too many requests", and not for how long, is left alone.
const LIMITED: Duration = Duration::from_secs(30);
/// The longest that one is left alone, whatever it says.
const LONGEST_LIMITED: Duration = Duration::from_secs(6 * 3600);
/// The first pause of a job that failed by itself; each later one is twice as long.
const JOB_PAUSE: Duration = Duration::from_secs(5);
/// The longest of those.
const LONGEST_JOB_PAUSE: Duration = Duration::from_secs(3600);
/// Something may be due that nobody told of.
const LOOK: Duration = Duration::from_secs(30);
/// How often who does not lead asks whether that has changed.
const LEADING: Duration = Duration::from_secs(1);

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: Replicate,
    pub(super) registry: Arc<Registry>,
    pub(super) mirror: Option<Arc<Mirror>>,
    pub(super) remote: Remote,
    /// What tags there stood for a moment ago.
    pub(super) tagged: RecentlyTagged,
    pub(super) counts: Counts,
    /// There may be something to do.
    pub(super) wake: Notify,
    /// Whether nothing may change here.
    read_only: Arc<AtomicBool>,
    doing: Mutex<Doing>,
}

/// What a rule does now.
#[derive(Debug, Default)]
struct Doing {
    /// Jobs that are worked on.
    jobs: HashSet<i64>,
    /// Both sides are being compared.
    comparing: bool,
    /// They are to be compared as soon as can be.
    wanted: bool,
    /// Nothing begins before that.
    rests: Option<Instant>,
    /// No comparison begins before that.
    compares: Option<Instant>,
    /// How often the other registry failed in a row.
    failures: u32,
}

impl Rule {
    pub(super) async fn open(
        settings: &Replicate,
        registry: &Arc<Registry>,
        mirror: Option<&Arc<Mirror>>,
        read_only: &Arc<AtomicBool>,
    ) -> Result<Arc<Self>, ReplicationError> {
        Ok(Arc::new(Self {
            remote: Remote::open(settings).await?,
            settings: settings.clone(),
            registry: Arc::clone(registry),
            mirror: mirror.cloned(),
            tagged: RecentlyTagged::default(),
            counts: Counts::default(),
            wake: Notify::new(),
            read_only: Arc::clone(read_only),
            doing: Mutex::default(),
        }))
    }

    /// Whether a repository here is a mirrored one.
    pub(super) fn is_mirrored(&self, name: &RepositoryName) -> bool {
        self.mirror_of(name).is_some()
    }

    /// The mirror that a repository here is of.
    pub(super) fn mirror_of(&self, name: &RepositoryName) -> Option<&Arc<Mirror>> {
        self.mirror
            .as_ref()
            .filter(|mirror| mirror.is_mirrored(name))
    }

    /// Has a blob of a mirrored repository brought here.
    pub(super) async fn bring_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Trouble> {
        match self.mirror_of(name) {
            Some(mirror) => mirror.bring_blob(name, digest).await.map_err(Trouble::own),
            None => Ok(()),
        }
    }

    /// Begins a comparison, and tries all again, as soon as can be.
    pub(super) async fn hurry(&self) -> Result<(), MetaError> {
        let name = &self.settings.name;
        let books = self.registry.replication();
        books.hasten_replication(name).await?;
        if !self.registry.leads() {
            // Whoever leads finds that both sides were never compared.
            return books.forget_replication_compared(name).await;
        }
        {
            let mut doing = lock(&self.doing);
            doing.wanted = true;
            doing.rests = None;
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Whether something is being done.
    pub(super) fn is_busy(&self) -> bool {
        let doing = lock(&self.doing);
        doing.comparing || doing.wanted || !doing.jobs.is_empty()
    }

    /// For how long the other registry is left alone.
    pub(super) fn rests_for(&self) -> Option<Duration> {
        let rests = lock(&self.doing).rests?;
        let left = rests.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Works until it is told to stop; what is half done then is done again later.
    pub(super) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        loop {
            let next = match self.begin(&mut tasks).await {
                Ok(next) => next,
                Err(e) => {
                    tracing::warn!(rule = self.settings.name, error = %e, "replication waits");
                    LOOK
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.wake.notified() => {}
                Some(_) = tasks.join_next() => {}
                () = tokio::time::sleep(next) => {}
            }
        }
        tasks.shutdown().await;
    }

    /// Begins what can be begun; when there may be more.
    async fn begin(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Result<Duration, MetaError> {
        let (name, books) = (&self.settings.name, self.registry.replication());
        if !self.registry.leads() {
            return Ok(LEADING);
        }
        if self.settings.direction == Direction::Pull && self.read_only.load(Relaxed) {
            return Ok(LOOK);
        }
        if let Some(rests) = self.rests_for() {
            return Ok(rests.min(LOOK));
        }
        let state = books.replication_state(name).await?;
        let next = self.next_comparison(state.compared_at);
        if next.is_zero() && self.may_compare() {
            let this = Arc::clone(self);
            tasks.spawn(async move { this.compare_once().await });
        }
        let busy = lock(&self.doing).jobs.len();
        let free = self.settings.at_once.saturating_sub(busy);
        if free > 0 && state.left > 0 {
            // Those that are worked on are among those that are due.
            let most = u32::try_from(self.settings.at_once + busy).unwrap_or(u32::MAX);
            let due = books.due_replication_jobs(name, most).await?;
            let fresh = due.into_iter().filter(|job| self.claim(job.id));
            for job in fresh.take(free).collect::<Vec<_>>() {
                let this = Arc::clone(self);
                tasks.spawn(async move { this.work(job).await });
            }
        }
        let due = state.due.map(|due| due.saturating_sub(now()));
        // One that is due already begins when another ends.
        let due = due
            .and_then(|due| u64::try_from(due).ok())
            .filter(|due| *due > 0);
        let due = due.map_or(LOOK, Duration::from_secs);
        let next = if next.is_zero() { LOOK } else { next };
        Ok(due.min(next).min(LOOK))
    }

    /// Whether nobody works on a job; whoever asks does from now on.
    fn claim(&self, id: i64) -> bool {
        let mut doing = lock(&self.doing);
        doing.jobs.len() < self.settings.at_once && doing.jobs.insert(id)
    }

    /// In what time both sides are to be compared.
    fn next_comparison(&self, compared_at: Option<i64>) -> Duration {
        let doing = lock(&self.doing);
        if doing.wanted {
            return Duration::ZERO;
        }
        let regular = match (compared_at, self.settings.interval) {
            (None, _) => Duration::ZERO,
            (Some(_), None) => Duration::MAX,
            (Some(at), Some(interval)) => {
                let passed = u64::try_from(now().saturating_sub(at)).unwrap_or(0);
                interval.saturating_sub(Duration::from_secs(passed))
            }
        };
        let rests = doing.compares.map_or(Duration::ZERO, |at| {
            at.saturating_duration_since(Instant::now())
        });
        regular.max(rests)
    }

    fn may_compare(&self) -> bool {
        let mut doing = lock(&self.doing);
        let may = !doing.comparing;
        if may {
            (doing.comparing, doing.wanted) = (true, false);
        }
        may
    }

    async fn compare_once(&self) {
        let name = &self.settings.name;
        tracing::debug!(rule = name, "comparing");
        let compared = self.compare().await;
        let error = match &compared {
            Ok(()) => {
                self.went_well();
                None
            }
            Err(trouble) => {
                let pause = self.failed(trouble);
                lock(&self.doing).compares = Some(Instant::now() + pause.max(JOB_PAUSE));
                tracing::warn!(
                    rule = name,
                    why = trouble.why,
                    "comparing for replication failed"
                );
                Some(trouble.why.clone())
            }
        };
        let books = self.registry.replication();
        if let Err(e) = books.note_replication_compared(name, error).await {
            tracing::warn!(rule = name, error = %e, "how a comparison ended is not noted");
        }
        lock(&self.doing).comparing = false;
    }

    async fn work(&self, job: Job) {
        let id = job.id;
        if let Err(e) = self.do_job(job).await {
            let name = &self.settings.name;
            tracing::warn!(rule = name, error = %e, "how a replication ended is not noted");
            // The database is not asked again at once.
            lock(&self.doing).rests = Some(Instant::now() + PAUSE);
        }
        lock(&self.doing).jobs.remove(&id);
    }

    async fn do_job(&self, job: Job) -> Result<(), MetaError> {
        let (name, books) = (&self.settings.name, self.registry.replication());
        let done = match self.settings.direction {
            Direction::Push => self.push(&job).await,
            Direction::Pull => self.pull(&job).await,
        };
        let trouble = match done {
            Ok(known) => {
                self.went_well();
                return books.finish_replication_job(name, job, known).await;
            }
            Err(trouble) => trouble,
        };
        let pause = self.failed(&trouble);
        let own = trouble.whose == Whose::Job;
        let (pause, due) = match own {
            true => {
                let pause = doubled(JOB_PAUSE, job.attempts, LONGEST_JOB_PAUSE);
                (pause, pause)
            }
            // Behind all others: once the registry answers again they get their turns.
            false => (pause, Duration::ZERO),
        };
        tracing::warn!(
            rule = name,
            repository = job.repository,
            reference = job.reference,
            why = trouble.why,
            ?pause,
            "not replicated yet"
        );
        let due = now().saturating_add(i64::try_from(due.as_secs()).unwrap_or(i64::MAX));
        let why = format!("{} {}: {}", job.repository, job.reference, trouble.why);
        books.fail_replication_job(name, &job, &why, due, own).await
    }

    fn went_well(&self) {
        let mut doing = lock(&self.doing);
        if doing.failures > 0 {
            tracing::info!(
                rule = self.settings.name,
                "the other registry answers again"
            );
        }
        doing.failures = 0;
    }

    /// Leaves the other registry alone when it was its trouble; for how long.
    fn failed(&self, trouble: &Trouble) -> Duration {
        self.counts.failed();
        let mut doing = lock(&self.doing);
        let pause = match trouble.whose {
            Whose::Job => return Duration::ZERO,
            Whose::Limited(asked) => asked.unwrap_or(LIMITED).min(LONGEST_LIMITED),
            Whose::Registry => {
                // Several that fail at once are one failure.
                let resting = doing.rests.is_some_and(|rests| rests > Instant::now());
                if !resting {
                    doing.failures = doing.failures.saturating_add(1);
                }
                doubled(PAUSE, doing.failures.saturating_sub(1), LONGEST_PAUSE)
            }
        };
        let until = Instant::now() + pause;
        if doing.rests.is_none_or(|rests| rests < until) {
            doing.rests = Some(until);
        }
        pause
    }
}

/// A pause that is twice as long each time, and a little more by chance: two registries that
/// replicate to each other do not do everything at the same moment again and again.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let pause = first
        .saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
        .min(longest);
    let chance = uuid::Uuid::new_v4().as_bytes()[0];
    pause + pause / 4 * u32::from(chance) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(300));
        for (times, least) in [(0, 1), (1, 2), (5, 32), (9, 300), (40, 300)] {
            let pause = doubled(first, times, longest);
            let least = Duration::from_secs(least);
            assert!(
                pause >= least && pause <= least * 5 / 4,
                "{times}: {pause:?}"
            );
        }
    }
}
