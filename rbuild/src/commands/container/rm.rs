//! `rbuild rm`

use clap::Args;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// `rbuild rm`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild rm web                                   one that has ended
  rbuild rm -f web                                one that runs too
  rbuild rm $(rbuild ps -aqf status=exited)       all that have ended")]
pub struct RmArgs {
    /// Kill containers that run; those that are missing are no error
    #[arg(short, long)]
    pub force: bool,

    /// Remove links, told as CONTAINER/NAME, in place of containers
    #[arg(short, long)]
    pub link: bool,

    /// Remove volumes without a name that are the container's
    #[arg(short, long)]
    pub volumes: bool,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: RmArgs) -> Outcome {
    let containers = app.containers_to_remove().await?;
    let mut failed = false;
    for name in &args.containers {
        let removed = async {
            if args.link {
                return containers.remove_link(name).await;
            }
            let container = containers.find(name).await?;
            match args.volumes {
                true => containers.remove_with_volumes(&container, args.force).await,
                false => containers.remove(&container, args.force).await,
            }
        };
        match removed.await {
            Ok(()) => app.printer.line(name),
            Err(error) => {
                app.printer.error(&error);
                let missing = matches!(
                    error,
                    containers::Error::Store(store::Error::NoSuchContainer(_))
                );
                failed |= !(missing && args.force);
            }
        }
    }
    each::told(failed)
}
