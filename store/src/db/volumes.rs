//! The tables `volumes` and `volume_users`.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

/// A row.
#[derive(Debug, FromRow)]
pub(crate) struct VolumeRow {
    pub name: String,
    pub record: String,
    pub created: i64,
    pub pending: bool,
}

/// All, by name.
pub(crate) async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<VolumeRow>> {
    sqlx::query_as("SELECT * FROM volumes ORDER BY name")
        .fetch_all(db)
        .await
}

/// The names of all.
pub(crate) async fn names(db: &mut SqliteConnection) -> sqlx::Result<HashSet<String>> {
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM volumes")
        .fetch_all(db)
        .await?;
    Ok(names.into_iter().collect())
}

/// One.
pub(crate) async fn get(db: &mut SqliteConnection, name: &str) -> sqlx::Result<Option<VolumeRow>> {
    sqlx::query_as("SELECT * FROM volumes WHERE name = ?")
        .bind(name)
        .fetch_optional(db)
        .await
}

/// Adds a row.
pub(crate) async fn insert(db: &mut SqliteConnection, row: &VolumeRow) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO volumes (name, record, created, pending) VALUES (?, ?, ?, ?)")
        .bind(&row.name)
        .bind(&row.record)
        .bind(row.created)
        .bind(row.pending)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes a row; false when it is gone.
pub(crate) async fn delete(db: &mut SqliteConnection, name: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("DELETE FROM volumes WHERE name = ?")
        .bind(name)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a container uses a volume, which is there to stay from then on; false when there is
/// no such volume.
pub(crate) async fn add_user(
    db: &mut SqliteConnection,
    volume: &str,
    container: &str,
) -> sqlx::Result<bool> {
    let there = sqlx::query("UPDATE volumes SET pending = 0 WHERE name = ?")
        .bind(volume)
        .execute(&mut *db)
        .await?;
    if there.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT OR IGNORE INTO volume_users (volume, container) VALUES (?, ?)")
        .bind(volume)
        .bind(container)
        .execute(db)
        .await?;
    Ok(true)
}

/// The containers that use a volume.
pub(crate) async fn users(db: &mut SqliteConnection, volume: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT container FROM volume_users WHERE volume = ? ORDER BY container")
        .bind(volume)
        .fetch_all(db)
        .await
}

/// The containers that use volumes, by volume.
pub(crate) async fn all_users(
    db: &mut SqliteConnection,
) -> sqlx::Result<HashMap<String, Vec<String>>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT volume, container FROM volume_users ORDER BY volume, container")
            .fetch_all(db)
            .await?;
    let mut users: HashMap<String, Vec<String>> = HashMap::new();
    for (volume, container) in rows {
        users.entry(volume).or_default().push(container);
    }
    Ok(users)
}
