//! Schema versions: `PRAGMA user_version` counts the migrations applied, in order.

use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::error::{Error, Result};

/// Every migration, oldest first. Version n is the first n of them.
const MIGRATIONS: &[(&str, &str)] = &[
    (
        "0001_store.sql",
        include_str!("../../../migrations/store/0001_store.sql"),
    ),
    (
        "0002_shared_layers.sql",
        include_str!("../../../migrations/store/0002_shared_layers.sql"),
    ),
    (
        "0003_indexes.sql",
        include_str!("../../../migrations/store/0003_indexes.sql"),
    ),
    (
        "0004_containers.sql",
        include_str!("../../../migrations/store/0004_containers.sql"),
    ),
    (
        "0005_volumes.sql",
        include_str!("../../../migrations/store/0005_volumes.sql"),
    ),
    (
        "0006_networks.sql",
        include_str!("../../../migrations/store/0006_networks.sql"),
    ),
    (
        "0007_parents.sql",
        include_str!("../../../migrations/store/0007_parents.sql"),
    ),
];

/// The version that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The version of the database; 0 when it is new.
pub(crate) async fn version(db: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(db)
        .await
}

/// Refuses what a newer program has written.
pub(crate) fn check(path: &Path, found: i64) -> Result<()> {
    if found > VERSION {
        return Err(Error::NewerSchema {
            path: path.to_path_buf(),
            found,
            known: VERSION,
        });
    }
    Ok(())
}

/// Brings the database to [`VERSION`]. The caller keeps other processes out.
pub(crate) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<()> {
    let found = version(db).await?;
    check(path, found)?;
    if found == 0 {
        // Kept in the file from now on.
        sqlx::raw_sql("PRAGMA journal_mode = WAL")
            .execute(&mut *db)
            .await?;
    }
    let from = usize::try_from(found).unwrap_or(0);
    for (n, (name, sql)) in MIGRATIONS.iter().enumerate().skip(from) {
        tracing::debug!(name, "migrating the store");
        let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*sql).execute(&mut *tx).await?;
        let version = format!("PRAGMA user_version = {}", n + 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(version))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_file_is_listed_in_order() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/store");
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(files, listed);
        for (n, name) in listed.iter().enumerate() {
            assert!(name.starts_with(&format!("{:04}_", n + 1)), "{name}");
        }
    }
}
