//! The writer's connection. One to a server is made again when it is lost.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::changes;
use super::engine::{self, Connection, Standing, script};
use super::error::MetaError;
use super::place::{Company, Server};
use super::server::Backend;
use super::usage_log::{self, Read};
use crate::quota::UsageChange;
use crate::sync::lock;

/// How long a lost server is left alone, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));

/// How long a transaction may take to begin or to be taken back; then the connection is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Done when a lost server is back: a commit that was taken for failed may have been made.
pub type Doubt = Box<dyn Fn() + Send>;

/// What there is to do then, if anything.
#[derive(Clone, Default)]
pub(super) struct Doubts(Arc<Mutex<Option<Doubt>>>);

/// The writer's connection.
#[derive(Debug)]
pub(super) enum Session {
    /// To a file, which does not go away.
    File(Connection),
    /// To a server.
    Server(Box<Link>),
}

/// A connection to a server, which may be lost for now.
#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    company: Company,
    standing: Arc<Standing>,
    doubts: Doubts,
    connection: Option<Connection>,
    /// Of the connection that is there, or was there last.
    backend: Backend,
    /// Whether somebody here is told of changes of usage.
    watched: bool,
    /// What others told of theirs, and what this transaction tells them.
    read: (Read, Read),
    /// When it is tried again, and for how long it rests when that fails.
    again: (Instant, Duration),
}

/// All usage, when the connection had to be made again, and what others changed of it.
pub(super) type Anew = Option<Vec<UsageChange>>;

impl Doubts {
    pub(super) fn set(&self, doubt: Doubt) {
        *lock(&self.0) = Some(doubt);
    }

    fn tell(&self) {
        if let Some(doubt) = &*lock(&self.0) {
            doubt();
        }
    }
}

impl std::fmt::Debug for Doubts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doubts")
    }
}

impl Session {
    /// With a connection that has the server's lock. What is `watched` is gathered on it already.
    pub(super) fn server(
        server: Server,
        standing: Arc<Standing>,
        doubts: Doubts,
        company: Company,
        (connection, backend): (Connection, Backend),
        watched: bool,
        read: Read,
    ) -> Self {
        Self::Server(Box::new(Link {
            server,
            company,
            standing,
            doubts,
            connection: Some(connection),
            backend,
            watched,
            read: (read, read),
            again: (Instant::now(), PAUSES.0),
        }))
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<Anew, MetaError> {
        match self {
            Self::File(connection) => {
                engine::begin(connection).await?;
                Ok(None)
            }
            Self::Server(link) => link.begin().await,
        }
    }

    /// The connection, in a transaction that was begun.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, MetaError> {
        match self {
            Self::File(connection) => Ok(connection),
            Self::Server(link) => link
                .connection
                .as_mut()
                .ok_or_else(|| MetaError::Unreachable(link.standing.down().unwrap_or_default())),
        }
    }

    /// What the transaction changed of what is used, where anybody wants to know it.
    pub(super) async fn changes(&mut self, watched: bool) -> Result<Vec<UsageChange>, MetaError> {
        if let Self::Server(link) = self
            && link.company == Company::Shared
        {
            let read = link.read.0;
            let told = usage_log::tell_changes(self.connection()?, read).await?;
            return Ok(self.told(told));
        }
        match watched {
            true => changes::take_changes(self.connection()?).await,
            false => Ok(Vec::new()),
        }
    }

    fn told(&mut self, (changes, read): (Vec<UsageChange>, Read)) -> Vec<UsageChange> {
        if let Self::Server(link) = self {
            link.read.1 = read;
        }
        changes
    }

    /// Commits.
    pub(super) async fn commit(&mut self) -> Result<(), MetaError> {
        engine::commit(self.connection()?).await?;
        if let Self::Server(link) = self {
            link.read.0 = link.read.1;
        }
        Ok(())
    }

    /// Takes a failed transaction back.
    pub(super) async fn roll_back(&mut self) {
        match self {
            // Fails when the transaction is gone already, which is what is wanted.
            Self::File(connection) => drop(engine::rollback(connection).await),
            Self::Server(link) => link.roll_back().await,
        }
    }

    /// Waits until the connection has to be looked after; for ever, when it never has.
    pub(super) async fn doubted(&self) {
        match self {
            Self::File(_) => pending().await,
            Self::Server(link) => match link.connection {
                Some(_) => link.standing.doubted().await,
                None => sleep_until(link.again.0).await,
            },
        }
    }

    /// Looks after the connection while nobody needs it.
    pub(super) async fn look_after(&mut self) -> Anew {
        match self {
            Self::File(_) => None,
            Self::Server(link) => link.look_after().await,
        }
    }

    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::File(connection) => connection.close().await,
            Self::Server(link) => match link.connection {
                Some(connection) => connection.close().await,
                None => Ok(()),
            },
        }
    }
}

impl Link {
    async fn begin(&mut self) -> Result<Anew, MetaError> {
        if let Some(connection) = &mut self.connection {
            let Err(e) = quickly(engine::begin(connection)).await else {
                return self.read_on().await;
            };
            // Nothing was done with it yet, so that another one will do as well.
            self.lose(&e);
        }
        let mut usage = self.restore().await?;
        if let Some(connection) = &mut self.connection {
            quickly(engine::begin(connection)).await?;
        }
        usage.extend(self.read_on().await?.unwrap_or_default());
        Ok(Some(usage))
    }

    /// What others changed of what is used, now that nobody else can.
    async fn read_on(&mut self) -> Result<Anew, MetaError> {
        match &mut self.connection {
            Some(connection) if self.company == Company::Shared && self.watched => {
                let changes = self.read.0.on(connection).await?;
                self.read.1 = self.read.0;
                Ok(Some(changes))
            }
            _ => Ok(None),
        }
    }

    async fn roll_back(&mut self) {
        if let Some(connection) = &mut self.connection
            && let Err(e) = quickly(engine::rollback(connection)).await
        {
            self.lose(&e);
        }
    }

    async fn look_after(&mut self) -> Anew {
        if let Some(connection) = &mut self.connection {
            match quickly(script(connection, "SELECT 1")).await {
                Ok(()) => return None,
                Err(e) => self.lose(&e),
            }
        }
        self.restore().await.ok()
    }

    fn lose(&mut self, e: &MetaError) {
        tracing::warn!(error = %e, "the connection to the database is lost");
        self.connection = None;
    }

    /// Connects again, unless that failed only just now; all usage.
    async fn restore(&mut self) -> Result<Vec<UsageChange>, MetaError> {
        if let Some(why) = self.standing.down()
            && Instant::now() < self.again.0
        {
            return Err(MetaError::Unreachable(why));
        }
        match self.connect().await {
            Ok(usage) => {
                self.again = (Instant::now(), PAUSES.0);
                self.standing.set_up();
                self.doubts.tell();
                Ok(usage)
            }
            Err(e) => {
                let (_, pause) = self.again;
                self.again = (Instant::now() + pause, (2 * pause).min(PAUSES.1));
                let why = match e {
                    MetaError::Unreachable(why) => why,
                    e => e.to_string(),
                };
                self.standing.set_down(&why);
                Err(MetaError::Unreachable(why))
            }
        }
    }

    async fn connect(&mut self) -> Result<Vec<UsageChange>, MetaError> {
        let (mut connection, backend) = self.server.hold(self.company, Some(&self.backend)).await?;
        if self.company == Company::Shared {
            self.read.0 = Read::to_the_end(&mut connection).await?;
        }
        let usage = changes::all(&mut connection).await?;
        if self.watched || self.company == Company::Shared {
            changes::record_changes(&mut connection).await?;
        }
        self.backend = backend;
        self.connection = Some(connection);
        Ok(usage)
    }
}

/// What a server should do at once.
async fn quickly(work: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), MetaError> {
    match timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(MetaError::Unreachable("it says nothing".to_owned())),
    }
}
