//! Whether a container is well: its health check, and what came of it. Pure.
//!
//! The rules are docker's: the first success makes it healthy, so many failures in a row unhealthy;
//! while it starts, failures do not count.

use std::time::Duration;

use oci::config::Healthcheck;
use runtime::Entry;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many checks are remembered.
const LOG: usize = 5;
/// The exit code of a check that did not come to one.
pub const NO_CODE: i32 = -1;
/// The least that a time can be, in nanoseconds.
const LEAST: i64 = 1_000_000;
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// How well a container is, in docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wellness {
    /// No check has succeeded yet.
    #[default]
    Starting,
    /// The last check has.
    Healthy,
    /// Too many have failed, or nobody checks: it does not run, or stands still.
    Unhealthy,
}

impl Wellness {
    /// The word that docker has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What came of the checks of a container, as docker's API has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// How well it is.
    pub status: Wellness,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last checks, the oldest first.
    pub log: Vec<Check>,
}

/// What came of one check. Times are RFC 3339 with nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// When it began.
    pub start: String,
    /// When it ended.
    pub end: String,
    /// The command's exit code, 0 for well; [`NO_CODE`] when it did not come to one.
    pub exit_code: i32,
    /// The beginning of what it said.
    pub output: String,
}

impl Health {
    /// A container with a check is started. Checks of earlier runs are kept.
    pub fn begin(earlier: Option<Self>) -> Self {
        Self {
            log: earlier.map(|health| health.log).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Takes in what came of a check that was begun so long `after_start` of the container.
    pub fn note(&mut self, check: Check, rhythm: &Rhythm, after_start: Duration) {
        let code = check.exit_code;
        let spare = (self.log.len() + 1).saturating_sub(LOG);
        self.log.drain(..spare);
        self.log.push(check);
        if code == 0 {
            self.failing_streak = 0;
            self.status = Wellness::Healthy;
            return;
        }
        if self.status == Wellness::Starting && after_start < rhythm.start_period {
            return;
        }
        self.failing_streak += 1;
        if self.failing_streak >= rhythm.retries {
            self.status = Wellness::Unhealthy;
        }
    }
}

/// When a container is checked, and how often it may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rhythm {
    /// From the end of one check to the next.
    pub interval: Duration,
    /// What takes longer has failed.
    pub timeout: Duration,
    /// How long failures do not count.
    pub start_period: Duration,
    /// In place of the interval, while it starts.
    pub start_interval: Duration,
    /// So many failures in a row.
    pub retries: u32,
}

impl Rhythm {
    fn of(check: &Healthcheck) -> Self {
        let time = |nanoseconds: i64, otherwise: Duration| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => otherwise,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        let retries = u32::try_from(check.retries).ok();
        Self {
            interval: time(check.interval, INTERVAL),
            timeout: time(check.timeout, TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL),
            retries: retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
        }
    }

    /// From now to the next check, so long `after_start` of the container.
    pub fn pause(&self, status: Wellness, after_start: Duration) -> Duration {
        match status == Wellness::Starting && after_start < self.start_period {
            true => self.start_interval,
            false => self.interval,
        }
    }
}

/// A check as the monitor does it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// When.
    pub rhythm: Rhythm,
    /// What is run in the container.
    pub entry: Entry,
}

impl Probe {
    /// The probe of a check, whose command `entry` makes something to run of; nothing when there is
    /// none. `shell` is the image's.
    ///
    /// # Errors
    /// Those of `entry`.
    pub fn of(
        check: Option<&Healthcheck>,
        shell: Option<&[String]>,
        entry: impl FnOnce(Vec<String>) -> Result<Entry>,
    ) -> Result<Option<Self>> {
        let Some(check) = check else {
            return Ok(None);
        };
        let argv = match check.test.split_first() {
            Some((kind, words)) if kind == "CMD" => words.to_vec(),
            Some((kind, words)) if kind == "CMD-SHELL" => {
                let own = shell.filter(|shell| !shell.is_empty());
                let mut argv = own.map_or_else(|| SHELL.map(str::to_owned).to_vec(), <[_]>::to_vec);
                argv.extend_from_slice(words);
                argv
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            rhythm: Rhythm::of(check),
            entry: entry(argv)?,
        }))
    }
}

/// What an image's check and one's own come to: what one says nothing of is the image's.
pub fn merge(own: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (mut own, image) = match (own, image) {
        (None, image) => return image.cloned(),
        (own, None) => return own,
        (Some(own), Some(image)) => (own, image),
    };
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
    Some(own)
}

/// Whether a check can be done.
///
/// # Errors
/// Times that are too short, in docker's words.
pub fn check(check: Option<&Healthcheck>) -> Result<()> {
    let Some(check) = check else {
        return Ok(());
    };
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if time != 0 && time < LEAST {
            return Err(Error::Invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    match check.retries < 0 {
        true => Err(Error::Invalid(
            "Retries in Healthcheck cannot be negative".to_owned(),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn result(exit_code: i32) -> Check {
        Check {
            exit_code,
            ..Check::default()
        }
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let rhythm = Rhythm::of(&Healthcheck {
            retries: 2,
            start_period: 1_000_000_000,
            ..Healthcheck::default()
        });
        let mut health = Health::begin(None);
        let early = Duration::from_millis(500);
        let late = Duration::from_secs(2);
        // Exit code, when, and what it comes to.
        for (code, after_start, status, streak) in [
            (1, early, Wellness::Starting, 0),
            (1, early, Wellness::Starting, 0),
            (1, late, Wellness::Starting, 1),
            (0, late, Wellness::Healthy, 0),
            (1, early, Wellness::Healthy, 1),
            (NO_CODE, late, Wellness::Unhealthy, 2),
            (1, late, Wellness::Unhealthy, 3),
            (0, late, Wellness::Healthy, 0),
        ] {
            health.note(result(code), &rhythm, after_start);
            assert_eq!((health.status, health.failing_streak), (status, streak));
        }
        let codes: Vec<i32> = health.log.iter().map(|check| check.exit_code).collect();
        assert_eq!(codes, [0, 1, NO_CODE, 1, 0], "the last five");
        let again = Health::begin(Some(health.clone()));
        assert_eq!(again.log, health.log);
        assert_eq!(
            (again.status, again.failing_streak),
            (Wellness::Starting, 0)
        );
    }

    #[test]
    fn while_it_starts_it_is_checked_more_often() {
        let rhythm = Rhythm::of(&Healthcheck {
            start_period: 10_000_000_000,
            ..Healthcheck::default()
        });
        let (early, late) = (Duration::from_secs(9), Duration::from_secs(10));
        for (status, after_start, pause) in [
            (Wellness::Starting, early, 5),
            (Wellness::Starting, late, 30),
            (Wellness::Healthy, early, 30),
        ] {
            let found = rhythm.pause(status, after_start);
            assert_eq!(found, Duration::from_secs(pause));
        }
        assert_eq!(rhythm.retries, 3);
    }

    #[test]
    fn commands_are_those_of_docker() {
        let shell = words("/bin/bash -ec");
        for (test, shell, argv) in [
            ("CMD a b", None, Some("a b")),
            ("CMD-SHELL x", None, Some("/bin/sh -c x")),
            ("CMD-SHELL x", Some(&shell), Some("/bin/bash -ec x")),
            ("NONE", None, None),
            ("", None, None),
            ("ELSE x", None, None),
        ] {
            let check = Healthcheck {
                test: words(test),
                ..Healthcheck::default()
            };
            let entry = |argv| {
                Ok(Entry {
                    argv,
                    ..Entry::default()
                })
            };
            let probe = Probe::of(Some(&check), shell.map(Vec::as_slice), entry).unwrap();
            let found = probe.map(|probe| probe.entry.argv.join(" "));
            assert_eq!(found.as_deref(), argv, "{test}");
        }
    }

    #[test]
    fn what_is_not_told_is_the_images() {
        let image = Healthcheck {
            test: words("CMD a"),
            interval: 5,
            retries: 7,
            ..Healthcheck::default()
        };
        let own = Healthcheck {
            interval: 9,
            ..Healthcheck::default()
        };
        let merged = merge(Some(own.clone()), Some(&image)).unwrap();
        assert_eq!(merged.test, image.test);
        assert_eq!((merged.interval, merged.retries), (9, 7));
        assert_eq!(merge(None, Some(&image)), Some(image));
        assert_eq!(merge(Some(own.clone()), None), Some(own));
    }

    #[test]
    fn times_that_are_too_short_are_refused() {
        let short = Healthcheck {
            timeout: 999_999,
            ..Healthcheck::default()
        };
        let error = check(Some(&short)).unwrap_err().to_string();
        assert_eq!(error, "Timeout in Healthcheck cannot be less than 1ms");
        assert!(check(None).is_ok());
    }
}
