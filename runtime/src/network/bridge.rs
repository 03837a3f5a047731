//! The bridge and what this host does for it.

use std::fs;
use std::net::Ipv4Addr;

use super::config::{Config, step};
use super::hardware::Mac;
use super::leases::State;
use super::netlink::Socket;
use super::subnet::{self, Subnet};
use super::{firewall, foreign, link};
use crate::error::{Error, Result};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The bridge of this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bridge {
    pub(super) link: link::Link,
    pub(super) address: Ipv4Addr,
    pub(super) subnet: Subnet,
    /// What the host's way out carries: a packet that fits the bridge must fit there.
    pub(super) mtu: Option<u32>,
}

impl Bridge {
    /// Finds or makes the bridge and gives it an address.
    pub(super) fn ensure(socket: &mut Socket, name: &str) -> Result<Self> {
        let routes = link::routes(socket).map_err(step("read routes"))?;
        let uplink = routes
            .iter()
            .find_map(|(to, link)| link.filter(|_| to.is_none()));
        let mtu = uplink.and_then(|index| link::by_index(socket, index).ok()?.mtu);
        let link = link::make_bridge(socket, name)
            .map_err(step(format!("make bridge {name} (kernel module bridge)")))?;
        let addresses = link::addresses(socket).map_err(step("read addresses"))?;
        let own = addresses.iter().find(|(index, ..)| *index == link.index);
        let (address, subnet) = match own {
            Some((_, address, subnet)) => (*address, *subnet),
            None => {
                let routed = routes.iter().filter_map(|(to, _)| *to);
                let used: Vec<Subnet> = routed
                    .chain(addresses.iter().map(|(_, _, subnet)| *subnet))
                    .collect();
                let subnet = subnet::choose(&used).ok_or(Error::NoSubnet)?;
                link::add_address(socket, link.index, subnet.gateway(), subnet)
                    .map_err(step(format!("give bridge {name} an address")))?;
                (subnet.gateway(), subnet)
            }
        };
        // Without one of its own a bridge has its lowest port's, which changes as builds come and
        // go: what others have in their ARP tables is wrong then, for minutes.
        let mac = Mac::of(address);
        if link.mac != Some(mac) {
            link::set_mac(socket, link.index, mac)
                .map_err(step(format!("give bridge {name} a hardware address")))?;
        }
        Ok(Self {
            link,
            address,
            subnet,
            mtu,
        })
    }
}

/// Makes this host a router for the builds that hold a lease, and for nobody else.
pub(super) fn open_host(state: &State, config: &Config, subnet: Subnet) -> Result<()> {
    let name = config.bridge.as_str();
    let mut netfilter = open_netfilter()?;
    let forwards = forwards()?;
    // Noted first: whoever finds the note after a crash restores what may not have been changed.
    if !forwards {
        state.switched_forwarding(true)?;
    }
    let rules = firewall::Rules {
        bridge: name,
        subnet,
        between: config.between,
        only_ours: state.has_switched_forwarding(),
        builds: &state.leased()?,
    };
    firewall::set_up(&mut netfilter, &rules).map_err(step(
        "set up address translation (kernel modules nf_tables, nft_masq, nft_ct)",
    ))?;
    firewall::forbid_spoofing(&mut netfilter, &rules).map_err(step(
        "keep builds from each other (kernel modules nf_tables, nf_tables_bridge)",
    ))?;
    foreign::accept_forwarding(&mut netfilter, name)
        .map_err(step("let the bridge's traffic pass the FORWARD chain"))?;
    // Not before the rules are there.
    match forwards {
        true => Ok(()),
        false => set_forwarding("1"),
    }
}

/// Takes back all of it when nobody holds a lease any more. The bridge stays for the next build.
pub(super) fn close_host(state: &State, name: &str) -> Result<()> {
    if !state.leased()?.is_empty() {
        return Ok(());
    }
    let mut netfilter = open_netfilter()?;
    if state.has_switched_forwarding() {
        // Somebody else has come to rely on it since.
        if !foreign::others_translate(&mut netfilter, name)
            .map_err(step("look for other address translation"))?
            && forwards()?
        {
            set_forwarding("0")?;
        }
        state.switched_forwarding(false)?;
    }
    foreign::withdraw(&mut netfilter, name).map_err(step("remove rules from the FORWARD chain"))?;
    firewall::remove(&mut netfilter, name)
        .map_err(step(format!("remove the nftables tables {name}")))?;
    state.forget_leases();
    Ok(())
}

fn open_netfilter() -> Result<Socket> {
    Socket::netfilter().map_err(step("open a netfilter socket (kernel module nf_tables)"))
}

fn forwards() -> Result<bool> {
    let text = fs::read_to_string(FORWARDING).map_err(step(FORWARDING))?;
    Ok(text.trim() == "1")
}

fn set_forwarding(value: &str) -> Result<()> {
    fs::write(FORWARDING, value).map_err(step(format!("write {value} to {FORWARDING}")))
}
