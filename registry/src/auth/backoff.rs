//! How long to wait before another password is looked at. Pure: the time is given.
//!
//! Wrong ones are counted for the address that they come from, and for the user that they are
//! meant for: guessing gets slow for both, however many addresses or names are tried. Who gave the
//! right password lately is not looked at here at all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing but themselves.
const FREE: u32 = 10;
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// Wrong passwords are forgotten when none has come for so long.
const FORGET: Duration = Duration::from_secs(600);
/// So many addresses and users are remembered; then the quietest are forgotten.
const REMEMBERED: usize = 16 << 10;

/// Whom wrong passwords are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guesser {
    /// They came from here.
    Address(IpAddr),
    /// They were to be this user's.
    User(String),
}

/// The wrong passwords of late.
#[derive(Debug, Default)]
pub(super) struct Backoff(HashMap<Guesser, Wrong>);

#[derive(Clone, Copy, Debug)]
struct Wrong {
    times: u32,
    last: Instant,
}

impl Wrong {
    /// How long after the last one another may be tried.
    fn pause(self) -> Duration {
        match self.times.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << more.min(6)).min(LONGEST),
        }
    }
}

impl Backoff {
    /// How long none of these may try; zero when they may now.
    pub(super) fn wait(&self, guessers: &[Guesser], now: Instant) -> Duration {
        let of = |guesser| {
            let wrong: &Wrong = self.0.get(guesser)?;
            Some((wrong.last + wrong.pause()).saturating_duration_since(now))
        };
        guessers.iter().filter_map(of).max().unwrap_or_default()
    }

    /// A password was wrong.
    pub(super) fn wrong(&mut self, guessers: &[Guesser], now: Instant) {
        if self.0.len() + guessers.len() > REMEMBERED {
            self.forget(now);
        }
        for guesser in guessers {
            let wrong = self.0.entry(guesser.clone());
            let wrong = wrong.or_insert(Wrong {
                times: 0,
                last: now,
            });
            if now.saturating_duration_since(wrong.last) > FORGET {
                wrong.times = 0;
            }
            wrong.times = wrong.times.saturating_add(1);
            wrong.last = now;
        }
    }

    /// A password was right: those who gave it are no guessers.
    pub(super) fn right(&mut self, guessers: &[Guesser]) {
        for guesser in guessers {
            self.0.remove(guesser);
        }
    }

    /// Forgets what is old, and of the rest the quieter half where that is not enough.
    fn forget(&mut self, now: Instant) {
        self.0
            .retain(|_, wrong| now.saturating_duration_since(wrong.last) <= FORGET);
        if self.0.len() > REMEMBERED / 2 {
            let mut last: Vec<Instant> = self.0.values().map(|wrong| wrong.last).collect();
            last.sort_unstable();
            let middle = last[last.len() / 2];
            self.0.retain(|_, wrong| wrong.last > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_for_address_and_user_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let address = Guesser::Address([192, 0, 2, 1].into());
        let user = Guesser::User("alice".into());
        let both = [address.clone(), user.clone()];
        let begun = Instant::now();
        for _ in 0..FREE - 1 {
            backoff.wrong(&both, begun);
            assert_eq!(backoff.wait(&both, begun), Duration::ZERO);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.wrong(&both, begun);
            for guesser in [&address, &user] {
                let wait = backoff.wait(std::slice::from_ref(guesser), begun);
                assert_eq!(wait, Duration::from_secs(seconds));
            }
        }
        let others = [
            Guesser::Address([192, 0, 2, 2].into()),
            Guesser::User("bob".into()),
        ];
        assert_eq!(backoff.wait(&others, begun), Duration::ZERO);
        // It is the later one of the two that counts.
        let mixed = [others[0].clone(), user.clone()];
        assert_eq!(backoff.wait(&mixed, begun), LONGEST);
        assert_eq!(backoff.wait(&both, begun + LONGEST), Duration::ZERO);
        backoff.right(&[user]);
        assert_eq!(backoff.wait(&mixed, begun), Duration::ZERO);
        assert_eq!(backoff.wait(&both, begun), LONGEST);
        // After a rest it begins anew.
        let later = begun + FORGET + Duration::from_secs(1);
        backoff.wrong(&both, later);
        assert_eq!(backoff.wait(&both, later), Duration::ZERO);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut backoff = Backoff::default();
        let begun = Instant::now();
        for i in 0..3 * REMEMBERED as u64 {
            let now = begun + Duration::from_micros(i);
            backoff.wrong(&[Guesser::User(i.to_string())], now);
            assert!(backoff.0.len() <= REMEMBERED);
        }
    }
}
