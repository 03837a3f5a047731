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
const SOON: Duration = Duration::from_millis(10);
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
    bound: Bound,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
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
            Self::Waits => false,
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
        let shared = Rc::default();
        Self { bound, shared }
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Turn {
        loop {
            // Asked for before the turns are looked at, so that none is given back in between.
            let freed = self.shared.freed.notified();
            if let Some(turn) = self.turn_now() {
                return turn;
            }
            match self.bound {
                Bound::Steps(_) => freed.await,
                // Nobody tells when a step begins to wait.
                Bound::Work(_) => drop(tokio::time::timeout(SOON, freed).await),
            }
        }
    }

    fn turn_now(&self) -> Option<Turn> {
        let mut turns = self.shared.turns.borrow_mut();
        let free = match self.bound {
            Bound::Steps(most) => turns.taken.len() < most.get(),
            Bound::Work(most) => {
                turns.taken.len() < most.get() || {
                    let taken = turns.taken.values_mut();
                    taken.map(Taken::counts).filter(|counts| *counts).count() < most.get()
                }
            }
        };
        if !free {
            return None;
        }
        let number = turns.next;
        turns.next += 1;
        turns.taken.insert(number, Taken::Works);
        let shared = Rc::clone(&self.shared);
        Some(Turn { number, shared })
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
