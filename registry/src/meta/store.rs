//! In which object store the blobs are, as a database of a server knows it.

use super::database::{Home, Meta};
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::place::Place;

/// Whose store it is, and where: the registry's name for itself, and the store's root.
pub type StoreRow = (String, String);

const ROW: &str = "SELECT registry, root FROM store WHERE id = 1";

impl Meta {
    /// What the database at `place` says, before it is opened.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`].
    pub async fn store_at(place: &Place) -> Result<Option<StoreRow>, MetaError> {
        let Place::Server(server) = place else {
            return Ok(None);
        };
        let (mut connection, _) = server.connect().await?;
        let there: bool = query_scalar("SELECT to_regclass('store') IS NOT NULL")
            .fetch_one(&mut connection)
            .await?;
        let row = match there {
            true => query_as(ROW).fetch_optional(&mut connection).await?,
            false => None,
        };
        connection.close().await?;
        Ok(row)
    }

    /// Has a server's database say this, unless it says something already; what it says.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn keep_store(&self, row: StoreRow) -> Result<StoreRow, MetaError> {
        match &self.home {
            Home::File(_) => Ok(row),
            Home::Server(_) => {
                self.writer
                    .run(move |c| Box::pin(keep(c, row)), |_| {})
                    .await
            }
        }
    }
}

async fn keep(c: &mut Connection, row: StoreRow) -> Result<StoreRow, MetaError> {
    query("INSERT INTO store (id, registry, root) VALUES (1, ?, ?) ON CONFLICT DO NOTHING")
        .bind(row.0)
        .bind(row.1)
        .execute(&mut *c)
        .await?;
    Ok(query_as(ROW).fetch_one(c).await?)
}
