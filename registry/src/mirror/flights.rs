//! Work that many wait for and that is done once, to its end, whoever leaves meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::sync::lock;

/// Work that others may wait for too.
pub(super) type Flight<T> = Shared<BoxFuture<'static, Option<T>>>;

/// Work under way, by what it is about.
#[derive(Debug)]
pub(super) struct Flights<T: Clone>(Arc<Mutex<HashMap<String, Flight<T>>>>);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the work about `key`, begun now if nobody is at it; `None` when it was cut short by a
    /// shutdown.
    pub(super) fn join<F>(&self, key: &str, work: impl FnOnce() -> F) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let (all, name, work) = (Arc::clone(&self.0), key.to_owned(), work());
        let task = tokio::spawn(async move {
            let done = work.await;
            // Waits until it is entered.
            lock(&all).remove(&name);
            done
        });
        let flight = task.map(Result::ok).boxed().shared();
        flights.insert(key.to_owned(), flight.clone());
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_even_when_its_first_asker_leaves() {
        let flights: Flights<usize> = Flights::default();
        let done = Arc::new(AtomicUsize::new(0));
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let counted = Arc::clone(&done);
        drop(flights.join("a", || async move {
            let _ = gone.await;
            counted.fetch_add(1, Ordering::SeqCst) + 1
        }));
        let second = flights.join("a", || async { 9 });
        go.send(()).unwrap();
        assert_eq!(second.await, Some(1));
        assert_eq!(flights.join("a", || async { 5 }).await, Some(5));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
