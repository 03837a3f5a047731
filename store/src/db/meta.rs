//! The `meta` table: facts about the store as a whole.

use sqlx::sqlite::SqliteConnection;

/// The boot in which the store was last opened.
pub(crate) async fn boot_id(db: &mut SqliteConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = 'boot_id'")
        .fetch_optional(db)
        .await
}

/// The schema version and the boot, in one query; fails when there is no schema yet.
pub(crate) async fn state(db: &mut SqliteConnection) -> sqlx::Result<(i64, String)> {
    sqlx::query_as(
        "SELECT user_version, (SELECT value FROM meta WHERE key = 'boot_id')
         FROM pragma_user_version",
    )
    .fetch_one(db)
    .await
}

/// Records the boot.
pub(crate) async fn set_boot_id(db: &mut SqliteConnection, boot_id: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT OR REPLACE INTO meta (key, value) VALUES ('boot_id', ?)")
        .bind(boot_id)
        .execute(db)
        .await?;
    Ok(())
}
