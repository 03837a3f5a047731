//! A container's own files of /etc.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use runtime::{Mount, NetworkMode, dns};

use super::network::Network;
use crate::dns::server::ADDRESS;
use crate::folder::Folder;
use crate::launch::{Etc, HostAddress, Launch, NetworkPlan};

const FILES: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

/// Writes the files.
pub(super) fn write(folder: &Folder, etc: &Etc, network: &Network) -> io::Result<()> {
    fs::write(folder.etc("hosts"), hosts(etc, network))?;
    fs::write(folder.etc("hostname"), format!("{}\n", etc.hostname))?;
    fs::write(folder.etc("resolv.conf"), resolv_conf(etc, network))
}

fn hosts(etc: &Etc, network: &Network) -> String {
    let gateway: Option<IpAddr> = match network.mode() {
        NetworkMode::Host => Some(Ipv4Addr::LOCALHOST.into()),
        _ => network.host_address(),
    };
    let extra: Vec<(String, String)> = etc
        .hosts
        .iter()
        .filter_map(|(name, address)| {
            let address = match address {
                HostAddress::Ip(address) => Some(*address),
                HostAddress::Gateway => gateway,
            };
            Some((name.clone(), address?.to_string()))
        })
        .collect();
    let mut text = match network.mode() {
        NetworkMode::Host => {
            let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
            for (name, address) in &extra {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            text
        }
        // docker 28 writes two of the addresses so.
        _ => dns::hosts("", None, &extra)
            .replace("fe00::0\t", "fe00::\t")
            .replace("ff00::0\t", "ff00::\t"),
    };
    for link in &etc.links {
        text.push_str(&link_line(link.address, &link.names));
    }
    // Where there is no address the name stands for nothing.
    for address in network.addresses() {
        text.push_str(&line(etc, address));
    }
    text
}

fn link_line(address: Ipv4Addr, names: &str) -> String {
    format!("{address}\t{names}\n")
}

/// A container that it is linked to is elsewhere by now. What it has written itself stays.
pub(super) fn relinked(
    folder: &Folder,
    names: &str,
    before: Ipv4Addr,
    now: Ipv4Addr,
) -> io::Result<()> {
    let path = folder.etc("hosts");
    let text = fs::read_to_string(&path)?;
    let (old, new) = (link_line(before, names), link_line(now, names));
    match text.contains(&old) {
        true => overwrite(&path, &text.replacen(&old, &new, 1)),
        false => Ok(()),
    }
}

/// A container is linked to another no more. What it has written itself stays.
pub(super) fn unlinked(folder: &Folder, names: &str, address: Ipv4Addr) -> io::Result<()> {
    let path = folder.etc("hosts");
    let text = fs::read_to_string(&path)?;
    let line = link_line(address, names);
    match text.contains(&line) {
        true => overwrite(&path, &text.replacen(&line, "", 1)),
        false => Ok(()),
    }
}

/// What says that a container has an address.
fn line(etc: &Etc, address: IpAddr) -> String {
    // As docker: the whole name may have been said as the host's, or in two parts.
    let whole = match etc.domain.is_empty() {
        true => etc.hostname.clone(),
        false => format!("{}.{}", etc.hostname, etc.domain),
    };
    match whole.split_once('.') {
        Some((bare, _)) => format!("{address}\t{whole} {bare}\n"),
        None => format!("{address}\t{whole}\n"),
    }
}

fn resolv_conf(etc: &Etc, network: &Network) -> String {
    match network.knows_names() {
        true => dns::resolv_conf_of(ADDRESS.into(), &etc.dns),
        false => {
            let own_network = !matches!(network.mode(), NetworkMode::Host);
            dns::resolv_conf(&etc.dns, own_network)
        }
    }
}

/// A container that runs has got addresses, or lost some. What it has written itself stays.
pub(super) fn changed(
    folder: &Folder,
    etc: &Etc,
    addresses: &[IpAddr],
    has_them: bool,
) -> io::Result<()> {
    let path = folder.etc("hosts");
    let before = fs::read_to_string(&path)?;
    let mut text = before.clone();
    for line in addresses.iter().map(|address| line(etc, *address)) {
        match (has_them, text.find(&line)) {
            (true, _) => text.push_str(&line),
            (false, Some(at)) => text.replace_range(at..at + line.len(), ""),
            (false, None) => {}
        }
    }
    match text == before {
        true => Ok(()),
        false => overwrite(&path, &text),
    }
}

/// Names can be asked for from now on. A file that the container has changed is its own.
pub(super) fn names_are_known(folder: &Folder, etc: &Etc) -> io::Result<()> {
    let path = folder.etc("resolv.conf");
    match fs::read_to_string(&path)? == dns::resolv_conf(&etc.dns, true) {
        true => overwrite(&path, &dns::resolv_conf_of(ADDRESS.into(), &etc.dns)),
        false => Ok(()),
    }
}

/// The container sees this very file: it cannot be replaced by another.
fn overwrite(path: &std::path::Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Shows the files in the container, or those of the container whose network it shares.
pub(super) fn mounts(launch: &Launch) -> Vec<Mount> {
    let folder = match &launch.network {
        NetworkPlan::Container { folder, .. } => Folder::new(folder),
        _ => Folder::new(&launch.folder),
    };
    FILES
        .map(|name| Mount::bind(folder.etc(name), format!("/etc/{name}"), false))
        .to_vec()
}
