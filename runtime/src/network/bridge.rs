//! The bridge and what this host does for it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::config::{Addresses6, Config, step};
use super::expression::{IPV4, IPV6, Kind};
use super::hardware::Mac;
use super::leases::{Forwarding, Lease, State, Tenant};
use super::netlink::{Socket, exists};
use super::subnet::{self, Subnet};
use super::{firewall, foreign, link, parent};
use crate::error::{Error, Result};

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
    /// Finds or makes the bridge and gives it an address; or the link of this machine that takes
    /// its place.
    pub(super) fn ensure(socket: &mut Socket, state: &State, config: &Config) -> Result<Self> {
        let name = config.bridge.as_str();
        if let (Some(parent), Some(wanted)) = (&config.parent, config.addresses) {
            return Ok(Self {
                link: parent::ensure(socket, state, parent)?,
                address: wanted.gateway,
                subnet: wanted.subnet,
                range: wanted.range,
                mtu: None,
            });
        }
        let routes = link::routes(socket).map_err(step("read routes"))?;
        let uplink = routes
            .iter()
            .find_map(|(to, link)| link.filter(|_| to.is_none()));
        let carried = uplink.and_then(|index| link::by_index(socket, index).ok()?.mtu);
        let link = link::make_bridge(socket, name)
            .map_err(step(format!("make bridge {name} (kernel module bridge)")))?;
        if let Some(also) = &config.also {
            link::add_name(socket, link.index, also)
                .map_err(step(format!("call bridge {name} {also}")))?;
        }
        let addresses = link::addresses(socket).map_err(step("read addresses"))?;
        let mut own = addresses.iter().filter(|(index, ..)| *index == link.index);
        let mut give = |address, subnet| {
            link::add_address(socket, link.index, address, subnet)
                .map_err(step(format!("give bridge {name} an address")))
        };
        let (address, subnet) = match config.addresses {
            Some(wanted) => {
                let place = (wanted.gateway, wanted.subnet);
                let has = |(_, address, subnet): &(_, _, _)| (*address, *subnet) == place;
                if !config.without_ipv4 && !own.any(has) {
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
        if let Some(all) = &config.addresses6 {
            six(socket, name, link.index, all)?;
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

/// Gives the bridge its IPv6 address.
fn six(socket: &mut Socket, name: &str, index: u32, all: &Addresses6) -> Result<()> {
    let what = format!("switch IPv6 on for bridge {name} (has this machine IPv6?)");
    switch_ipv6_on(name).map_err(step(what))?;
    link::add_address6(socket, index, all.gateway, all.subnet)
        .map_err(step(format!("give bridge {name} an IPv6 address")))
}

/// Lets an interface of this network namespace have addresses of IPv6; those that others on its
/// network tell of are not taken.
pub(super) fn switch_ipv6_on(interface: &str) -> io::Result<()> {
    let set = |key: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
        match fs::read_to_string(&path)?.trim() == value {
            true => Ok(()),
            false => fs::write(path, value),
        }
    };
    set("accept_ra", "0")?;
    set("disable_ipv6", "0")
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
    netfilter: &mut Socket,
    state: &State,
    config: &Config,
    bridge: &Bridge,
    tenant: &Tenant,
) -> Result<()> {
    let name = config.bridge.as_str();
    let mut closed = Vec::new();
    for (_, switch) in kinds(config) {
        if !forwards(switch)? {
            closed.push(switch);
        }
    }
    // Noted first: whoever finds the note after a crash restores what may not have been changed.
    for switch in &closed {
        state.switched_forwarding(*switch, true)?;
    }
    let set_up = "set up address translation (kernel modules nf_tables, nft_masq, nft_ct, nft_fib)";
    let there = is_set_up(netfilter, config)?;
    if closed.is_empty() && there {
        match firewall::add(netfilter, name, tenant) {
            // What one has left that was killed is in the way.
            Err(error) if exists(&error) => {
                forget_gone(state, name)?;
                firewall::add(netfilter, name, tenant).map_err(step(set_up))?;
            }
            other => other.map_err(step(set_up))?,
        }
    } else {
        let (tenants, _) = state.tenants()?;
        for (kind, switch) in kinds(config) {
            let rules = firewall::Rules {
                config,
                kind,
                subnet: subnet_of(kind, bridge, config),
                only_ours: state.has_switched_forwarding(switch),
            };
            firewall::set_up(netfilter, &rules, &tenants).map_err(step(set_up))?;
        }
        firewall::forbid_spoofing(netfilter, config, &tenants).map_err(step(
            "keep those on the bridge from each other (kernel modules nf_tables, nf_tables_bridge)",
        ))?;
    }
    if config.publishes && !config.without_ipv4 {
        route_loopback(name)?;
    }
    for (kind, _) in kinds(config) {
        foreign::accept_forwarding(netfilter, kind.family, name)
            .map_err(step("let the bridge's traffic pass the FORWARD chain"))?;
    }
    // Not before the rules are there.
    closed
        .into_iter()
        .try_for_each(|switch| set_forwarding(switch, "1"))
}

/// What is done for IPv4 and for IPv6, where the bridge has it.
fn kinds(config: &Config) -> impl Iterator<Item = (Kind, Forwarding)> {
    let four = (!config.without_ipv4).then_some((IPV4, Forwarding::Ipv4));
    let six = config.addresses6.map(|_| (IPV6, Forwarding::Ipv6));
    four.into_iter().chain(six)
}

/// The first address of a bridge and the mask of all, as headers have them.
fn subnet_of(kind: Kind, bridge: &Bridge, config: &Config) -> (Vec<u8>, Vec<u8>) {
    match config.addresses6.filter(|_| kind.length == IPV6.length) {
        Some(all) => (
            all.subnet.base().octets().to_vec(),
            all.subnet.mask().octets().to_vec(),
        ),
        None => (
            bridge.subnet.base().octets().to_vec(),
            bridge.subnet.mask().octets().to_vec(),
        ),
    }
}

fn is_set_up(netfilter: &mut Socket, config: &Config) -> Result<bool> {
    let families = kinds(config).map(|(kind, _)| kind.family);
    firewall::is_set_up(netfilter, &config.bridge, families).map_err(step("look for our rules"))
}

/// Leads ports to one, in place of those of before.
pub(super) fn publish(
    netfilter: &mut Socket,
    state: &State,
    config: &Config,
    (old, new): (&Tenant, &Tenant),
) -> Result<()> {
    let name = config.bridge.as_str();
    let failed = || step("publish ports (kernel module nft_nat)");
    firewall::withdraw(netfilter, name, old).map_err(failed())?;
    match firewall::publish(netfilter, name, new) {
        Err(error) if exists(&error) => {
            forget_gone(state, name)?;
            firewall::publish(netfilter, name, new).map_err(failed())
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

/// Gives a lease back, and with the last one all that was changed. Its file goes last: whoever
/// comes after a kill in between finds it, and takes back what is left.
pub(super) fn leave(
    netfilter: &mut Socket,
    state: &State,
    config: &Config,
    lease: &Lease,
    tenant: &Tenant,
) -> Result<()> {
    lease.let_go();
    match state.is_unused() {
        true => close(netfilter, state, &config.bridge)?,
        false => firewall::take_out(netfilter, &config.bridge, tenant)
            .map_err(step("take rules back"))?,
    }
    lease.end();
    Ok(())
}

/// Takes back what was set up for those that were killed.
pub(super) fn forget_gone(state: &State, name: &str) -> Result<()> {
    let (_, gone) = state.tenants()?;
    let mut netfilter = open_netfilter()?;
    for tenant in gone {
        firewall::take_out(&mut netfilter, name, &tenant).map_err(step("take rules back"))?;
        state.forget(&tenant);
    }
    Ok(())
}

/// Takes back all of it when nobody holds a lease any more. The bridge stays for the next.
pub(super) fn close_host(state: &State, name: &str) -> Result<()> {
    close(&mut open_netfilter()?, state, name)
}

fn close(netfilter: &mut Socket, state: &State, name: &str) -> Result<()> {
    if !state.tenants()?.0.is_empty() {
        return Ok(());
    }
    let kinds = [(IPV4, Forwarding::Ipv4), (IPV6, Forwarding::Ipv6)];
    // A kernel without IPv6 knows nothing of its tables.
    let kinds = kinds
        .into_iter()
        .filter(|(_, switch)| Path::new(switch.path()).exists());
    let mut families = Vec::new();
    for (kind, switch) in kinds {
        families.push(kind.family);
        if state.has_switched_forwarding(switch) {
            // Somebody else has come to rely on it since.
            if !foreign::others_translate(netfilter, kind.family, name)
                .map_err(step("look for other address translation"))?
                && forwards(switch)?
            {
                set_forwarding(switch, "0")?;
            }
            state.switched_forwarding(switch, false)?;
        }
        foreign::withdraw(netfilter, kind.family, name)
            .map_err(step("remove rules from the FORWARD chain"))?;
    }
    firewall::remove(netfilter, name, families)
        .map_err(step(format!("remove the nftables tables {name}")))?;
    state.forget_leases();
    Ok(())
}

pub(super) fn open_netfilter() -> Result<Socket> {
    Socket::netfilter().map_err(step("open a netfilter socket (kernel module nf_tables)"))
}

fn forwards(switch: Forwarding) -> Result<bool> {
    let text = fs::read_to_string(switch.path()).map_err(step(switch.path()))?;
    Ok(text.trim() != "0")
}

fn set_forwarding(switch: Forwarding, value: &str) -> Result<()> {
    let path = switch.path();
    fs::write(path, value).map_err(step(format!("write {value} to {path}")))
}
