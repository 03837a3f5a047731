//! One collection's way to the metadata: what it takes away goes for good, or only out of its own
//! sight.
//!
//! A trial works on a connection of its own that cannot write. Views in its memory stand before the
//! tables that a collection deletes from, and hide what it "deleted" so far: the same statements,
//! one after the other, find the same as they would if it were real, and say exactly what would go.
//!
//! Everything is done in slices, each of which looks at, or takes away, so many rows and no more.
//! A slice is one query or one transaction: no reader stays long enough to keep the log from being
//! written back, and pushes get their turn in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::database::Meta;
use super::engine::{Connection, Sql, script};
use super::error::MetaError;
use super::replica::Replica;

/// What a trial took away, and the tables as they would be without it.
const SHADOW: &str = "
CREATE TEMP TABLE gone_tags (
    repository_id INTEGER, name TEXT, PRIMARY KEY (repository_id, name)) WITHOUT ROWID;
CREATE TEMP TABLE gone_manifests (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE gone_links (
    repository_id INTEGER, blob_id INTEGER, PRIMARY KEY (repository_id, blob_id)) WITHOUT ROWID;
CREATE TEMP TABLE untagged (id INTEGER PRIMARY KEY, at INTEGER NOT NULL);

CREATE TEMP VIEW tags AS SELECT t.* FROM main.tags t WHERE NOT EXISTS (
    SELECT 1 FROM temp.gone_tags g WHERE g.repository_id = t.repository_id AND g.name = t.name);
CREATE TEMP VIEW manifests AS
SELECT m.id, m.repository_id, m.blob_id, m.digest, m.subject, m.pushed_at, m.pulled_at,
       coalesce((SELECT u.at FROM temp.untagged u WHERE u.id = m.id), m.untagged_at) AS untagged_at
FROM main.manifests m
WHERE NOT EXISTS (SELECT 1 FROM temp.gone_manifests g WHERE g.id = m.id);
CREATE TEMP VIEW manifest_blobs AS SELECT n.* FROM main.manifest_blobs n
WHERE NOT EXISTS (SELECT 1 FROM temp.gone_manifests g WHERE g.id = n.manifest_id);
CREATE TEMP VIEW manifest_children AS SELECT c.* FROM main.manifest_children c
WHERE NOT EXISTS (SELECT 1 FROM temp.gone_manifests g WHERE g.id = c.manifest_id);
CREATE TEMP VIEW repository_blobs AS SELECT rb.* FROM main.repository_blobs rb WHERE NOT EXISTS (
    SELECT 1 FROM temp.gone_links g
    WHERE g.repository_id = rb.repository_id AND g.blob_id = rb.blob_id);

CREATE TEMP TRIGGER hide_tag INSTEAD OF DELETE ON tags BEGIN
    INSERT INTO gone_tags VALUES (OLD.repository_id, OLD.name);
    INSERT OR REPLACE INTO untagged SELECT OLD.manifest_id, unixepoch()
    WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.manifest_id);
END;
CREATE TEMP TRIGGER hide_manifest INSTEAD OF DELETE ON manifests BEGIN
    INSERT OR REPLACE INTO untagged
    SELECT m.id, max(m.untagged_at, OLD.untagged_at) FROM manifests m
    WHERE m.repository_id = OLD.repository_id AND m.subject = OLD.digest;
    INSERT OR REPLACE INTO untagged
    SELECT m.id, max(m.untagged_at, OLD.untagged_at) FROM manifests m
    WHERE m.repository_id = OLD.repository_id AND m.digest IN (
        SELECT child_digest FROM manifest_children WHERE manifest_id = OLD.id);
    INSERT INTO gone_manifests VALUES (OLD.id);
END;
CREATE TEMP TRIGGER date_manifest INSTEAD OF UPDATE ON manifests BEGIN
    INSERT OR REPLACE INTO untagged VALUES (OLD.id, NEW.untagged_at);
END;
CREATE TEMP TRIGGER hide_link INSTEAD OF DELETE ON repository_blobs BEGIN
    INSERT INTO gone_links VALUES (OLD.repository_id, OLD.blob_id);
END;
";

/// The same for PostgreSQL. While a view is made there is none of its name before the table.
const SHADOW_THERE: &str = "
CREATE TEMP TABLE gone_tags (
    repository_id bigint, name text COLLATE \"C\", PRIMARY KEY (repository_id, name));
CREATE TEMP TABLE gone_manifests (id bigint PRIMARY KEY);
CREATE TEMP TABLE gone_links (
    repository_id bigint, blob_id bigint, PRIMARY KEY (repository_id, blob_id));
CREATE TEMP TABLE untagged (id bigint PRIMARY KEY, at bigint NOT NULL);

CREATE TEMP VIEW tags AS SELECT t.* FROM tags t WHERE NOT EXISTS (
    SELECT 1 FROM gone_tags g WHERE g.repository_id = t.repository_id AND g.name = t.name);
CREATE TEMP VIEW manifests AS
SELECT m.id, m.repository_id, m.blob_id, m.digest, m.subject, m.pushed_at, m.pulled_at,
       coalesce((SELECT u.at FROM untagged u WHERE u.id = m.id), m.untagged_at) AS untagged_at
FROM manifests m WHERE NOT EXISTS (SELECT 1 FROM gone_manifests g WHERE g.id = m.id);
CREATE TEMP VIEW manifest_blobs AS SELECT n.* FROM manifest_blobs n
WHERE NOT EXISTS (SELECT 1 FROM gone_manifests g WHERE g.id = n.manifest_id);
CREATE TEMP VIEW manifest_children AS SELECT c.* FROM manifest_children c
WHERE NOT EXISTS (SELECT 1 FROM gone_manifests g WHERE g.id = c.manifest_id);
CREATE TEMP VIEW repository_blobs AS SELECT rb.* FROM repository_blobs rb WHERE NOT EXISTS (
    SELECT 1 FROM gone_links g
    WHERE g.repository_id = rb.repository_id AND g.blob_id = rb.blob_id);

CREATE FUNCTION pg_temp.hide_tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO gone_tags VALUES (OLD.repository_id, OLD.name);
    INSERT INTO untagged SELECT OLD.manifest_id, unixepoch()
    WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = OLD.manifest_id)
    ON CONFLICT (id) DO UPDATE SET at = excluded.at;
    RETURN OLD;
END $$;
CREATE TRIGGER hide_tag INSTEAD OF DELETE ON tags
FOR EACH ROW EXECUTE FUNCTION pg_temp.hide_tag();
CREATE FUNCTION pg_temp.hide_manifest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO untagged SELECT m.id, max(m.untagged_at, OLD.untagged_at) FROM manifests m
    WHERE m.repository_id = OLD.repository_id AND m.subject = OLD.digest
    ON CONFLICT (id) DO UPDATE SET at = excluded.at;
    INSERT INTO untagged SELECT m.id, max(m.untagged_at, OLD.untagged_at) FROM manifests m
    WHERE m.repository_id = OLD.repository_id AND m.digest IN (
        SELECT child_digest FROM manifest_children WHERE manifest_id = OLD.id)
    ON CONFLICT (id) DO UPDATE SET at = excluded.at;
    INSERT INTO gone_manifests VALUES (OLD.id);
    RETURN OLD;
END $$;
CREATE TRIGGER hide_manifest INSTEAD OF DELETE ON manifests
FOR EACH ROW EXECUTE FUNCTION pg_temp.hide_manifest();
CREATE FUNCTION pg_temp.date_manifest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO untagged VALUES (OLD.id, NEW.untagged_at)
    ON CONFLICT (id) DO UPDATE SET at = excluded.at;
    RETURN NEW;
END $$;
CREATE TRIGGER date_manifest INSTEAD OF UPDATE ON manifests
FOR EACH ROW EXECUTE FUNCTION pg_temp.date_manifest();
CREATE FUNCTION pg_temp.hide_link() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO gone_links VALUES (OLD.repository_id, OLD.blob_id);
    RETURN OLD;
END $$;
CREATE TRIGGER hide_link INSTEAD OF DELETE ON repository_blobs
FOR EACH ROW EXECUTE FUNCTION pg_temp.hide_link();
SET default_transaction_read_only = on;
";

/// One collection's way to the metadata.
#[derive(Debug)]
pub struct Collection<'m> {
    pub(super) meta: &'m Meta,
    trial: Option<Mutex<Connection>>,
}

/// What a slice found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T, K> {
    /// That.
    pub found: T,
    /// Where the next slice begins; `None` when this was the last one.
    pub next: Option<K>,
}

impl Meta {
    /// Begins a collection; a `trial` changes nothing.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn collection(&self, trial: bool) -> Result<Collection<'_>, MetaError> {
        let trial = if trial {
            let connection = self.aside().await;
            let mut connection = self.noted(connection)?;
            script(&mut connection, Sql::each(SHADOW, SHADOW_THERE)).await?;
            #[cfg(test)]
            if let Connection::Sqlite(connection) = &mut connection {
                super::database::count_steps(connection, &self.steps).await?;
            }
            Some(Mutex::new(connection))
        } else {
            None
        };
        Ok(Collection { meta: self, trial })
    }
}

impl Collection<'_> {
    /// This process, where others may be at work too and something is changed.
    pub(super) fn replica(&self) -> Option<Arc<Replica>> {
        match self.trial {
            Some(_) => None,
            None => self.meta.replica.clone(),
        }
    }

    /// Asks.
    pub(super) async fn look<T>(
        &self,
        question: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>>,
    ) -> Result<T, MetaError> {
        let answer = match &self.trial {
            Some(trial) => question(&mut *trial.lock().await).await,
            None => {
                let mut connection = self.meta.readers.acquire().await?;
                question(&mut connection).await
            }
        };
        self.meta.noted(answer)
    }

    /// Changes something in one transaction; `effect` sees what was done, unless it is a trial. How
    /// long the work held the writer comes with it.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>>
        + Send
        + 'static,
        effect: impl FnOnce(&T) + Send + 'static,
    ) -> Result<(T, Duration), MetaError> {
        let timed = timed(work);
        match &self.trial {
            Some(trial) => {
                let done = timed(&mut *trial.lock().await).await;
                self.meta.noted(done)
            }
            None => {
                self.meta
                    .writer
                    .run(timed, move |(done, _)| effect(done))
                    .await
            }
        }
    }
}

/// The same work, with how long it took.
fn timed<T, W>(
    work: W,
) -> impl for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<(T, Duration), MetaError>>
+ Send
+ 'static
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>> + Send + 'static,
{
    move |c| {
        Box::pin(async move {
            let begun = Instant::now();
            Ok((work(c).await?, begun.elapsed()))
        })
    }
}
