//! What a container that asks for names can see.

use std::net::IpAddr;
use std::path::PathBuf;

use super::registry::{self, Addresses};

/// The networks of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Where names are registered.
    pub(crate) dir: PathBuf,
    /// The networks whose names it knows.
    pub(crate) networks: Vec<Seen>,
    /// What is none of theirs may be asked elsewhere.
    pub(crate) forwards: bool,
}

/// A network of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its name.
    pub(crate) name: String,
    /// Its bridge.
    pub(crate) bridge: String,
    /// Names that this container alone knows, and whom they mean.
    pub(crate) links: Vec<(String, String)>,
}

/// Who is called what.
pub(crate) trait Names {
    /// The addresses that a name has.
    fn addresses(&self, name: &str) -> Vec<Addresses>;

    /// The name of the one that has an address.
    fn name_of(&self, address: IpAddr) -> Option<String>;
}

impl Names for View {
    fn addresses(&self, name: &str) -> Vec<Addresses> {
        let name = name.trim_end_matches('.');
        for network in &self.networks {
            let same = |(alias, _): &&(String, String)| alias.eq_ignore_ascii_case(name);
            let meant = network.links.iter().find(same);
            let wanted = meant.map_or(name, |(_, target)| target.as_str());
            let found = registry::addresses(&self.dir, &network.bridge, wanted);
            if !found.is_empty() {
                return found;
            }
        }
        // NAME.NETWORK
        for network in &self.networks {
            let own = name.len().checked_sub(network.name.len() + 1);
            let parts = own.and_then(|at| Some((name.get(..at)?, name.get(at..)?)));
            let Some((own, rest)) = parts else {
                continue;
            };
            let of_network = rest.strip_prefix('.');
            if of_network.is_some_and(|rest| rest.eq_ignore_ascii_case(&network.name)) {
                return registry::addresses(&self.dir, &network.bridge, own);
            }
        }
        Vec::new()
    }

    fn name_of(&self, address: IpAddr) -> Option<String> {
        self.networks.iter().find_map(|network| {
            let holder = match address {
                IpAddr::V4(address) => registry::holder(&self.dir, &network.bridge, address)?,
                IpAddr::V6(address) => registry::holder6(&self.dir, &network.bridge, address)?,
            };
            Some(format!("{}.{}", holder.name, network.name))
        })
    }
}
