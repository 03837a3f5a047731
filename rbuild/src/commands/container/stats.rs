//! `rbuild stats`

use std::time::Duration;

use clap::Args;
use containers::engine::{Container, Containers, Usage};
use serde_json::Value;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::listing::{Format, Row};
use crate::term::style;

/// `rbuild stats`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild stats                          all that run, again and again
  rbuild stats --no-stream web
  rbuild stats --no-stream --format '{{.Name}} {{.MemUsage}}'")]
pub struct StatsArgs {
    /// Show all containers, those too that do not run
    #[arg(short, long)]
    pub all: bool,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .ID .Name .CPUPerc .MemUsage
    /// .MemPerc .NetIO .BlockIO .PIDs
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Show it once
    #[arg(long)]
    pub no_stream: bool,

    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,

    /// Names, IDs or beginnings of IDs [default: all that run]
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

const DEFAULT: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t\
    {{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const HEADERS: [(&str, &str); 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];
/// Time between two looks, of which the use of processors is the difference.
const INTERVAL: Duration = Duration::from_secs(1);
/// Takes a terminal's cursor to its beginning, and clears it.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Runs the command.
pub async fn run(app: &App, args: StatsArgs) -> Outcome {
    let format = Format::parse(args.format.as_deref(), DEFAULT)?;
    let containers = app.containers_to_read().await?;
    let memory = total_memory();
    let mut before = look(&containers, &args).await?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = look(&containers, &args).await?;
        let rows: Vec<Row> = now
            .iter()
            .map(|(container, usage)| {
                let of = before.iter().find(|(other, _)| other.id == container.id);
                let earlier = of.map_or(*usage, |(_, usage)| *usage);
                row(container, (&earlier, usage), memory, args.no_trunc)
            })
            .collect();
        let text = format.render(&rows, &HEADERS)?;
        if !args.no_stream && args.format.is_none() {
            app.printer.raw_out(CLEAR);
        }
        app.printer.write_out(text.as_bytes());
        if args.no_stream {
            return Ok(());
        }
        before = now;
    }
}

/// The containers that are asked for, and what each uses.
async fn look(
    containers: &Containers,
    args: &StatsArgs,
) -> Result<Vec<(Container, Usage)>, Failure> {
    let chosen = match args.containers.as_slice() {
        [] => {
            let mut all = containers.list().await?;
            all.retain(|one| args.all || one.state.status.has_processes());
            all
        }
        names => {
            let mut found = Vec::new();
            for name in names {
                found.push(containers.find(name).await?);
            }
            found
        }
    };
    let mut used = Vec::new();
    for container in chosen {
        let usage = containers.usage(&container).await?;
        used.push((container, usage));
    }
    Ok(used)
}

/// This machine's memory, in bytes.
fn total_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn row(container: &Container, (before, now): (&Usage, &Usage), memory: u64, whole: bool) -> Row {
    let id = match whole {
        true => container.id.clone(),
        false => container.short_id().to_owned(),
    };
    let sizes = &now.sizes;
    let time = now.at.saturating_sub(before.at);
    let worked = sizes.cpu.saturating_sub(before.sizes.cpu);
    let limit = sizes.memory_limit.unwrap_or(memory).min(memory);
    let runs = container.state.status.has_processes();
    let shown = |bytes: u64| binary(if runs { bytes } else { 0 });
    [
        (
            "BlockIO",
            format!(
                "{} / {}",
                style::size(sizes.read),
                style::size(sizes.written)
            ),
        ),
        ("CPUPerc", percent(worked, time)),
        ("Container", container.name.clone()),
        ("ID", id),
        ("MemPerc", percent(sizes.memory, limit)),
        (
            "MemUsage",
            format!("{} / {}", shown(sizes.memory), shown(limit)),
        ),
        ("Name", container.name.clone()),
        (
            "NetIO",
            format!("{} / {}", style::size(now.received), style::size(now.sent)),
        ),
        ("PIDs", sizes.pids.to_string()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

/// A part of a whole, with two digits.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.00%".to_owned();
    }
    // Hundredths of a percent, rounded.
    let hundredths = (u128::from(part) * 10_000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// Bytes in powers of 1024, with four digits, as docker shows memory.
fn binary(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut scale: u128 = 1;
    while u128::from(bytes) >= scale * 1024 && unit + 1 < units.len() {
        scale *= 1024;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    let whole = u128::from(bytes) / scale;
    // Four digits in all.
    let digits = match whole {
        0..=9 => 3,
        10..=99 => 2,
        100..=999 => 1,
        _ => 0,
    };
    let ten = 10u128.pow(digits);
    let scaled = (u128::from(bytes) * ten + scale / 2) / scale;
    let (whole, rest) = (scaled / ten, scaled % ten);
    let rest = format!("{rest:0width$}", width = digits as usize);
    let rest = rest.trim_end_matches('0');
    match rest.is_empty() || digits == 0 {
        true => format!("{whole}{name}"),
        false => format!("{whole}.{rest}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// go-units' `BytesSize`: `%.4g`.
    #[test]
    fn numbers_are_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (3_000_000, "2.861MiB"),
            (64 << 20, "64MiB"),
            (16_765_000_000, "15.61GiB"),
            (700_000_000, "667.6MiB"),
        ] {
            assert_eq!(binary(bytes), text);
        }
        assert_eq!(percent(1, 3), "33.33%");
        assert_eq!(percent(0, 0), "0.00%");
        assert_eq!(percent(3, 2), "150.00%");
    }
}
