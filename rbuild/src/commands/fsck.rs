//! `rbuild fsck`

use clap::Args;
use images::fsck::{self, Checked};
use serde_json::json;

use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild fsck`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 when all is well or was mended, 1 when something is wrong.

Examples:
  rbuild fsck
  rbuild fsck --repair          damaged blobs go, layers are unpacked again or forgotten
  rbuild fsck --format json")]
pub struct FsckArgs {
    /// Mend what can be mended: damaged blobs go, and an image whose configuration is damaged
    /// with them; layers are unpacked again, or their steps are done again by the next build
    #[arg(long)]
    pub repair: bool,

    /// `json`: one object with all findings
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    pub format: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: FsckArgs) -> Outcome {
    let images = match args.repair {
        true => images::Images::new(app.store_to_remove().await?, client::Config::from_env),
        false => app.images_to_read().await?,
    };
    let checked = fsck::fsck(&images, args.repair).await?;
    match args.format {
        Some(_) => app
            .printer
            .line(serde_json::to_string_pretty(&document(&checked))?),
        None => app.printer.write_out(text(&checked).as_bytes()),
    }
    let left = checked.findings.iter().filter(|f| f.repaired.is_none());
    match (left.count(), args.repair) {
        (0, _) => Ok(()),
        (n, true) => Err(Failure::new(format!(
            "{n} of {} cannot be mended here",
            problems(checked.findings.len())
        ))),
        (n, false) => Err(Failure::new(format!(
            "the store has {}; `rbuild fsck --repair` mends what it can",
            problems(n)
        ))),
    }
}

fn problems(n: usize) -> String {
    match n {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    }
}

fn text(checked: &Checked) -> String {
    let mut out = String::new();
    for finding in &checked.findings {
        let part = finding.part.as_str();
        out.push_str(&format!("{part} {}: {}", finding.subject, finding.problem));
        if let Some(done) = &finding.repaired {
            out.push_str(&format!(" (mended: {done})"));
        }
        out.push('\n');
    }
    out.push_str(&format!(
        "Checked {} images, {} unpacked layers, {} blobs: {}\n",
        checked.images,
        checked.layers,
        checked.blobs,
        match checked.findings.len() {
            0 => "all is well".to_owned(),
            n => problems(n),
        }
    ));
    out
}

fn document(checked: &Checked) -> serde_json::Value {
    let findings: Vec<_> = checked
        .findings
        .iter()
        .map(|finding| {
            json!({
                "Part": finding.part.as_str(),
                "Subject": finding.subject,
                "Problem": finding.problem,
                "Repaired": finding.repaired,
            })
        })
        .collect();
    json!({
        "Images": checked.images,
        "Layers": checked.layers,
        "Blobs": checked.blobs,
        "Findings": findings,
    })
}
