//! The bridge and what this host does for it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use super::config::{Config, step};
use super::hardware::Mac;
use super::leases::{Lease, State, Tenant};
use super::netlink::{Socket, exists};
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
    /// What is given to those who want no address of their own.
    pub(super) range: Subnet,
    /// What the host's way out carries: a packet that fits the bridge must fit there.
    pub(super) mtu: Option<u32>,
}

impl Bridge {
    /// Finds or makes the bridge and gives it an address.
    pub(super) fn ensure(socket: &mut Socket, config: &Config) -> Result<Self> {
        let name = config.bridge.as_str();
        let routes = link::routes(socket).map_err(step("read routes"))?;
        let uplink = routes
            .iter()
            .find_map(|(to, link)| link.filter(|_| to.is_none()));
        let carried = uplink.and_then(|index| link::by_index(socket, index).ok()?.mtu);
        let link = link::make_bridge(socket, name)
            .map_err(step(format!("make bridge {name} (kernel module bridge)")))?;
        let addresses = link::addresses(socket).map_err(step("read addresses"))?;
        let mut own = addresses.iter().filter(|(index, ..)| *index == link.index);
        let mut give = |address, subnet| {
            link::add_address(socket, link.index, address, subnet)
                .map_err(step(format!("give bridge {name} an address")))
        };
        let (address, subnet) = match config.addresses {
            Some(wanted) => {
                let place = (wanted.gateway, wanted.subnet);
                if !own.any(|(_, address, subnet)| (*address, *subnet) == place) {
                    give(wanted.gateway, wanted.subnet)?;
                }
                place
            }
            None => match own.next() {
                Some((_, address, subnet)) => (*address, *subnet),
                None => {
                    let used = all_used(&routes, &addresses);
                    let subnet = subnet::choose(&used).ok_or(Error::NoSubnet)?;
                    give(subnet.gateway(), subnet)?;
                    (subnet.gateway(), subnet)
                }
            },
        };
        // Without one of its own a bridge has its lowest port's, which changes as others come and
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
            range: config.addresses.map_or(subnet, |wanted| wanted.range),
            mtu: config.mtu.or(carried),
        })
    }
}

fn all_used(routes: &[link::Route], addresses: &[(u32, Ipv4Addr, Subnet)]) -> Vec<Subnet> {
    let routed = routes.iter().filter_map(|(to, _)| *to);
    routed
        .chain(addresses.iter().map(|(_, _, subnet)| *subnet))
        .collect()
}

/// The ranges of addresses that this host has routes to, or addresses of.
pub(super) fn used(socket: &mut Socket) -> Result<Vec<Subnet>> {
    let routes = link::routes(socket).map_err(step("read routes"))?;
    let addresses = link::addresses(socket).map_err(step("read addresses"))?;
    Ok(all_used(&routes, &addresses))
}

/// Makes this host a router for those that hold a lease, one more among them, and for nobody else.
pub(super) fn open_host(
    state: &State,
    config: &Config,
    bridge: &Bridge,
    tenant: &Tenant,
) -> Result<()> {
    let name = config.bridge.as_str();
    let mut netfilter = open_netfilter()?;
    let forwards = forwards()?;
    // Noted first: whoever finds the note after a crash restores what may not have been changed.
    if !forwards {
        state.switched_forwarding(true)?;
    }
    let set_up = "set up address translation (kernel modules nf_tables, nft_masq, nft_ct, nft_fib)";
    let there = firewall::is_set_up(&mut netfilter, name).map_err(step("look for our rules"))?;
    if forwards && there {
        match firewall::add(&mut netfilter, name, tenant) {
            // What one has left that was killed is in the way.
            Err(error) if exists(&error) => {
                forget_gone(state, name)?;
                firewall::add(&mut netfilter, name, tenant).map_err(step(set_up))?;
            }
            other => other.map_err(step(set_up))?,
        }
    } else {
        let rules = firewall::Rules {
            config,
            subnet: bridge.subnet,
            only_ours: state.has_switched_forwarding(),
        };
        let (tenants, _) = state.tenants()?;
        firewall::set_up(&mut netfilter, &rules, &tenants).map_err(step(set_up))?;
        firewall::forbid_spoofing(&mut netfilter, name, &tenants).map_err(step(
            "keep those on the bridge from each other (kernel modules nf_tables, nf_tables_bridge)",
        ))?;
    }
    if config.publishes {
        route_loopback(name)?;
    }
    foreign::accept_forwarding(&mut netfilter, name)
        .map_err(step("let the bridge's traffic pass the FORWARD chain"))?;
    // Not before the rules are there.
    match forwards {
        true => Ok(()),
        false => set_forwarding("1"),
    }
}

/// Leads ports to one, in place of those of before.
pub(super) fn publish(state: &State, config: &Config, old: &Tenant, new: &Tenant) -> Result<()> {
    let name = config.bridge.as_str();
    let mut netfilter = open_netfilter()?;
    let failed = || step("publish ports (kernel module nft_nat)");
    firewall::withdraw(&mut netfilter, name, old).map_err(failed())?;
    match firewall::publish(&mut netfilter, name, new) {
        Err(error) if exists(&error) => {
            forget_gone(state, name)?;
            firewall::publish(&mut netfilter, name, new).map_err(failed())
        }
        other => other.map_err(failed()),
    }
}

/// This host's own packets for what is published at 127.0.0.1 go out by the bridge.
fn route_loopback(name: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{name}/route_localnet");
    let set = || match fs::read_to_string(&path)?.trim() {
        "1" => Ok(()),
        _ => fs::write(&path, "1"),
    };
    set().map_err(step(path.clone()))
}

/// Gives a lease back, and with the last one all that was changed.
pub(super) fn leave(state: &State, config: &Config, lease: &Lease, tenant: &Tenant) -> Result<()> {
    match lease.end() {
        true => close_host(state, &config.bridge),
        false => {
            let mut netfilter = open_netfilter()?;
            firewall::take_out(&mut netfilter, &config.bridge, tenant)
                .map_err(step("take rules back"))
        }
    }
}

/// Takes back what was set up for those that were killed.
pub(super) fn forget_gone(state: &State, name: &str) -> Result<()> {
    let (_, gone) = state.tenants()?;
    let mut netfilter = open_netfilter()?;
    for tenant in gone {
        firewall::take_out(&mut netfilter, name, &tenant).map_err(step("take rules back"))?;
        state.forget(tenant.address);
    }
    Ok(())
}

/// Takes back all of it when nobody holds a lease any more. The bridge stays for the next.
pub(super) fn close_host(state: &State, name: &str) -> Result<()> {
    if !state.tenants()?.0.is_empty() {
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
    let write = |path: &str| -> io::Result<()> { fs::write(path, value) };
    write(FORWARDING).map_err(step(format!("write {value} to {FORWARDING}")))
}
