//! Counts of the content that is durable in the database until its files are.

use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicI64, AtomicU64};

use bytes::Bytes;

use super::engine::{Connection, query_scalar};
use super::error::MetaError;

/// How much there is, and up to which number.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) last: AtomicI64,
    pub(super) settled: AtomicI64,
    pub(super) bytes: AtomicU64,
}

impl Tally {
    /// Of a database that was just opened.
    pub(super) async fn of(c: &mut Connection) -> Result<Self, MetaError> {
        let last: Option<i64> = query_scalar("SELECT max(id) FROM unsettled")
            .fetch_one(c)
            .await?;
        Ok(Self {
            last: last.unwrap_or(0).into(),
            ..Self::default()
        })
    }

    /// The number of content whose file has its name by now.
    pub(super) fn number(&self, content: &Bytes) -> i64 {
        self.bytes.fetch_add(content.len() as u64, AcqRel);
        self.last.fetch_add(1, AcqRel) + 1
    }
}
