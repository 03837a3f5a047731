//! The health check that `run` and `create` are told.

use std::time::Duration;

use clap::Args;
use golang::duration::{DurationError, parse_duration};
use oci::config::Healthcheck;

/// How it is found out whether a container is well.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthFlags {
    /// A command of its shell that succeeds when the container is well
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,

    /// Time between two checks [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = time)]
    pub health_interval: Option<Time>,

    /// So many failures in a row make it unhealthy [default: 3]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub health_retries: Option<i64>,

    /// Time between two checks while it starts [default: 5s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = time)]
    pub health_start_interval: Option<Time>,

    /// Time in which failures do not count [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = time)]
    pub health_start_period: Option<Time>,

    /// What takes longer has failed [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = time)]
    pub health_timeout: Option<Time>,

    /// Do not do the image's check
    #[arg(long)]
    pub no_healthcheck: bool,
}

/// A time of a check; one below zero is told apart, for docker has its own words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// So long.
    Of(Duration),
    /// Less than nothing.
    Negative,
}

fn time(text: &str) -> Result<Time, String> {
    match parse_duration(text) {
        Ok(time) => Ok(Time::Of(time)),
        Err(DurationError::Negative(_)) => Ok(Time::Negative),
        Err(error) => Err(format!("time: {error}")),
    }
}

/// Reads the flags; nothing when none is given.
///
/// # Errors
/// In docker's words.
pub fn read(flags: &HealthFlags) -> Result<Option<Healthcheck>, String> {
    let times = [
        ("--health-interval", flags.health_interval),
        ("--health-timeout", flags.health_timeout),
        ("--health-start-period", flags.health_start_period),
        ("--health-start-interval", flags.health_start_interval),
    ];
    let given = flags.health_cmd.is_some()
        || flags.health_retries.is_some_and(|retries| retries != 0)
        || times
            .iter()
            .any(|(_, time)| time.is_some_and(|time| time != Time::Of(Duration::ZERO)));
    if flags.no_healthcheck {
        return match given {
            true => Err("--no-healthcheck conflicts with --health-* options".to_owned()),
            false => Ok(Some(Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            })),
        };
    }
    if !given {
        return Ok(None);
    }
    let mut read = Vec::new();
    for (flag, time) in times {
        read.push(match time {
            None => 0,
            Some(Time::Of(time)) => i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
            Some(Time::Negative) => return Err(format!("{flag} cannot be negative")),
        });
    }
    let retries = flags.health_retries.unwrap_or(0);
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    let [interval, timeout, start_period, start_interval] = read.as_slice() else {
        return Ok(None);
    };
    let command = flags
        .health_cmd
        .as_ref()
        .filter(|command| !command.is_empty());
    Ok(Some(Healthcheck {
        test: command
            .map(|command| vec!["CMD-SHELL".to_owned(), command.clone()])
            .unwrap_or_default(),
        interval: *interval,
        timeout: *timeout,
        start_period: *start_period,
        start_interval: *start_interval,
        retries,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_dockers() {
        assert_eq!(read(&HealthFlags::default()), Ok(None));
        let flags = HealthFlags {
            health_cmd: Some("curl localhost".to_owned()),
            health_interval: Some(time("1m").unwrap()),
            health_retries: Some(2),
            ..HealthFlags::default()
        };
        let check = read(&flags).unwrap().unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
        assert_eq!((check.interval, check.retries), (60_000_000_000, 2));
        let none = HealthFlags {
            no_healthcheck: true,
            ..HealthFlags::default()
        };
        assert_eq!(read(&none).unwrap().unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let both = HealthFlags {
            no_healthcheck: true,
            health_cmd: Some("x".to_owned()),
            ..HealthFlags::default()
        };
        let error = "--no-healthcheck conflicts with --health-* options";
        assert_eq!(read(&both), Err(error.to_owned()));
        let below = HealthFlags {
            health_timeout: Some(time("-1s").unwrap()),
            ..HealthFlags::default()
        };
        let error = "--health-timeout cannot be negative";
        assert_eq!(read(&below), Err(error.to_owned()));
        assert_eq!(
            time("abc"),
            Err("time: invalid duration \"abc\"".to_owned())
        );
    }
}
