//! What a database that was put in place cannot know of.

use crate::clock::now;
use crate::meta::{Meta, MetaError};

/// A time of which the database knows nothing, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Gap {
    after: i64,
    before: i64,
}

impl Gap {
    /// What the database does not know of the time before it was opened, which is now.
    pub(in crate::service) async fn of(meta: &Meta) -> Result<Self, MetaError> {
        Ok(Self {
            after: meta.newest_blob().await?.unwrap_or(i64::MIN),
            before: now(),
        })
    }

    /// Whether a time is in it.
    pub(in crate::service) fn has(self, time: i64) -> bool {
        self.after < time && time < self.before
    }
}
