//! `rbuild builds rm`

use clap::Args;

use super::find::{Which, kept, one};
use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild builds rm`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Builds: numbers, latest, or ^1 for the one before
    #[arg(
        value_name = "BUILD",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub builds: Vec<Which>,

    /// All of them
    #[arg(long)]
    pub all: bool,
}

/// Runs the command. Whatever of it can be done is done.
pub async fn run(app: &App, args: RemoveArgs) -> Outcome {
    let store = app.store_to_remove().await?;
    let kept = kept(&store);
    let mut numbers = Vec::new();
    let mut failed = None;
    if args.all {
        numbers = kept.numbers()?;
    }
    for which in args.builds {
        match which {
            // A damaged record has a number too.
            Which::Number(number) => numbers.push(number),
            Which::Back(_) => match one(kept.clone(), which).await {
                Ok(record) => numbers.push(record.number),
                Err(failure) => failed = Some(failure),
            },
        }
    }
    for number in numbers {
        let kept = kept.clone();
        let removed = tokio::task::spawn_blocking(move || kept.remove(number)).await?;
        match removed? {
            true => app.printer.line(number),
            false => {
                let text = format!("there is no build {number}; `rbuild builds` lists them");
                failed = Some(Failure::new(text));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
