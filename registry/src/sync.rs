//! Locks that outlive a panic, and work that may block.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};

/// Locks a mutex, also after a panic of another holder: nothing in this program panics between two
/// changes that belong together.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, to read what many may read at once.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same, to change what others read.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something on a thread that may block: in work that [`blocking`] runs.
pub(crate) fn waiting<F: Future>(what: F) -> F::Output {
    Handle::current().block_on(what)
}

/// Runs work that may block off the async threads, to its end even when the caller goes away.
///
/// # Errors
/// Those of `work`, and what its error makes of a panic in it or of a shutdown before it began.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<JoinError> + Send + 'static,
{
    spawn_blocking(work).await?
}
