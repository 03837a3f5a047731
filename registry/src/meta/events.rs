//! What webhooks are still to be told.

use super::activity::add;
use super::database::Meta;
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::sql::from_sql;
use crate::events::{ACTIVITY, Notice};

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEvent {
    /// Its number; later ones have larger ones.
    pub id: i64,
    /// The event, as JSON.
    pub event: String,
}

/// Queues events, in the transaction of what they tell of.
pub(super) async fn note(c: &mut Connection, notices: Vec<Notice>) -> Result<(), MetaError> {
    for notice in notices {
        if &*notice.webhook == ACTIVITY {
            add(c, &notice.event).await?;
            continue;
        }
        query("INSERT INTO webhook_events (webhook, event) VALUES (?, ?)")
            .bind(notice.webhook.to_string())
            .bind(notice.event)
            .execute(&mut *c)
            .await?;
    }
    Ok(())
}

impl Meta {
    /// The `n` oldest events that wait for a webhook.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn queued_events(
        &self,
        webhook: &str,
        n: u32,
    ) -> Result<Vec<QueuedEvent>, MetaError> {
        let rows: Vec<(i64, String)> =
            query_as("SELECT id, event FROM webhook_events WHERE webhook = ? ORDER BY id LIMIT ?")
                .bind(webhook.to_owned())
                .bind(n)
                .fetch_all(&self.readers)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(id, event)| QueuedEvent { id, event })
            .collect())
    }

    /// Forgets a webhook's events up to number `last`; how many there were.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn forget_events(&self, webhook: &str, last: i64) -> Result<u64, MetaError> {
        let webhook = webhook.to_owned();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let done =
                            query("DELETE FROM webhook_events WHERE webhook = ? AND id <= ?")
                                .bind(webhook)
                                .bind(last)
                                .execute(c)
                                .await?;
                        Ok(done.rows_affected())
                    })
                },
                |_| {},
            )
            .await
    }

    /// The number of the newest event that has to go so that no more than `backlog` wait.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn surplus_events(
        &self,
        webhook: &str,
        backlog: u32,
    ) -> Result<Option<i64>, MetaError> {
        Ok(query_scalar(
            "SELECT id FROM webhook_events WHERE webhook = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        )
        .bind(webhook.to_owned())
        .bind(backlog)
        .fetch_optional(&self.readers)
        .await?)
    }

    /// Notes what is no change of images.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn note(&self, notices: Vec<Notice>) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| Box::pin(async move { note(c, notices).await }),
                |()| {},
            )
            .await
    }

    /// How many events wait, by webhook.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn waiting_events(&self) -> Result<Vec<(String, u64)>, MetaError> {
        let rows: Vec<(String, i64)> =
            query_as("SELECT webhook, count(*) FROM webhook_events GROUP BY webhook")
                .fetch_all(&self.readers)
                .await?;
        Ok(rows
            .into_iter()
            .map(|(webhook, count)| (webhook, from_sql(count)))
            .collect())
    }
}
