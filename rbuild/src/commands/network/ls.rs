//! `rbuild network ls`

use clap::Args;
use containers::engine::Containers;
use containers::network::definition::Network;
use serde_json::Value;

use crate::app::App;
use crate::commands::container::has_label;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::term::listing::{self, Forms, Row};
use crate::when;

/// `rbuild network ls`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild network ls
  rbuild network ls -f type=custom --format '{{.Name}} {{.Driver}}'")]
pub struct LsArgs {
    /// Only networks for which it holds: driver, id, label, name, scope, type (custom or builtin)
    /// or dangling; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .ID .Name .Driver .Scope .IPv4
    /// .IPv6 .Internal .Labels .CreatedAt, and .Label "KEY"
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,

    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
}

const FORMS: Forms<'_> = Forms {
    table: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    id: "ID",
    raw: &[
        ("network_id", "ID"),
        ("name", "Name"),
        ("driver", "Driver"),
        ("scope", "Scope"),
    ],
};
const HEADERS: [(&str, &str); 9] = [
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];
const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Runs the command.
pub async fn run(app: &App, args: LsArgs) -> Outcome {
    let filters = Filters::parse(&args.filters, &FILTERS)?;
    for kind in filters.all("type") {
        if !matches!(kind, "custom" | "builtin") {
            return Err(Failure::new(format!("invalid filter: 'type'='{kind}'")));
        }
    }
    let format = FORMS.choose(args.format.as_deref(), args.quiet)?;
    let containers = app.containers_to_read().await?;
    let mut rows = Vec::new();
    for network in containers.networks().await? {
        if fits(&filters, &containers, &network).await? {
            rows.push(row(&network, args.no_trunc));
        }
    }
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

async fn fits(
    filters: &Filters,
    containers: &Containers,
    network: &Network,
) -> Result<bool, Failure> {
    let any = |key: &str, holds: &dyn Fn(&str) -> bool| {
        let mut wanted = filters.all(key).peekable();
        wanted.peek().is_none() || wanted.any(holds)
    };
    let labels = &network.record.labels;
    let plain = any("driver", &|driver| driver == network.driver.as_str())
        && any("id", &|id| network.id.starts_with(id))
        && any("name", &|name| network.name.contains(name))
        && any("scope", &|scope| scope == network.scope())
        && any("type", &|kind| {
            (kind == "builtin") == network.is_predefined()
        })
        && filters.all("label").all(|label| has_label(labels, label));
    Ok(plain
        && match filters.boolean("dangling")? {
            None => true,
            Some(dangling) => {
                let used = network.is_predefined() || containers.is_network_used(network).await?;
                dangling != used
            }
        })
}

fn row(network: &Network, whole: bool) -> Row {
    let id = match whole {
        true => network.id.clone(),
        false => network.id.chars().take(12).collect(),
    };
    let labels = &network.record.labels;
    let mut row: Row = [
        ("CreatedAt", when::go_time(network.created)),
        ("Driver", network.driver.as_str().to_owned()),
        ("ID", id),
        ("IPv4", (!network.record.without_ipv4).to_string()),
        ("IPv6", network.record.ipv6.to_string()),
        ("Internal", network.record.internal.to_string()),
        ("Labels", listing::labels(labels)),
        ("Name", network.name.clone()),
        ("Scope", network.scope().to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect();
    listing::add_labels(&mut row, labels);
    row
}
