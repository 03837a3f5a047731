//! Who of several processes does what only one of them has to do.
//!
//! It has a lock of the database's, on a connection of its own, and asks every other second whether
//! the connection is still there. Another process may take the lock a moment before that is found
//! out: what leaders do is done right by two of them, too, if not twice as fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::engine::{Connection, query_scalar};
use super::error::MetaError;
use super::place::Server;
use super::usage_log;

/// How often the lock is tried, and the connection of who has it.
const LOOK: Duration = Duration::from_secs(2);

/// How often what processes tell each other is trimmed.
const TRIM: Duration = Duration::from_secs(60);

const LEAD: &str =
    "SELECT pg_try_advisory_lock(hashtext('rregistry leads'), hashtext(current_schema()))";

/// Whether this process leads.
#[derive(Debug)]
pub(super) struct Leader {
    leads: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Has it found out from now on.
    pub(super) fn start(server: Server) -> Self {
        let leads = Arc::<AtomicBool>::default();
        let task = tokio::spawn(run(server, Arc::clone(&leads)));
        Self { leads, task }
    }

    pub(super) fn leads(&self) -> bool {
        self.leads.load(Relaxed)
    }

    /// Lets another one lead.
    pub(super) fn stop(&self) {
        self.leads.store(false, Relaxed);
        self.task.abort();
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(server: Server, leads: Arc<AtomicBool>) {
    let mut connection = None;
    let mut trimmed = Instant::now();
    loop {
        let looked = timeout(
            LOOK * 2,
            look(&server, &mut connection, leads.load(Relaxed)),
        );
        let now = match looked.await {
            Ok(Ok(now)) => now,
            Ok(Err(e)) => {
                tracing::debug!(error = %e, "who leads cannot be asked");
                connection = None;
                false
            }
            Err(_) => {
                connection = None;
                false
            }
        };
        if leads.swap(now, Relaxed) != now {
            match now {
                true => tracing::info!("this process leads"),
                false => tracing::warn!("this process does not lead any more"),
            }
        }
        if now
            && trimmed.elapsed() >= TRIM
            && let Some(connection) = &mut connection
        {
            trimmed = Instant::now();
            if let Err(e) = usage_log::trim(connection).await {
                tracing::debug!(error = %e, "the log of usage is not trimmed");
            }
        }
        sleep(LOOK).await;
    }
}

/// Whether the lock is ours.
async fn look(
    server: &Server,
    connection: &mut Option<Connection>,
    leads: bool,
) -> Result<bool, MetaError> {
    let there = match connection {
        Some(there) => there,
        None => connection.insert(server.connect().await?.0),
    };
    let question = match leads {
        true => "SELECT true",
        false => LEAD,
    };
    Ok(query_scalar(question).fetch_one(there).await?)
}
