//! Work for the writer.

use futures_util::future::BoxFuture;

use super::engine::Connection;
use super::error::MetaError;

/// The same work: says of what type it must be.
pub(super) fn job<T, W>(work: W) -> W
where
    W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, MetaError>> + Send + 'static,
{
    work
}
