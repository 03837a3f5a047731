//! `rbuild network create`

use std::collections::BTreeMap;

use clap::{ArgAction, Args};
use containers::network::new::NewNetwork;

use crate::app::App;
use crate::failure::Outcome;
use crate::flags::{boolean, label};

/// `rbuild network create`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild network create app
  rbuild network create --subnet 192.168.0.0/16 static
  rbuild network create --ipv6 --subnet fd00:7::/64 six
  rbuild network create --ipv4=false --ipv6 only-six
  rbuild network create --internal -o com.docker.network.driver.mtu=1400 quiet
  rbuild network create -d macvlan -o parent=eth0 --subnet 10.0.0.0/24 --gateway 10.0.0.1 lan
  rbuild network create -d ipvlan -o parent=eth0.10 -o ipvlan_mode=l3 --subnet 10.1.0.0/24 vlan10

Containers on a network know each other by name. Without --subnet it gets addresses that nothing on
this machine uses.")]
pub struct CreateArgs {
    /// Addresses, such as 192.168.0.0/16; once for IPv4, once for IPv6
    #[arg(long, value_name = "SUBNET")]
    pub subnet: Vec<String>,

    /// This machine's address on it
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<String>,

    /// The addresses that are given to containers that ask for none
    #[arg(long, value_name = "SUBNET")]
    pub ip_range: Vec<String>,

    /// Give it IPv6 addresses, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub ipv6: bool,

    /// Give it IPv4 addresses; without, it has to have some of IPv6
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub ipv4: bool,

    /// Let nobody on it reach other networks
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub internal: bool,

    /// Accepted as docker's; changes nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub attachable: bool,

    /// The driver: bridge, macvlan or ipvlan
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    pub driver: String,

    /// com.docker.network.driver.mtu=BYTES, com.docker.network.container_iface_prefix=TEXT; of
    /// com.docker.network.bridge: name=NAME, enable_icc=BOOL, enable_ip_masquerade=BOOL or
    /// host_binding_ipv4=ADDRESS; of macvlan and ipvlan: parent=LINK (eth0.10 is made where it is
    /// not there), macvlan_mode=bridge|private|vepa|passthru, ipvlan_mode=l2|l3|l3s,
    /// ipvlan_flag=bridge|private|vepa; may be repeated
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub options: Vec<String>,

    /// Set a label; may be repeated
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    pub labels: Vec<String>,

    /// Addresses that no container gets, as NAME=ADDRESS; may be repeated
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS")]
    pub aux_addresses: Vec<String>,

    /// Who gives addresses: there is one
    #[arg(long, value_name = "DRIVER", default_value = "default", hide = true)]
    pub ipam_driver: String,

    /// Options of who gives addresses: they are kept, as docker has it, and change nothing
    #[arg(long = "ipam-opt", value_name = "KEY=VALUE", hide = true)]
    pub ipam_options: Vec<String>,

    /// How far it is said to reach; it is this machine's, whatever is said
    #[arg(long, value_name = "SCOPE", hide = true)]
    pub scope: Option<String>,

    /// Make none, but keep what is said for networks that are made from it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub config_only: bool,

    /// Swarms have such networks: refused, as docker does where there is none
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, hide = true)]
    pub ingress: bool,

    /// Make it from what was said of another
    #[arg(long, value_name = "NETWORK")]
    pub config_from: Option<String>,

    /// Its name
    #[arg(value_name = "NETWORK")]
    pub name: String,
}

/// Runs the command.
pub async fn run(app: &App, args: CreateArgs) -> Outcome {
    let pairs = |texts: &[String]| -> BTreeMap<String, String> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        texts.iter().map(pair).collect()
    };
    let new = NewNetwork {
        options: pairs(&args.options),
        labels: pairs(&args.labels),
        name: args.name,
        driver: args.driver,
        subnets: args.subnet,
        gateways: args.gateway,
        ranges: args.ip_range,
        without_ipv4: !args.ipv4,
        ipv6: args.ipv6,
        internal: args.internal,
        attachable: args.attachable,
        aux_addresses: pairs(&args.aux_addresses),
        config_only: args.config_only,
        config_from: args.config_from.unwrap_or_default(),
        ingress: args.ingress,
        scope: args.scope.unwrap_or_default(),
        ipam_driver: args.ipam_driver,
        ipam_options: pairs(&args.ipam_options),
        ..NewNetwork::default()
    };
    let containers = app.containers().await?;
    let network = containers.create_network(new).await?;
    app.printer.line(network.id);
    Ok(())
}
