//! Networks are made, found, listed and removed.

use std::fs::File;
use std::path::Path;

use store::StoredNetwork;

use super::actor::actor;
use super::sweep;
use crate::engine::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::names;
use crate::network::definition::{Driver, Network};
use crate::network::new::NewNetwork;
use crate::network::note::Note;
use crate::network::request::settle;
use crate::network::{self, default_bridge};

/// Held while a network is made: no two get the same addresses.
const LOCK: &str = "networks.lock";

impl Containers {
    /// Makes a network.
    ///
    /// # Errors
    /// In docker's words; nothing is made then.
    pub async fn create_network(&self, mut new: NewNetwork) -> Result<Network> {
        new.machine = machine();
        let id = names::new_id().map_err(Error::io("read", "/dev/urandom"))?;
        new.number = id
            .get(..8)
            .map_or(0, |text| u32::from_str_radix(text, 16).unwrap_or(0));
        let _lock = blocking(lock).await?;
        let others = self.networks().await?;
        let root = self.store.root().to_owned();
        let known: Vec<String> = others.iter().map(Network::bridge).collect();
        let record = blocking(move || {
            let dir = network::directory()?;
            sweep::close_orphans(&dir, &root, &known);
            let _ = runtime::network::sweep_ended(Path::new(network::LEASES));
            settle(&new, &others, &runtime::network::used_subnets()?).map(|record| (new, record))
        });
        let (new, record) = record.await?;
        let network = Network {
            id,
            name: new.name,
            driver: match record.config_only {
                true => Driver::Null,
                false => Driver::named(&new.driver),
            },
            created: crate::engine::create::nanoseconds(),
            record,
        };
        let text =
            serde_json::to_string(&network.record).map_err(|cause| Error::NetworkRecord {
                name: network.name.clone(),
                cause,
            })?;
        let stored = StoredNetwork {
            id: network.id.clone(),
            name: network.name.clone(),
            driver: network.driver.as_str().to_owned(),
            record: text,
            created: network.created,
        };
        self.store.add_network(&stored).await?;
        if network.record.config_only {
            self.tell_of("network", actor(&network, None), "create");
            return Ok(network);
        }
        let made = network.clone();
        let root = self.store.root().to_owned();
        let bridge = blocking(move || {
            let dir = network::directory()?;
            sweep::own(&dir, &made.bridge(), &root);
            let config = runtime::network::Config {
                bridge: made.bridge(),
                parent: made.parent(),
                addresses: made.addresses(),
                without_ipv4: made.record.without_ipv4,
                addresses6: made.addresses6(),
                also: made.link_name(),
                ..default_bridge()
            };
            Ok(runtime::network::make_bridge(&config)?)
        });
        if let Err(error) = bridge.await {
            self.store.remove_network(&network.id).await?;
            return Err(error);
        }
        self.tell_of("network", actor(&network, None), "create");
        Ok(network)
    }

    /// All networks, by their names.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn networks(&self) -> Result<Vec<Network>> {
        let stored = self.store.networks().await?;
        stored.into_iter().map(Network::read).collect()
    }

    /// A network by its ID, its name, or the beginning of its ID.
    ///
    /// # Errors
    /// [`store::Error::NoSuchNetwork`] and its kin.
    pub async fn find_network(&self, text: &str) -> Result<Network> {
        Network::read(self.store.find_network(text).await?)
    }

    /// Whether containers that run are on a network.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn is_network_used(&self, network: &Network) -> Result<bool> {
        let network = network.clone();
        blocking(move || Ok(!network.record.config_only && !notes(&network)?.is_empty())).await
    }

    /// Removes a network.
    ///
    /// # Errors
    /// [`Error::NetworkPredefined`], [`Error::NetworkUsed`].
    pub async fn remove_network(&self, network: &Network) -> Result<()> {
        if network.is_predefined() {
            return Err(Error::NetworkPredefined(network.name.clone()));
        }
        if network.record.config_only {
            let all = self.networks().await?;
            if all
                .iter()
                .any(|other| other.record.config_from == network.name)
            {
                return Err(Error::Invalid(format!(
                    "error while removing network: configuration network {:?} is in use",
                    network.name
                )));
            }
            self.store.remove_network(&network.id).await?;
            self.tell_of("network", actor(network, None), "destroy");
            return Ok(());
        }
        let stored = self.store.find_network(&network.id).await?;
        // The row first: a bridge without one is found and taken away, whatever happens now.
        self.store.remove_network(&network.id).await?;
        let removed = network.clone();
        let closed = blocking(move || {
            let dir = network::directory()?;
            if sweep::close(&dir, &removed.bridge())? {
                return Ok(());
            }
            let endpoint = |note: Note| {
                let id = note.endpoint.get(..12).unwrap_or(&note.endpoint);
                format!("name:{:?} id:{id:?}", note.name)
            };
            let endpoints: Vec<String> = notes(&removed)?
                .into_iter()
                .map(|(_, note)| endpoint(note))
                .collect();
            Err(Error::NetworkUsed {
                network: removed.name,
                endpoints: endpoints.join(", "),
            })
        });
        if let Err(error) = closed.await {
            self.store.add_network(&stored).await?;
            return Err(error);
        }
        self.tell_of("network", actor(network, None), "destroy");
        Ok(())
    }
}

/// What tells this machine's IPv6 addresses from those of others (RFC 4193, 3.2.2): a part of the
/// digest of what it is known by.
fn machine() -> [u8; 5] {
    let known = std::fs::read("/etc/machine-id")
        .unwrap_or_else(|_| rustix::system::uname().nodename().to_bytes().to_vec());
    let digest = oci::Digest::sha256(&known);
    let octets = digest.hex().as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(pair, 16).unwrap_or_default()
    });
    let mut machine = [0; 5];
    machine
        .iter_mut()
        .zip(octets)
        .for_each(|(to, from)| *to = from);
    machine
}

/// Who is on a network.
pub(super) fn notes(network: &Network) -> Result<Vec<(std::net::Ipv4Addr, Note)>> {
    let all = runtime::network::notes(&network::directory()?, &network.bridge());
    let read = |(address, text): (_, String)| Some((address, Note::read(&text)?));
    Ok(all.into_iter().filter_map(read).collect())
}

fn lock() -> Result<File> {
    let dir = network::directory()?;
    let path = dir.join(LOCK);
    let open = || {
        std::fs::create_dir_all(&dir)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(Error::io("lock", &path))
}
