//! A container comes to a network, or leaves it.

use super::plan::place;
use super::settle::check_settings;
use crate::endpoint::EndpointSettings;
use crate::engine::container::Container;
use crate::engine::handle::{Containers, blocking};
use crate::error::{Error, Result};
use crate::network::Mode;
use crate::network::definition::{Driver, Network};
use crate::protocol::Request;

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

impl Containers {
    /// Brings a container to a network, at once if it runs.
    ///
    /// # Errors
    /// In docker's words.
    pub async fn connect_network(
        &self,
        network: &Network,
        container: &Container,
        mut settings: EndpointSettings,
    ) -> Result<()> {
        let mut container = container.clone();
        if network.driver == Driver::Host {
            return invalid(
                "cannot connect container to host network - container must be created in host \
                 network mode",
            );
        }
        let has_none = container.record.networks.contains_key("none");
        match Mode::parse(&container.record.host.network_mode)? {
            _ if has_none => {
                return invalid(
                    "container cannot be connected to multiple networks with one of the networks \
                     in private (none) mode",
                );
            }
            Mode::Host | Mode::Container(_) => {
                return invalid(
                    "container sharing network namespace with another container or host cannot be \
                     connected to any other network",
                );
            }
            Mode::None => {
                return invalid(
                    "container cannot be connected to multiple networks with one of the networks \
                     in private (none) mode",
                );
            }
            Mode::Bridge | Mode::User(_) => {}
        }
        if let Err(why) = check_settings(network, &settings) {
            return invalid(format!("invalid endpoint settings:\n{why}"));
        }
        settings.network_id.clone_from(&network.id);
        let name = network.name.clone();
        let network = network.clone();
        let (id, record) = blocking(move || {
            let _lock = container.change()?;
            container.again()?;
            let is_there = container.state.place(&network.id).is_some();
            if is_there {
                return invalid(format!(
                    "endpoint with name {} already exists in network {}",
                    container.name, network.name
                ));
            }
            container.record.networks.insert(name, settings.clone());
            if container.state.status.is_alive() {
                let plan = place(&container, &network, &settings)?;
                container.tell(&Request::Connect(Box::new(plan)))?;
            }
            container.written()
        })
        .await?;
        Ok(self.store.update_container(&id, &record).await?)
    }

    /// Takes a container that does not run off a network that is gone, by the name that it had;
    /// one that runs too, if that is forced.
    ///
    /// # Errors
    /// In docker's words.
    pub async fn forget_network(
        &self,
        name: &str,
        container: &Container,
        force: bool,
    ) -> Result<()> {
        let mut container = container.clone();
        let name = name.to_owned();
        let (id, record) = blocking(move || {
            let _lock = container.change()?;
            container.again()?;
            if container.state.status.is_alive() && !force {
                return Err(store::Error::NoSuchNetwork(name).into());
            }
            match container.record.networks.remove(&name) {
                Some(_) => container.written(),
                None => invalid(format!(
                    "container {} is not connected to the network {name}",
                    container.id
                )),
            }
        })
        .await?;
        Ok(self.store.update_container(&id, &record).await?)
    }

    /// Takes a container off a network, at once if it runs.
    ///
    /// # Errors
    /// In docker's words.
    pub async fn disconnect_network(&self, network: &Network, container: &Container) -> Result<()> {
        let mut container = container.clone();
        let network = network.clone();
        let (id, record) = blocking(move || {
            let _lock = container.change()?;
            container.again()?;
            let networks = &mut container.record.networks;
            let before = networks.len();
            networks.retain(|name, settings| {
                settings.network_id != network.id && *name != network.name
            });
            if networks.len() == before || !network.driver.has_places() {
                // As docker: its words differ by that.
                let network = match container.state.status.is_alive() {
                    true => format!("network {}", network.name),
                    false => format!("the network {}", network.name),
                };
                return invalid(format!(
                    "container {} is not connected to {network}",
                    container.id
                ));
            }
            if container.state.status.is_alive() {
                container.tell(&Request::Disconnect(network.id.clone()))?;
            }
            container.written()
        })
        .await?;
        Ok(self.store.update_container(&id, &record).await?)
    }
}

impl Container {
    /// Its ID, and its record as it is stored.
    pub(in crate::engine) fn written(&self) -> Result<(String, String)> {
        let record = serde_json::to_string(&self.record).map_err(|cause| Error::Record {
            id: self.id.clone(),
            cause,
        })?;
        Ok((self.id.clone(), record))
    }
}
