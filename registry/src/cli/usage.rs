//! `rregistry usage`

use std::cmp::Reverse;

use clap::{Args, ValueEnum};

use super::failure::{Failure, out};
use super::opened::{opened, require};
use super::settings::{Settings, data_dir};
use super::table::table;
use crate::control::request_usage;
use crate::service::UsageReport;
use crate::units::show_size;

/// Show how much every repository holds, and what quotas leave it.
///
/// A blob counts once in every repository that shows it, and once in all. What was deleted counts
/// until garbage is collected.
#[derive(Debug, Args)]
pub(super) struct Usage {
    #[command(flatten)]
    settings: Settings,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// What repositories are sorted by.
    #[arg(long, value_enum, default_value_t = By::Name)]
    sort: By,

    /// From the last to the first.
    #[arg(long, short)]
    reverse: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// Names from a to z.
    Name,
    /// The largest first.
    Size,
    /// What is nearest to its limit first.
    Used,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table for people.
    #[value(alias = "table")]
    Text,
    /// One JSON object, sizes in bytes.
    Json,
}

pub(super) fn run(options: Usage) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let usage = runtime.block_on(async {
        // The running registry's limits are those that count.
        if let Some(usage) = request_usage(&data_dir).await? {
            return Ok::<_, Failure>(usage);
        }
        require(&config, &data_dir)?;
        let registry = opened(&config, &data_dir).await?;
        let usage = registry.usage_report().await?;
        registry.close().await;
        Ok(usage)
    })?;
    match options.format {
        Format::Text => out(&text(&usage, options.sort, options.reverse)),
        Format::Json => out(&format!("{}\n", serde_json::to_string_pretty(&usage)?)),
    }
}

/// A line of the table: what, how much, and how much it may be.
struct Line {
    what: String,
    bytes: u64,
    limit: Option<u64>,
}

impl Line {
    /// How much of its limit is used, in parts of a thousand.
    fn used(&self) -> Option<u64> {
        let limit = self.limit?.max(1);
        let used = u128::from(self.bytes) * 1000 / u128::from(limit);
        Some(u64::try_from(used).unwrap_or(u64::MAX))
    }

    fn cells(&self) -> Vec<String> {
        let limit = self.limit.map_or_else(|| "-".to_owned(), show_size);
        let used = self.used().map_or_else(
            || "-".to_owned(),
            |used| format!("{}.{} %", used / 10, used % 10),
        );
        vec![self.what.clone(), show_size(self.bytes), limit, used]
    }
}

/// The table: repositories in the wanted order, then what is of many of them, then all.
fn text(usage: &UsageReport, sort: By, reverse: bool) -> String {
    let line = |what: String, bytes, limit| Line { what, bytes, limit };
    let repositories = usage.repositories.iter();
    let mut lines: Vec<Line> = repositories
        .map(|one| line(one.name.clone(), one.bytes, one.quota))
        .collect();
    match sort {
        By::Name => lines.sort_by(|a, b| a.what.cmp(&b.what)),
        By::Size => lines.sort_by_key(|line| Reverse(line.bytes)),
        By::Used => lines.sort_by_key(|line| Reverse(line.used())),
    }
    if reverse {
        lines.reverse();
    }
    let together = usage.together.iter();
    lines.extend(together.map(|rule| {
        let what = format!("{} together", rule.repository);
        line(what, rule.bytes, Some(rule.quota))
    }));
    lines.push(line("stored in all".to_owned(), usage.bytes, usage.quota));
    let rows: Vec<Vec<String>> = lines.iter().map(Line::cells).collect();
    table(&["REPOSITORY", "SIZE", "LIMIT", "USED"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_says_how_much_is_left() {
        let usage: UsageReport = serde_json::from_value(serde_json::json!({
            "bytes": 4096,
            "quota": null,
            "repositories": [
                {"name": "b", "bytes": 2048, "quota": 3072},
                {"name": "a", "bytes": 1024, "quota": 1024},
                {"name": "c", "bytes": 3072, "quota": null},
            ],
            "together": [{"repository": "**", "bytes": 6144, "quota": 1 << 20}],
        }))
        .unwrap();
        assert_eq!(
            text(&usage, By::Name, false),
            "REPOSITORY     SIZE     LIMIT    USED\n\
             a              1.0 KiB  1.0 KiB  100.0 %\n\
             b              2.0 KiB  3.0 KiB  66.6 %\n\
             c              3.0 KiB  -        -\n\
             ** together    6.0 KiB  1.0 MiB  0.5 %\n\
             stored in all  4.0 KiB  -        -\n"
        );
        let order = |sort, reverse| {
            let text = text(&usage, sort, reverse);
            let lines = text.lines().skip(1).take(3);
            lines.map(|line| line[..1].to_owned()).collect::<String>()
        };
        assert_eq!(order(By::Size, false), "cba");
        assert_eq!(order(By::Used, false), "abc");
        assert_eq!(order(By::Used, true), "cba");
    }
}
