//! `rregistry replicate`

use clap::Args;

use super::failure::{Failure, err, out};
use super::opened::{opened, require};
use super::operate::{Format, show_json};
use super::settings::{Settings, data_dir};
use super::table::{minute, plain, table};
use crate::control::request_replication;
use crate::replication::{Progress, RuleReport, report_stopped};

/// Show how replication to and from other registries is doing.
///
/// A rule waits (all is done, or the other registry is left alone for a while), runs, or failed:
/// then it says with what last, and tries again by itself.
#[derive(Debug, Args)]
pub(super) struct Replicate {
    #[command(flatten)]
    settings: Settings,

    /// Let this rule compare both sides now, and try again at once what failed.
    #[arg(long, value_name = "NAME")]
    now: Option<String>,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(options: Replicate) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let rules = runtime.block_on(async {
        let now = options.now.as_deref();
        if let Some(rules) = request_replication(&data_dir, now).await? {
            return Ok::<_, Failure>(rules);
        }
        if options.now.is_some() {
            return Err("--now needs a running registry: start `rregistry serve`".into());
        }
        require(&config, &data_dir)?;
        let registry = opened(&config, &data_dir).await?;
        let rules = report_stopped(&config.replicate, &registry).await;
        registry.close().await;
        Ok(rules?)
    })?;
    if options.format == Format::Json {
        return show_json(&rules);
    }
    if rules.is_empty() {
        err("rregistry: there is no [[replicate]] in the settings\n");
        return Ok(());
    }
    out(&text(&rules))
}

fn text(rules: &[RuleReport]) -> String {
    let rows: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| {
            vec![
                rule.name.clone(),
                rule.direction.to_string(),
                rule.url.clone(),
                state(rule),
                rule.left.to_string(),
                minute(rule.succeeded),
                minute(rule.compared),
            ]
        })
        .collect();
    let titles = [
        "NAME",
        "DIRECTION",
        "REGISTRY",
        "STATE",
        "LEFT",
        "SUCCEEDED",
        "COMPARED",
    ];
    let mut text = table(&titles, &rows);
    for rule in rules {
        if let Some(error) = &rule.error {
            let at = minute(rule.failed);
            text.push_str(&format!("{} failed at {at}: {}\n", rule.name, plain(error)));
        }
    }
    text
}

fn state(rule: &RuleReport) -> String {
    match (rule.state, rule.rests) {
        (Progress::Waiting | Progress::Failed, rests @ 1..) => {
            format!("{}, rests {rests}s", rule.state)
        }
        (state, _) => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::settings::Direction;

    #[test]
    fn a_rule_says_what_failed() {
        let rule = RuleReport {
            name: "standby".to_owned(),
            direction: Direction::Push,
            url: "https://b.example".to_owned(),
            repositories: vec!["**".to_owned()],
            state: Progress::Failed,
            left: 3,
            failing: 1,
            error: Some("a v1: denied\u{1b}[31m".to_owned()),
            failed: Some(1_714_979_289),
            succeeded: None,
            compared: Some(0),
            rests: 7,
        };
        assert_eq!(
            text(&[rule]),
            "NAME     DIRECTION  REGISTRY           STATE            LEFT  SUCCEEDED  COMPARED\n\
             standby  push       https://b.example  failed, rests 7s  3     -          1970-01-01 00:00\n\
             standby failed at 2024-05-06 07:08: a v1: denied [31m\n"
                .replace("STATE            ", "STATE             ")
        );
    }
}
