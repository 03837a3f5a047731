//! The `networks` table.

use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

/// A row.
#[derive(Debug, FromRow)]
pub(crate) struct NetworkRow {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub record: String,
    pub created: i64,
}

/// All, by their names.
pub(crate) async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<NetworkRow>> {
    sqlx::query_as("SELECT * FROM networks ORDER BY name")
        .fetch_all(db)
        .await
}

/// Those of an ID or a name, the ID first.
pub(crate) async fn called(
    db: &mut SqliteConnection,
    text: &str,
) -> sqlx::Result<Option<NetworkRow>> {
    sqlx::query_as(
        "SELECT * FROM networks WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1",
    )
    .bind(text)
    .fetch_optional(db)
    .await
}

/// Those whose IDs begin with a text.
pub(crate) async fn beginning(
    db: &mut SqliteConnection,
    prefix: &str,
) -> sqlx::Result<Vec<NetworkRow>> {
    sqlx::query_as("SELECT * FROM networks WHERE id GLOB ? || '*'")
        .bind(prefix)
        .fetch_all(db)
        .await
}

/// Adds a row.
pub(crate) async fn insert(db: &mut SqliteConnection, row: &NetworkRow) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO networks (id, name, driver, record, created) VALUES (?, ?, ?, ?, ?)")
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.driver)
        .bind(&row.record)
        .bind(row.created)
        .execute(db)
        .await?;
    Ok(())
}

/// Deletes a row; false when it is gone.
pub(crate) async fn delete(db: &mut SqliteConnection, id: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("DELETE FROM networks WHERE id = ?")
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
