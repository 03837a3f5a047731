//! The one writer: jobs from every request, committed in groups.
//!
//! While one commit waits for the disk, the next jobs gather; they then share one transaction
//! and one fsync. A job answers only after its commit. Jobs decide before they write: a refusal
//! (a missing blob, say) leaves no trace, so that only a failing disk or a bug can fail a
//! transaction, and then all jobs in it fail together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::changes::Watch;
use super::damage::Damage;
use super::engine::Connection;
use super::error::MetaError;
use super::session::{Anew, Session};
use crate::quota::UsageChange;
use crate::sync::lock;

/// Jobs that may share one transaction.
const GROUP: usize = 256;
/// Jobs that may wait; more make their requests wait in turn.
const QUEUE: usize = 1024;

/// The handle to the writer task.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

trait Job: Send {
    fn run<'c>(
        &'c mut self,
        connection: &'c mut Connection,
    ) -> BoxFuture<'c, Result<(), MetaError>>;
    fn finish(self: Box<Self>, committed: Result<(), Failed>);
}

/// Why a transaction failed, for every job in it.
#[derive(Clone, Debug)]
enum Failed {
    Damaged(String),
    Unreachable(String),
    Other(String),
}

struct Typed<W, E, T> {
    work: Option<W>,
    effect: E,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, MetaError>>,
}

impl<W, E, T> Job for Typed<W, E, T>
where
    W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>> + Send,
    E: FnOnce(&T) + Send,
    T: Send,
{
    fn run<'c>(
        &'c mut self,
        connection: &'c mut Connection,
    ) -> BoxFuture<'c, Result<(), MetaError>> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.outcome = Some(work(connection).await?);
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), Failed>) {
        let answer = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => {
                (self.effect)(&outcome);
                Ok(outcome)
            }
            (Ok(()), None) => Err(MetaError::Closed),
            (Err(Failed::Damaged(e)), _) => Err(MetaError::Damaged(e)),
            (Err(Failed::Unreachable(e)), _) => Err(MetaError::Unreachable(e)),
            (Err(Failed::Other(e)), _) => Err(MetaError::Commit(e)),
        };
        // A requester that went away does not undo what it asked for.
        let _ = self.reply.send(answer);
    }
}

impl Writer {
    /// `watch`, when there is one, sees how usage changed: after each commit, and before anybody is
    /// told of it.
    /// Transactions are counted in `commits`, and `damage` is told of any.
    pub(super) fn start(
        session: Session,
        watch: Option<Watch>,
        commits: Arc<AtomicU64>,
        damage: Damage,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            jobs: Mutex::new(Some(sender)),
            task: Mutex::new(Some(tokio::spawn(work(
                session, receiver, watch, commits, damage,
            )))),
        }
    }

    /// Runs `work` in a transaction; `effect` sees its result after the commit and before anybody
    /// is told, in commit order: the place to bring caches up to date.
    pub(super) async fn run<T, W, E>(&self, work: W, effect: E) -> Result<T, MetaError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>>
            + Send
            + 'static,
        E: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Typed {
            work: Some(work),
            effect,
            outcome: None,
            reply,
        };
        let sender = lock(&self.jobs).clone().ok_or(MetaError::Closed)?;
        sender
            .send(Box::new(job))
            .await
            .map_err(|_| MetaError::Closed)?;
        drop(sender);
        answer.await.map_err(|_| MetaError::Closed)?
    }

    /// Takes no more jobs, and returns when those taken are committed.
    pub(super) async fn stop(&self) {
        lock(&self.jobs).take();
        let task = lock(&self.task).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn work(
    mut session: Session,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    watch: Option<Watch>,
    commits: Arc<AtomicU64>,
    damage: Damage,
) {
    let mut group = Vec::new();
    while wait(&mut session, &mut jobs, &mut group, watch.as_ref()).await > 0 {
        let committed = commit(&mut session, &mut jobs, &mut group, watch.as_ref()).await;
        if let Err(e) = &committed {
            tracing::error!(error = %e, jobs = group.len(), "a metadata transaction failed");
            session.roll_back().await;
        }
        let committed = match committed {
            Ok(changes) => {
                commits.fetch_add(1, Relaxed);
                if let Some(watch) = &watch {
                    watch(changes);
                }
                Ok(())
            }
            Err(e) => {
                if let Some(watch) = &watch {
                    watch(Vec::new());
                }
                Err(match e {
                    MetaError::Damaged(what) => {
                        damage.say(&what);
                        Failed::Damaged(what)
                    }
                    MetaError::Unreachable(why) => Failed::Unreachable(why),
                    e => Failed::Other(e.to_string()),
                })
            }
        };
        for job in group.drain(..) {
            job.finish(committed.clone());
        }
    }
    if let Err(e) = session.close().await {
        tracing::warn!(error = %e, "closing the metadata failed");
    }
}

/// Waits for jobs; how many there are. While there are none, the session is looked after.
async fn wait(
    session: &mut Session,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
    watch: Option<&Watch>,
) -> usize {
    loop {
        tokio::select! {
            biased;
            taken = jobs.recv_many(group, GROUP) => return taken,
            () = session.doubted() => {}
        }
        tell(watch, session.look_after().await);
    }
}

/// Tells all usage, when it may be another than what was told before.
fn tell(watch: Option<&Watch>, anew: Anew) {
    if let (Some(watch), Some(usage)) = (watch, anew) {
        watch(usage);
    }
}

async fn commit(
    session: &mut Session,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
    watch: Option<&Watch>,
) -> Result<Vec<UsageChange>, MetaError> {
    tell(watch, session.begin().await?);
    let connection = session.connection()?;
    let mut done = 0;
    while done < group.len() {
        group[done].run(connection).await?;
        done += 1;
        if done == group.len()
            && done < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
    }
    let changes = session.changes(watch.is_some()).await?;
    session.commit().await?;
    Ok(changes)
}
