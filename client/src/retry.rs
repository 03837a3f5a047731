//! What is tried again, and when.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often something transient is tried, and how long the pauses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included; progress made starts the count anew.
    pub attempts: u32,
    /// The pause before the second try; each later one is twice as long.
    pub base: Duration,
    /// The longest pause, also when a registry asks for one: if it asks for more, we give up.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            max: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The pause after `failed` tries (one or more), or `None` when there were enough. A pause
    /// of our own choosing varies by a quarter, so that many clients do not come back at once.
    pub(crate) fn pause(&self, failed: u32, asked: Option<Duration>) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        if let Some(asked) = asked {
            return (asked <= self.max).then_some(asked);
        }
        let doubled = self
            .base
            .saturating_mul(1 << (failed.saturating_sub(1)).min(16));
        let random = std::hash::RandomState::new().build_hasher().finish() % 256;
        let jitter = doubled / 4 * (random as u32) / 256;
        Some((doubled + jitter).min(self.max))
    }
}

/// Statuses that may well be different the next time.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// The pause that the registry asks for, in its form of seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let policy = RetryPolicy {
            attempts: 4,
            base: Duration::from_secs(1),
            max: Duration::from_secs(3),
        };
        let second = policy.pause(1, None).unwrap();
        assert!(second >= Duration::from_secs(1) && second <= Duration::from_millis(1250));
        assert_eq!(policy.pause(3, None), Some(Duration::from_secs(3)));
        assert_eq!(policy.pause(4, None), None);
        let asked = |s| policy.pause(1, Some(Duration::from_secs(s)));
        assert_eq!(asked(0), Some(Duration::ZERO));
        assert_eq!(asked(3), Some(Duration::from_secs(3)));
        assert_eq!(asked(3600), None);
    }
}
