//! The database of one registry: opened, asked whether it is well, closed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::changes::{self, Watch};
use super::damage::Damage;
use super::engine::{Connection, Pool, Readers, Standing, query};
use super::error::MetaError;
use super::file::{self, File, read_only};
use super::leader::Leader;
use super::place::{Company, Place, Server};
use super::replica::Replica;
use super::session::{Doubt, Doubts, Session};
use super::tally::Tally;
use super::usage_log::Read;
use super::writer::Writer;

/// The metadata of one registry.
#[derive(Debug)]
pub struct Meta {
    pub(super) home: Home,
    pub(super) commits: Arc<AtomicU64>,
    pub(super) damage: Damage,
    pub(super) readers: Readers,
    pub(super) writer: Writer,
    pub(super) unsettled: Tally,
    /// Where others serve too.
    leader: Option<Leader>,
    /// The same, of what it brings and takes away.
    pub(super) replica: Option<Arc<Replica>>,
    doubts: Doubts,
    /// Steps of SQLite's machine, a multiple of ten.
    #[cfg(test)]
    pub(crate) steps: Arc<AtomicU64>,
}

/// Where it is.
#[derive(Debug)]
pub(super) enum Home {
    File(File),
    Server(Server),
}

impl Meta {
    /// Opens the database at `place`, made and migrated when needed. `watch` is told all usage now,
    /// and then every change of it. Others may serve a server's database in `company` with this
    /// one.
    ///
    /// # Errors
    /// [`MetaError::Damaged`], [`MetaError::Sql`], [`MetaError::Migrate`],
    /// [`MetaError::Newer`]; of a server also [`MetaError::Unreachable`], [`MetaError::Taken`],
    /// [`MetaError::Unfit`].
    pub async fn open(
        place: &Place,
        company: Company,
        watch: Option<Watch>,
    ) -> Result<Self, MetaError> {
        match place {
            Place::File(path) => Self::open_file(path, watch).await,
            Place::Server(server) => Self::open_server(server, company, watch).await,
        }
    }

    async fn open_file(path: &Path, watch: Option<Watch>) -> Result<Self, MetaError> {
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests count its steps"))]
        let (mut connection, readers, options) = file::open(path).await?;
        #[cfg(test)]
        let steps = Arc::<AtomicU64>::default();
        #[cfg(test)]
        let readers = {
            count_steps(&mut connection, &steps).await?;
            let steps = Arc::clone(&steps);
            readers.after_connect(move |connection, _| {
                let steps = Arc::clone(&steps);
                Box::pin(async move { count_steps(connection, &steps).await })
            })
        };
        let readers = readers.connect_with(options).await?;
        let mut connection = Connection::Sqlite(connection);
        begin_watching(&mut connection, watch.as_ref()).await?;
        let unsettled = Tally::of(&mut connection).await?;
        let commits = Arc::<AtomicU64>::default();
        let damage = Damage::default();
        let session = Session::File(connection);
        Ok(Self {
            home: Home::File(File::at(path).await?),
            readers: Readers::new(Pool::Sqlite(readers), damage.clone()),
            writer: Writer::start(session, watch, Arc::clone(&commits), damage.clone()),
            damage,
            commits,
            unsettled,
            leader: None,
            replica: None,
            doubts: Doubts::default(),
            #[cfg(test)]
            steps,
        })
    }

    async fn open_server(
        server: &Server,
        company: Company,
        watch: Option<Watch>,
    ) -> Result<Self, MetaError> {
        let (mut connection, backend) = server.hold(company, None).await?;
        server.migrate(&mut connection).await?;
        let read = match company {
            Company::Alone => Read::default(),
            Company::Shared => Read::to_the_end(&mut connection).await?,
        };
        begin_watching(&mut connection, watch.as_ref()).await?;
        if watch.is_none() && company == Company::Shared {
            // Others may have limits to keep.
            changes::record_changes(&mut connection).await?;
        }
        let unsettled = Tally::of(&mut connection).await?;
        let (standing, doubts) = (Arc::<Standing>::default(), Doubts::default());
        let session = Session::server(
            server.clone(),
            Arc::clone(&standing),
            doubts.clone(),
            company,
            (connection, backend),
            watch.is_some(),
            read,
        );
        let commits = Arc::<AtomicU64>::default();
        let damage = Damage::default();
        let readers = Pool::Postgres(server.readers(), standing);
        Ok(Self {
            home: Home::Server(server.clone()),
            readers: Readers::new(readers, damage.clone()),
            writer: Writer::start(session, watch, Arc::clone(&commits), damage.clone()),
            damage,
            commits,
            unsettled,
            leader: (company == Company::Shared).then(|| Leader::start(server.clone())),
            replica: (company == Company::Shared).then(Replica::new),
            doubts,
            #[cfg(test)]
            steps: Arc::default(),
        })
    }

    /// Whether there is nothing at `place` yet that [`Meta::open`] would open.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`].
    pub async fn is_missing(place: &Place) -> Result<bool, MetaError> {
        match place {
            Place::File(path) => {
                let size = tokio::fs::metadata(path).await.map_or(0, |m| m.len());
                Ok(size == 0)
            }
            Place::Server(server) => Ok(!server.has_schema().await?),
        }
    }

    /// Says what is to be done when a server was lost and is back, since a change that was taken
    /// for failed may have been made: what is kept in memory of the database is forgotten.
    pub fn on_doubt(&self, doubt: Doubt) {
        self.doubts.set(doubt);
    }

    /// A connection of its own, for work that leaves something in it. It does not change what is in
    /// the database.
    pub(super) async fn aside(&self) -> Result<Connection, MetaError> {
        match &self.home {
            Home::File(file) => Ok(Connection::Sqlite(read_only(&file.path).await?)),
            Home::Server(server) => Ok(server.connect().await?.0),
        }
    }

    /// Remembers that the database is damaged, if an answer says so.
    pub(super) fn noted<T>(&self, answer: Result<T, MetaError>) -> Result<T, MetaError> {
        if let Err(MetaError::Damaged(what)) = &answer {
            self.damage.say(what);
        }
        answer
    }

    /// Whether this process does what only one has to do; always, where there is only one.
    pub fn leads(&self) -> bool {
        self.leader.as_ref().is_none_or(Leader::leads)
    }

    /// Whether other processes may change what is here.
    pub fn is_shared(&self) -> bool {
        self.leader.is_some()
    }

    /// Commits what is waiting and closes the database.
    pub async fn close(&self) {
        if let Some(leader) = &self.leader {
            leader.stop();
        }
        self.writer.stop().await;
        self.readers.close().await;
    }

    /// Whether the database answers, was never found damaged, and is still the one in its place.
    ///
    /// # Errors
    /// [`MetaError::Sql`], [`MetaError::Damaged`], [`MetaError::Replaced`],
    /// [`MetaError::Unreachable`].
    pub async fn ping(&self) -> Result<(), MetaError> {
        if let Some(what) = self.damage.seen() {
            return Err(MetaError::Damaged(what.to_owned()));
        }
        if let Home::File(file) = &self.home {
            file.check().await?;
        }
        query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// Tells all usage, and has its changes gathered from now on.
async fn begin_watching(
    connection: &mut Connection,
    watch: Option<&Watch>,
) -> Result<(), MetaError> {
    if let Some(watch) = watch {
        watch(changes::all(connection).await?);
        changes::record_changes(connection).await?;
    }
    Ok(())
}

/// Counts what a connection does from now on.
#[cfg(test)]
pub(super) async fn count_steps(
    connection: &mut sqlx::SqliteConnection,
    steps: &Arc<AtomicU64>,
) -> Result<(), sqlx::Error> {
    let steps = Arc::clone(steps);
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(10, move || {
        steps.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        true
    });
    Ok(())
}
