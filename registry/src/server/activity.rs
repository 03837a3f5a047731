//! What one connection is doing, and since when it does nothing.
//!
//! It does nothing while no request of it is being answered, whatever of a handshake, of HTTP/2's
//! preface or of a request's head has come: these are all waits for the client. It does nothing
//! either while no answer that it asked for can be sent on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::sync::lock;

/// How often a busy connection is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How long a client is waited for; zero is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first request of a connection, from its first byte to the end of its head.
    pub first: Duration,
    /// For any further request.
    pub next: Duration,
    /// For the client to take some of an answer.
    pub sending: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            next: Duration::from_secs(75),
            sending: Duration::from_secs(300),
        }
    }
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    #[error("no request came in time")]
    Silent,
    #[error("the client does not take its answer")]
    Stuck,
    #[error("another client needs its place")]
    Evicted,
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    evicted: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Requests that are being answered.
    requests: usize,
    /// Those of them whose answers are being sent.
    sending: usize,
    /// Whether there was one before.
    greeted: bool,
    /// Since when there is none, or nothing could be sent.
    since: Instant,
}

/// A request that is being answered; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    activity: Arc<Activity>,
    sending: bool,
}

impl State {
    /// When to give up waiting, and why; nothing while it is our turn.
    fn deadline(&self, patience: Patience) -> Option<(Instant, Over)> {
        let (time, over) = match (self.requests, self.greeted) {
            (0, false) => (patience.first, Over::Silent),
            (0, true) => (patience.next, Over::Silent),
            (all, _) if all == self.sending => (patience.sending, Over::Stuck),
            _ => return None,
        };
        (!time.is_zero()).then(|| (self.since + time, over))
    }
}

impl Activity {
    /// That of a connection that was just made.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                requests: 0,
                sending: 0,
                greeted: false,
                since: Instant::now(),
            }),
            evicted: Notify::new(),
        })
    }

    /// The client has done its part of a handshake: its time begins anew.
    pub(super) fn shaken_hands(&self) {
        lock(&self.state).since = Instant::now();
    }

    /// A request's head has come.
    pub(super) fn asked(self: &Arc<Self>) -> Asked {
        let mut state = lock(&self.state);
        state.requests += 1;
        state.greeted = true;
        drop(state);
        Asked {
            activity: Arc::clone(self),
            sending: false,
        }
    }

    /// Since when no request is being answered; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        (state.requests == 0).then_some(state.since)
    }

    /// Makes the connection end.
    pub(super) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits until the connection is to end.
    pub(super) async fn over(&self, patience: Patience) -> Over {
        tokio::select! {
            () = self.evicted.notified() => Over::Evicted,
            over = self.waited_for(patience) => over,
        }
    }

    async fn waited_for(&self, patience: Patience) -> Over {
        loop {
            let state = *lock(&self.state);
            match state.deadline(patience) {
                Some((at, over)) if at <= Instant::now() => return over,
                Some((at, _)) => sleep_until(at).await,
                // Whenever it becomes idle, it has the whole patience from then on.
                None => sleep(LOOK).await,
            }
        }
    }
}

impl Asked {
    /// More of the answer was asked for, so that what was before has gone on. Its content is there
    /// at once or from a disk: waiting for it needs no patience of its own.
    pub(super) fn sent(&mut self) {
        let mut state = lock(&self.activity.state);
        state.since = Instant::now();
        if !self.sending {
            self.sending = true;
            state.sending += 1;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = lock(&self.activity.state);
        state.requests -= 1;
        state.sending -= usize::from(self.sending);
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        first: Duration::from_secs(10),
        next: Duration::from_secs(75),
        sending: Duration::from_secs(300),
    };

    fn left(activity: &Activity) -> Option<(Duration, Over)> {
        let state = *lock(&activity.state);
        let (at, over) = state.deadline(PATIENCE)?;
        Some((at - state.since, over))
    }

    #[test]
    fn waits_are_for_the_client_alone() {
        let activity = Activity::new();
        assert_eq!(left(&activity), Some((PATIENCE.first, Over::Silent)));
        let mut one = activity.asked();
        let mut other = activity.asked();
        assert_eq!((left(&activity), activity.idle_since()), (None, None));
        one.sent();
        one.sent();
        // The other one is still being made.
        assert_eq!(left(&activity), None);
        other.sent();
        assert_eq!(left(&activity), Some((PATIENCE.sending, Over::Stuck)));
        drop(one);
        assert_eq!(left(&activity), Some((PATIENCE.sending, Over::Stuck)));
        drop(other);
        assert_eq!(left(&activity), Some((PATIENCE.next, Over::Silent)));
        assert!(activity.idle_since().is_some());
    }

    #[test]
    fn zero_is_for_ever() {
        let activity = Activity::new();
        let state = *lock(&activity.state);
        let patience = Patience {
            first: Duration::ZERO,
            ..PATIENCE
        };
        assert_eq!(state.deadline(patience), None);
    }

    #[tokio::test]
    async fn a_connection_ends_when_nobody_asks_or_its_place_is_needed() {
        let patience = Patience {
            first: Duration::from_millis(50),
            ..PATIENCE
        };
        assert_eq!(Activity::new().over(patience).await, Over::Silent);
        let activity = Activity::new();
        activity.evict();
        assert_eq!(activity.over(PATIENCE).await, Over::Evicted);
    }
}
