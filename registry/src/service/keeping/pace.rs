//! How many rows a slice of a collection takes. Pure.

use std::time::Duration;

/// What a slice should take: a push that has to wait for one hardly notices.
const AIM: Duration = Duration::from_millis(10);
/// Rows of the first slice.
const FIRST: u32 = 200;
/// Fewer would be mostly the cost of a transaction.
const FEWEST: u32 = 20;
/// More would come to a lot of memory.
const MOST: u32 = 5000;

/// How many rows the next slice takes, from how long the ones before took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace(u32);

impl Pace {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// Rows of the next slice.
    pub(super) fn rows(self) -> u32 {
        self.0
    }

    /// A slice of so many rows took so long.
    pub(super) fn took(&mut self, rows: usize, time: Duration) {
        // A short slice says little about a long one.
        if rows * 4 < self.0 as usize && time < AIM {
            return;
        }
        let fitting = rows as u128 * AIM.as_micros() / time.as_micros().max(1);
        let fitting = u32::try_from(fitting).unwrap_or(MOST);
        self.0 = fitting
            .clamp(self.0 / 4, self.0.saturating_mul(2))
            .clamp(FEWEST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_come_to_take_what_they_should() {
        let ms = Duration::from_millis;
        for (first, rows, time, next) in [
            // As fast as wanted.
            (200, 200, ms(10), 200),
            // Twice and ten times as fast: never more than twice as many.
            (200, 200, ms(5), 400),
            (200, 200, ms(1), 400),
            (4000, 4000, ms(1), 5000),
            // Too slow: in proportion, never less than a quarter.
            (200, 200, ms(20), 100),
            (200, 200, ms(2000), 50),
            (40, 40, ms(2000), 20),
            // The end of a list says nothing, unless even that took long.
            (200, 3, ms(1), 200),
            (200, 3, ms(30), 50),
        ] {
            let mut pace = Pace(first);
            pace.took(rows, time);
            assert_eq!(pace.rows(), next, "{first} {rows} {time:?}");
        }
    }
}
