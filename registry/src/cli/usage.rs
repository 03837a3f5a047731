//! `rregistry usage`

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::failure::{Failure, out};
use super::settings::{Settings, data_dir};
use crate::control::request_usage;
use crate::service::{Registry, UsageReport};
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
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for people.
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
        if !data_dir.join("registry.db").exists() {
            return Err(format!("{} holds no registry; say --data-dir", data_dir.display()).into());
        }
        let registry = Registry::with_policy(&data_dir, config.policy.clone()).await?;
        let usage = registry.usage_report().await?;
        registry.close().await;
        Ok(usage)
    })?;
    match options.format {
        Format::Text => out(&text(&usage)),
        Format::Json => out(&format!("{}\n", serde_json::to_string_pretty(&usage)?)),
    }
}

fn text(usage: &UsageReport) -> String {
    let mut text = String::new();
    let mut line = |name: &str, bytes: u64, quota: Option<u64>| {
        // Writing to a String cannot fail.
        let _ = match quota {
            Some(quota) => writeln!(
                text,
                "{:>12} of {:>12}  {name}",
                show_size(bytes),
                show_size(quota)
            ),
            None => writeln!(text, "{:>12} {:>15}  {name}", show_size(bytes), ""),
        };
    };
    for repository in &usage.repositories {
        line(&repository.name, repository.bytes, repository.quota);
    }
    for rule in &usage.together {
        let name = format!("{} together", rule.repository);
        line(&name, rule.bytes, Some(rule.quota));
    }
    line("stored in all", usage.bytes, usage.quota);
    text
}
