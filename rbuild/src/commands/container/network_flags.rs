//! What `run` and `create` say of networks.

use clap::{ArgAction, Args};

use crate::flags::boolean;

/// Networks and ports of a container.
#[derive(Debug, Args)]
#[command(next_help_heading = "Networks")]
pub struct NetworkFlags {
    /// bridge, host, none, container:NAME, or the network of a name (also as
    /// name=NETWORK,alias=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC,gw-priority=NUMBER); may be
    /// repeated
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,

    /// Another name on the network; may be repeated
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub network_alias: Vec<String>,

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

    /// Ask for a hardware address
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<String>,

    /// Know another container by a name; may be repeated
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    pub link: Vec<String>,

    /// Publish a port: [ADDRESS:][PORT:]PORT[/PROTOCOL], or ranges of them; may be repeated
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,

    /// Publish all ports that the container tells of
    #[arg(short = 'P', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub publish_all: bool,

    /// Tell of a port; may be repeated
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,

    /// Add a line to /etc/hosts; may be repeated
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<String>,

    /// Set name servers; may be repeated
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,

    /// Set search domains; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,

    /// Set options of the resolver; may be repeated
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
}
