//! `rbuild port`

use clap::Args;
use containers::network::ports;
use golang::quote::go_quote;

use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild port`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild port web            all ports of this machine that lead to it
  rbuild port web 80/tcp     those that lead to this port of it")]
pub struct PortArgs {
    /// Its name, ID or the beginning of its ID
    #[arg(value_name = "CONTAINER")]
    pub container: String,

    /// A port of it
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub port: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: PortArgs) -> Outcome {
    let containers = app.containers_to_read().await?;
    let container = containers.find(&args.container).await?;
    let lines = ports::lines(&container.state.ports);
    let Some(wanted) = args.port else {
        for (port, protocol, at) in lines {
            app.printer
                .line(format!("{port}/{} -> {at}", protocol.name()));
        }
        return Ok(());
    };
    let (number, protocol) = wanted.split_once('/').unwrap_or((&wanted, "tcp"));
    let Ok(number) = number.parse::<u16>() else {
        let all_digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let why = match all_digits {
            true => "value out of range",
            false => "invalid syntax",
        };
        let number = format!(
            "({number}): strconv.ParseUint: parsing {}",
            go_quote(number)
        );
        return Err(Failure::new(format!("invalid port {number}: {why}")));
    };
    let fits = |(port, of, at): (u16, runtime::network::Protocol, String)| {
        (port == number && of.name() == protocol).then_some(at)
    };
    let found: Vec<String> = lines.into_iter().filter_map(fits).collect();
    if found.is_empty() {
        let name = &args.container;
        return Err(Failure::new(format!(
            "No public port '{wanted}' published for {name}"
        )));
    }
    found.iter().for_each(|at| app.printer.line(at));
    Ok(())
}
