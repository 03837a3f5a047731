//! `rbuild network connect`

use clap::Args;
use containers::endpoint::{EndpointAddresses, EndpointSettings};

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild network connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild network connect app web
  rbuild network connect --ip 192.168.7.7 --alias db static store")]
pub struct ConnectArgs {
    /// Another name on the network; may be repeated
    #[arg(long, value_name = "NAME")]
    pub alias: Vec<String>,

    /// Ask for an address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,

    /// Ask for an IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,

    /// Have an address that only those beside it on the network reach (169.254.0.0/16); may be
    /// repeated
    #[arg(long, value_name = "ADDRESS")]
    pub link_local_ip: Vec<String>,

    /// Know another container by a name; may be repeated
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    pub link: Vec<String>,

    /// An option of the driver: com.docker.network.endpoint.ifname=NAME is what its interface is
    /// called; may be repeated
    #[arg(long = "driver-opt", value_name = "KEY=VALUE")]
    pub driver_options: Vec<String>,

    /// The network with the highest is the way out
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub gw_priority: Option<i64>,

    /// The network: its name, ID or the beginning of its ID
    #[arg(value_name = "NETWORK")]
    pub network: String,

    /// The container: its name, ID or the beginning of its ID
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Runs the command.
pub async fn run(app: &App, args: ConnectArgs) -> Outcome {
    let containers = app.containers().await?;
    let container = containers.find(&args.container).await?;
    let network = containers.find_network(&args.network).await?;
    let list = |words: Vec<String>| (!words.is_empty()).then_some(words);
    let settings = EndpointSettings {
        ipam_config: Some(EndpointAddresses {
            ipv4: args.ip.unwrap_or_default(),
            ipv6: args.ip6.unwrap_or_default(),
            link_local: args.link_local_ip,
        }),
        links: list(args.link),
        // As docker's client sends them: empty, not absent.
        aliases: Some(args.alias),
        driver_opts: Some({
            let pairs = args.driver_options.iter();
            let pairs = pairs.map(|text| text.split_once('=').unwrap_or((text, "")));
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        }),
        gw_priority: args.gw_priority.unwrap_or_default(),
        ..EndpointSettings::default()
    };
    let connected = containers.connect_network(&network, &container, settings);
    Ok(connected.await?)
}
