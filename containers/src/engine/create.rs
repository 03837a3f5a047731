//! Making a container.

use oci::ImageConfig;
use store::{Image, NewContainer};

use super::container::Container;
use super::handle::Containers;
use super::networks::Asked;
use super::{choices, devices, limits, mounts, namespaces, security, spec};
use crate::error::{Error, Result};
use crate::record::{Config, HostConfig, Record};
use crate::{health, names};

/// What asks systemd to shut down (systemd(1)).
const SYSTEMD_STOP: &str = "SIGRTMIN+3";
/// How many names are tried for a container that was given none.
const TRIES: u32 = 20;

/// What is told where the old iptables are in the way.
const BLOCKED: &str = "the FORWARD chain of this machine's legacy iptables drops what containers \
    exchange with other machines; `iptables-legacy -I FORWARD -i rbuild+ -j ACCEPT` and \
    `iptables-legacy -I FORWARD -o rbuild+ -m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j \
    ACCEPT` let it pass";

/// A container to be made.
#[derive(Debug)]
pub struct Create {
    /// Its name; nothing for one of ours.
    pub name: Option<String>,
    /// What it is to be; what is missing comes from the image.
    pub config: Config,
    /// What this machine does for it.
    pub host: HostConfig,
    /// Its networks, the one of [`HostConfig::network_mode`] among them where more is said of it.
    pub networks: Asked,
    /// The image.
    pub image: Image,
    /// The image's configuration.
    pub image_config: ImageConfig,
}

/// A container that was made.
#[derive(Debug)]
pub struct Created {
    /// It.
    pub container: Container,
    /// What its user should know.
    pub warnings: Vec<String>,
}

impl Containers {
    /// Makes a container.
    ///
    /// # Errors
    /// In docker's words; nothing is made then.
    pub async fn create(&self, request: Create) -> Result<Created> {
        let Create {
            name,
            mut config,
            mut host,
            networks,
            image,
            image_config,
        } = request;
        // As `inspect` shows names.
        let name = name.map(|name| name.strip_prefix('/').unwrap_or(&name).to_owned());
        if let Some(name) = name.as_deref().filter(|name| !names::is_name(name)) {
            return Err(Error::InvalidName(name.to_owned()));
        }
        health::check(config.healthcheck.as_ref())?;
        let lent = self.lent(&host).await?;
        let networks = self
            .settle_networks(&mut config, &mut host, networks)
            .await?;
        config.complete(&image_config.config.unwrap_or_default());
        if config.argv().is_empty() {
            return Err(Error::NoCommand);
        }
        let id = names::new_id().map_err(Error::io("read", "/dev/urandom"))?;
        namespaces::check(&config, &host)?;
        self.check_others(&host).await?;
        settle(&id, &mut config, &mut host);
        let mut warnings = devices::discard(&mut host, &runtime::supported()?);
        warnings.extend(check(&host)?);
        let lent: Vec<_> = lent
            .iter()
            .map(|(points, rw)| (points.as_slice(), *rw))
            .collect();
        let mut points = mounts::settle(&config, &host, &lent)?;
        let driver = host.volume_driver.clone();
        let chain_id = image.chain_id();
        // From here on volumes may be there that are nobody's unless the container is made.
        let held = self.hold(&mut points, &driver, chain_id.as_ref()).await?;
        let record = Record {
            config,
            host,
            mounts: points,
            networks,
        };
        let new = NewContainer {
            id,
            name: name.unwrap_or_default(),
            chain_id,
            image: image.id,
            record: String::new(),
            created: nanoseconds(),
            volumes: held.names(),
            images: held.images.clone(),
        };
        let added = self.add(new, &record).await;
        match added {
            Ok(container) => {
                self.tell(&container, "create", &[]);
                Ok(Created {
                    container,
                    warnings,
                })
            }
            Err(error) => {
                self.give_up(held).await;
                Err(error)
            }
        }
    }

    /// Adds a container, under a name of ours if it has none.
    async fn add(&self, mut new: NewContainer, record: &Record) -> Result<Container> {
        new.record = record.text().map_err(|cause| Error::Record {
            id: new.id.clone(),
            cause,
        })?;
        let is_named = !new.name.is_empty();
        for tries in 0..TRIES {
            if !is_named {
                let own = names::new_name(tries);
                new.name = own.map_err(Error::io("read", "/dev/urandom"))?;
            }
            let stored = match self.store.add_container(&new).await {
                Err(store::Error::ContainerName { .. }) if !is_named => continue,
                other => other?,
            };
            return Container::read(stored);
        }
        Err(Error::Invalid("no free name was found".to_owned()))
    }
}

/// Now, in nanoseconds since the epoch.
pub(super) fn nanoseconds() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Fills in what follows from the rest.
fn settle(id: &str, config: &mut Config, host: &mut HostConfig) {
    if config.hostname.is_empty() {
        config.hostname = match host.network_mode.as_str() {
            _ if host.uts_mode == "host" => own_name(),
            "host" => own_name(),
            _ => id.get(..12).unwrap_or(id).to_owned(),
        };
    }
    namespaces::uncover(config);
    if config.systemd_mode && config.stop_signal.is_none() {
        config.stop_signal = Some(SYSTEMD_STOP.to_owned());
    }
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        // docker's rule: as much swap as memory.
        host.memory_swap = i64::try_from(host.memory.saturating_mul(2)).unwrap_or(i64::MAX);
    }
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".to_owned();
    }
}

fn own_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Whether it can be run at all, as far as that can be known before.
fn check(host: &HostConfig) -> Result<Vec<String>> {
    limits::limits(host)?;
    choices::check(host)?;
    security::confinement(host)?;
    spec::log(&host.log_config)?;
    let policy = spec::restart(&host.restart_policy)?;
    if host.auto_remove && policy != crate::launch::RestartPolicy::No {
        return Err(Error::Invalid(
            "can't create 'AutoRemove' container with restart policy".to_owned(),
        ));
    }
    let mut warnings = Vec::new();
    if host.network_mode == "host" && !host.port_bindings.is_empty() {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    let has_bridge = !matches!(host.network_mode.as_str(), "host" | "none")
        && !host.network_mode.starts_with("container:");
    if has_bridge && runtime::network::is_forwarding_blocked() {
        warnings.push(BLOCKED.to_owned());
    }
    Ok(warnings)
}
