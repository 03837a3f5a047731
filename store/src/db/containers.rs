//! The `containers` table.

use std::collections::HashSet;

use oci::{ChainId, Digest};
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{parse, parse_opt};
use crate::error::Result;

/// A row.
#[derive(Debug, FromRow)]
pub(crate) struct ContainerRow {
    pub id: String,
    pub name: String,
    image: String,
    chain_id: Option<String>,
    pub record: String,
    pub created: i64,
    pub removing: bool,
}

impl ContainerRow {
    pub fn image(&self) -> Result<Digest> {
        parse(&self.image)
    }

    pub fn chain_id(&self) -> Result<Option<ChainId>> {
        parse_opt(self.chain_id.as_deref())
    }
}

/// All, the newest first.
pub(crate) async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<ContainerRow>> {
    sqlx::query_as("SELECT * FROM containers ORDER BY created DESC, id")
        .fetch_all(db)
        .await
}

/// One, by its whole ID.
pub(crate) async fn get(db: &mut SqliteConnection, id: &str) -> sqlx::Result<Option<ContainerRow>> {
    sqlx::query_as("SELECT * FROM containers WHERE id = ?")
        .bind(id)
        .fetch_optional(db)
        .await
}

/// The ID of the container that has a name.
pub(crate) async fn holder(db: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT id FROM containers WHERE name = ?")
        .bind(name)
        .fetch_optional(db)
        .await
}

/// Those whose IDs begin with a text, at most two.
pub(crate) async fn beginning(
    db: &mut SqliteConnection,
    prefix: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT id FROM containers WHERE id GLOB ? || '*' LIMIT 2")
        .bind(prefix)
        .fetch_all(db)
        .await
}

/// Adds a row.
pub(crate) async fn insert(
    db: &mut SqliteConnection,
    id: &str,
    name: &str,
    (image, chain_id): (&Digest, Option<&ChainId>),
    record: &str,
    created: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO containers (id, name, image, chain_id, record, created)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(name)
    .bind(image.to_string())
    .bind(chain_id.map(ToString::to_string))
    .bind(record)
    .bind(created)
    .execute(db)
    .await?;
    Ok(())
}

/// Gives a container another name; false when it is gone.
pub(crate) async fn rename(db: &mut SqliteConnection, id: &str, name: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("UPDATE containers SET name = ? WHERE id = ?")
        .bind(name)
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the record; false when the container is gone.
pub(crate) async fn update(
    db: &mut SqliteConnection,
    id: &str,
    record: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query("UPDATE containers SET record = ? WHERE id = ?")
        .bind(record)
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a container is being removed; false when it is gone.
pub(crate) async fn removing(db: &mut SqliteConnection, id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("UPDATE containers SET removing = 1 WHERE id = ?")
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a row, and what it says of volumes and mounted images.
pub(crate) async fn delete(db: &mut SqliteConnection, id: &str) -> sqlx::Result<()> {
    for query in [
        "DELETE FROM containers WHERE id = ?",
        "DELETE FROM volume_users WHERE container = ?",
        "DELETE FROM container_images WHERE container = ?",
    ] {
        sqlx::query(query).bind(id).execute(&mut *db).await?;
    }
    Ok(())
}

/// Notes that a container mounts an image.
pub(crate) async fn mounts_image(
    db: &mut SqliteConnection,
    id: &str,
    image: &Digest,
    chain_id: Option<&ChainId>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR IGNORE INTO container_images (container, image, chain_id) VALUES (?, ?, ?)",
    )
    .bind(id)
    .bind(image.to_string())
    .bind(chain_id.map(ToString::to_string))
    .execute(db)
    .await?;
    Ok(())
}

/// The IDs of all.
pub(crate) async fn ids(db: &mut SqliteConnection) -> sqlx::Result<HashSet<String>> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM containers")
        .fetch_all(db)
        .await?;
    Ok(ids.into_iter().collect())
}

/// The images that containers were made of, and those that are mounted in them.
pub(crate) async fn images(db: &mut SqliteConnection) -> Result<HashSet<Digest>> {
    let images: Vec<String> =
        sqlx::query_scalar("SELECT image FROM containers UNION SELECT image FROM container_images")
            .fetch_all(db)
            .await?;
    images.iter().map(|image| parse(image)).collect()
}

/// The IDs of the containers that were made of an image or mount it, the newest first.
pub(crate) async fn of_image(
    db: &mut SqliteConnection,
    image: &Digest,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT id FROM containers WHERE image = ?1
             OR id IN (SELECT container FROM container_images WHERE image = ?1)
         ORDER BY created DESC, id",
    )
    .bind(image.to_string())
    .fetch_all(db)
    .await
}
