//! The times of lines: each is later than the one before, so that it says which line it is.

use std::fmt::Write as _;

use jiff::Timestamp;

const SECOND: i128 = 1_000_000_000;

/// Gives lines their times.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The last one, in nanoseconds since the epoch.
    last: i128,
    /// The second of it as it is written, without its fraction.
    second: (i128, String),
    text: String,
}

impl Times {
    /// What comes was said at `now`. A clock that is set back is followed, one that only trembles
    /// is not.
    pub(super) fn begin(&mut self, now: Timestamp) {
        let before = now.as_nanosecond() - 1;
        if before > self.last || before < self.last - SECOND {
            self.last = before;
        }
    }

    /// The next one, as [`crate::state::time_of`] writes it.
    pub(super) fn next(&mut self) -> &str {
        self.last += 1;
        let (second, nanosecond) = (self.last.div_euclid(SECOND), self.last.rem_euclid(SECOND));
        if self.second.0 != second || self.second.1.is_empty() {
            let whole = Timestamp::from_nanosecond(second * SECOND);
            let text = whole.map_or_else(|_| String::new(), |whole| whole.to_string());
            self.second = (second, text.trim_end_matches('Z').to_owned());
        }
        self.text.clear();
        self.text.push_str(&self.second.1);
        if nanosecond > 0 {
            // Writing to a string cannot fail.
            let _ = write!(self.text, ".{nanosecond:09}");
            let length = self.text.trim_end_matches('0').len();
            self.text.truncate(length);
        }
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::time_of;

    #[test]
    fn times_are_written_as_gos_and_only_grow() {
        let mut times = Times::default();
        for nanoseconds in [
            1_000_000_001,
            1_100_000_000,
            1_999_999_999,
            1_767_225_600_000_000_000,
            1_767_225_600_120_000_000,
        ] {
            let at = Timestamp::from_nanosecond(nanoseconds).unwrap();
            times.begin(at);
            assert_eq!(times.next(), time_of(at));
        }
        let before = Timestamp::from_nanosecond(1_767_225_599_900_000_000).unwrap();
        times.begin(before);
        assert_eq!(times.next(), "2026-01-01T00:00:00.120000001Z");
        times.begin(Timestamp::from_nanosecond(1_767_225_600_999_999_999).unwrap());
        assert_eq!(times.next(), "2026-01-01T00:00:00.999999999Z");
        assert_eq!(times.next(), "2026-01-01T00:00:01Z");
        times.begin(Timestamp::from_nanosecond(1_767_222_000_000_000_000).unwrap());
        assert_eq!(times.next(), "2025-12-31T23:00:00Z");
    }
}
