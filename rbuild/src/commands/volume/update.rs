//! `rbuild volume update`

use clap::Args;

use crate::failure::{Failure, Outcome};

/// `rbuild volume update`
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Whether a cluster may use it
    #[arg(long, value_name = "active|pause|drain")]
    pub availability: Option<String>,

    /// Its name
    #[arg(value_name = "VOLUME")]
    pub volume: Option<String>,
}

/// Says that there are no volumes that it could be about: docker's sentence.
pub fn run(_: &UpdateArgs) -> Outcome {
    Err(Failure::new("can only update cluster volumes"))
}
