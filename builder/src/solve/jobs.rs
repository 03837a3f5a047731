//! How many steps are worked on at a time.
//!
//! Unless the user says how many, there is one turn for each core, and a step that only waits does
//! not count: others go on in its place. Whether it waits is looked at only when somebody else
//! wants a turn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How soon a step is looked at again that was not at work, and how late one that always is.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(160);
/// A step that was not at work for so many looks in a row waits.
const LOOKS: u32 = 3;

/// The bound on what is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many steps, whatever they do.
    Steps(NonZeroUsize),
    /// So many steps that are at work: those that wait do not count.
    Work(NonZeroUsize),
}

impl Bound {
    /// One step at work for each core of this machine.
    pub fn cores() -> Self {
        Self::Work(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

/// Tells whether a step is at work at this moment.
pub type AtWork = Box<dyn Fn() -> bool>;

/// Gives out turns.
pub struct Jobs {
    shared: Rc<Shared>,
}

struct Shared {
    bound: Bound,
    turns: RefCell<Turns>,
    freed: Notify,
}

#[derive(Default)]
struct Turns {
    next: u64,
    /// By number.
    taken: BTreeMap<u64, Taken>,
}

/// What is known of whoever has a turn.
enum Taken {
    /// It works.
    Works,
    /// It waits for something outside, and says so itself.
    Waits,
    /// It was given back for as long as its step waits for another one.
    Away,
    /// It is looked at.
    Watched(Watched),
}

struct Watched {
    at_work: AtWork,
    looked: Instant,
    pause: Duration,
    /// How many looks in a row it was not at work.
    idle: u32,
}

impl Watched {
    fn look(&mut self) {
        if self.looked.elapsed() < self.pause {
            return;
        }
        self.looked = Instant::now();
        match (self.at_work)() {
            true => {
                self.idle = 0;
                self.pause = (self.pause * 2).min(LATE);
            }
            false => {
                self.idle += 1;
                self.pause = SOON;
            }
        }
    }
}

impl Taken {
    fn counts(&mut self) -> bool {
        match self {
            Self::Works => true,
            Self::Waits | Self::Away => false,
            Self::Watched(watched) => {
                watched.look();
                watched.idle < LOOKS
            }
        }
    }
}

impl Jobs {
    /// Turns within a bound.
    pub fn new(bound: Bound) -> Self {
        let shared = Rc::new(Shared {
            bound,
            turns: RefCell::default(),
            freed: Notify::default(),
        });
        Self { shared }
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Turn {
        loop {
            // Asked for before the turns are looked at, so that none is given back in between.
            let freed = self.shared.freed.notified();
            if let Some(turn) = self.turn_now() {
                return turn;
            }
            self.shared.until(freed).await;
        }
    }

    fn turn_now(&self) -> Option<Turn> {
        if !self.shared.has_room() {
            return None;
        }
        let mut turns = self.shared.turns.borrow_mut();
        let number = turns.next;
        turns.next += 1;
        turns.taken.insert(number, Taken::Works);
        let shared = Rc::clone(&self.shared);
        Some(Turn { number, shared })
    }
}

impl Shared {
    /// Whether one more step can be at work.
    fn has_room(&self) -> bool {
        let mut turns = self.turns.borrow_mut();
        let taken = turns.taken.values_mut();
        match self.bound {
            Bound::Steps(most) => {
                let here = taken.filter(|taken| !matches!(taken, Taken::Away));
                here.count() < most.get()
            }
            Bound::Work(most) => {
                taken.len() < most.get() || {
                    let taken = turns.taken.values_mut();
                    taken.map(Taken::counts).filter(|counts| *counts).count() < most.get()
                }
            }
        }
    }

    /// Until it is worth looking again.
    async fn until(&self, freed: impl Future<Output = ()>) {
        match self.bound {
            Bound::Steps(_) => freed.await,
            // Nobody tells when a step begins to wait.
            Bound::Work(_) => drop(tokio::time::timeout(SOON, freed).await),
        }
    }
}

/// The right to work, given back when it is dropped.
pub struct Turn {
    number: u64,
    shared: Rc<Shared>,
}

impl Turn {
    /// Until the answer is dropped, this turn counts only while it is `at_work`.
    pub fn watched(&self, at_work: AtWork) -> Aside<'_> {
        self.set(Taken::Watched(Watched {
            at_work,
            looked: Instant::now(),
            pause: SOON,
            idle: 0,
        }))
    }

    /// Until the answer is dropped, this turn does not count: it waits for something outside.
    pub fn waiting(&self) -> Aside<'_> {
        self.set(Taken::Waits)
    }

    /// Gives the turn back until [`Aside::back`]: its step waits for one that may have none yet.
    pub fn away(&self) -> Aside<'_> {
        self.set(Taken::Away)
    }

    fn set(&self, taken: Taken) -> Aside<'_> {
        let mut turns = self.shared.turns.borrow_mut();
        turns.taken.insert(self.number, taken);
        self.shared.freed.notify_waiters();
        Aside(self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.turns.borrow_mut().taken.remove(&self.number);
        self.shared.freed.notify_waiters();
    }
}

/// A turn that does not always count.
pub struct Aside<'t>(&'t Turn);

impl Aside<'_> {
    /// Waits until the turn can be had again.
    pub async fn back(self) {
        let shared = &self.0.shared;
        loop {
            let freed = shared.freed.notified();
            if shared.has_room() {
                return;
            }
            shared.until(freed).await;
        }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.shared.turns.borrow_mut();
        turns.taken.insert(self.0.number, Taken::Works);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn jobs(bound: fn(NonZeroUsize) -> Bound, number: usize) -> Jobs {
        Jobs::new(bound(NonZeroUsize::new(number).unwrap()))
    }

    /// Whether there is a turn, now that every step was looked at often enough.
    fn looked_at(jobs: &Jobs) -> Option<Turn> {
        for _ in 0..LOOKS {
            for taken in jobs.shared.turns.borrow_mut().taken.values_mut() {
                if let Taken::Watched(watched) = taken {
                    watched.pause = Duration::ZERO;
                }
            }
            if let Some(turn) = jobs.turn_now() {
                return Some(turn);
            }
        }
        None
    }

    #[test]
    fn turns_are_bounded_and_come_back() {
        let jobs = jobs(Bound::Steps, 2);
        let (first, second) = (jobs.turn_now(), jobs.turn_now());
        assert!(first.is_some() && second.is_some());
        assert!(jobs.turn_now().is_none());
        drop(first);
        assert!(jobs.turn_now().is_some());
    }

    #[test]
    fn who_waits_does_not_hold_others_back_unless_all_steps_count() {
        let work = jobs(Bound::Work, 1);
        let turn = work.turn_now().unwrap();
        let waiting = turn.waiting();
        let other = work.turn_now().unwrap();
        drop(waiting);
        drop(other);
        assert!(work.turn_now().is_none());

        let steps = jobs(Bound::Steps, 1);
        let turn = steps.turn_now().unwrap();
        let _waiting = turn.waiting();
        assert!(looked_at(&steps).is_none());
    }

    /// A step that waits for what another one holds must not keep that one, or what it needs, from
    /// being done; when it goes on, it is one of so many again.
    #[test]
    fn a_turn_that_was_given_back_is_waited_for() {
        for bound in [Bound::Steps, Bound::Work] {
            let jobs = jobs(bound, 1);
            let turn = jobs.turn_now().unwrap();
            let away = turn.away();
            let other = jobs.turn_now().unwrap();
            assert!(looked_at(&jobs).is_none());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                let back = std::pin::pin!(away.back());
                let soon = tokio::time::timeout(SOON * 3, back);
                assert!(soon.await.is_err(), "the other one still works");
            });
            drop(other);
            let away = turn.away();
            runtime.block_on(away.back());
            assert!(looked_at(&jobs).is_none(), "it counts again");
        }
    }

    #[test]
    fn a_step_that_sleeps_is_found_out_and_counts_again_when_it_works() {
        let jobs = jobs(Bound::Work, 1);
        let at_work = Rc::new(Cell::new(true));
        let turn = jobs.turn_now().unwrap();
        let asked = Rc::clone(&at_work);
        let _watched = turn.watched(Box::new(move || asked.get()));
        assert!(looked_at(&jobs).is_none());
        at_work.set(false);
        let other = looked_at(&jobs);
        assert!(other.is_some());
        drop(other);
        at_work.set(true);
        assert!(looked_at(&jobs).is_none());
    }
}
