//! Containers as `ps` shows them, and which of them.

use std::collections::BTreeMap;

use containers::engine::Container;
use containers::health::Wellness;
use containers::record::MountPoint;
use containers::status::Status;
use golang::quote::go_quote;
use regex::Regex;
use serde_json::Value;

use crate::term::listing::{self, Row};
use crate::term::style;
use crate::when;

/// How wide a command is shown.
const COMMAND_WIDTH: usize = 20;

/// Which containers are wanted: of each kind one has to hold, of labels all.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Beginnings of IDs.
    pub ids: Vec<String>,
    /// Parts of names.
    pub names: Vec<String>,
    /// States.
    pub statuses: Vec<Status>,
    /// `KEY` or `KEY=VALUE`.
    pub labels: Vec<String>,
    /// How well they are; nothing for those without a check.
    pub health: Vec<Option<Wellness>>,
    /// Exit codes of those that have ended.
    pub exited: Vec<i32>,
    /// IDs of images.
    pub images: Vec<String>,
    /// Names of networks, or beginnings of IDs.
    pub networks: Vec<String>,
    /// Paths in the container, or on this machine.
    pub volumes: Vec<String>,
    /// Ports of this machine that lead to it.
    pub published: Vec<Ports>,
    /// Ports that it tells of, or that are published.
    pub exposed: Vec<Ports>,
    /// Tasks of a swarm, of which there are none, or no such tasks.
    pub are_tasks: Option<bool>,
    /// Made before this container, and after that one: nanoseconds since the epoch.
    pub before: Option<i64>,
    /// Made after it.
    pub since: Option<i64>,
}

/// Ports of one protocol: a number, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Ports {
    /// Reads `80`, `80/udp` or `7000-7005`; nothing where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            protocol: protocol.to_owned(),
        })
    }

    fn has(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }
}

impl Choice {
    /// Whether it has one of the ports that are wanted, as docker has it: of either kind one.
    fn takes_ports(&self, container: &Container) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        let state = &container.state;
        let has_none = state.places.iter().all(|place| place.is_on_link);
        if !state.status.has_processes() || has_none {
            return false;
        }
        let any = |wanted: &[Ports], port: u16, protocol: &str| {
            wanted.iter().any(|ports| ports.has(port, protocol))
        };
        let is_published = state.ports.iter().any(|one| {
            let protocol = one.protocol.name();
            any(&self.published, one.port, protocol) || any(&self.exposed, one.container, protocol)
        });
        let told = container.record.config.exposed_ports.keys();
        is_published
            || told
                .filter_map(|text| Ports::parse(text))
                .any(|port| any(&self.exposed, port.first, &port.protocol))
    }

    /// Whether a container is one of them.
    pub fn takes(&self, container: &Container) -> bool {
        let record = &container.record;
        let any = |wanted: &[String], holds: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|text| holds(text))
        };
        let is_named = |text: &str| {
            let slashed = format!("/{}", container.name);
            is_part(text, &container.name) || is_part(text, &slashed)
        };
        let state = &container.state;
        let exited = state.status == Status::Exited && self.exited.contains(&state.exit_code);
        let image = container.image.to_string();
        let told = record.mounts.iter().filter(|point| point.is_told());
        let places: Vec<&str> = told
            .flat_map(|point| [point.name(), point.target.as_str()])
            .collect();
        any(&self.ids, &|text| container.id.starts_with(text))
            && any(&self.names, &is_named)
            && (self.statuses.is_empty() || self.statuses.contains(&state.status))
            && self
                .labels
                .iter()
                .all(|label| has_label(&record.config.labels, label))
            && (self.health.is_empty() || self.health.contains(&wellness(container)))
            && (self.exited.is_empty() || exited)
            && any(&self.images, &|id| id == image)
            && any(&self.networks, &|text| is_on(container, text))
            && any(&self.volumes, &|path| places.contains(&path))
            && self.takes_ports(container)
            && self.are_tasks != Some(true)
            && self.before.is_none_or(|before| container.created < before)
            && self.since.is_none_or(|since| container.created > since)
    }
}

/// Whether it is on the network of this name or ID.
fn is_on(container: &Container, text: &str) -> bool {
    let networks = &container.record.networks;
    networks.contains_key(text)
        || (!text.is_empty()
            && networks
                .values()
                .any(|one| one.network_id.starts_with(text)))
}

/// Whether a pattern is found in a name; one that is none stands for itself.
fn is_part(pattern: &str, name: &str) -> bool {
    match Regex::new(pattern) {
        Ok(pattern) => pattern.is_match(name),
        Err(_) => name.contains(pattern),
    }
}

/// Whether there is a label of a key, or of a key and a value.
pub fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// How well a container is, if it has a check.
fn wellness(container: &Container) -> Option<Wellness> {
    container.state.health.as_ref().map(|health| health.status)
}

/// What a container is doing, in docker's words.
pub fn status(container: &Container, now: i64) -> String {
    let state = &container.state;
    let since = |time: &str| style::duration(now.saturating_sub(when::seconds(Some(time))));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let up = since(&state.started_at);
            match wellness(container) {
                None => format!("Up {up}"),
                Some(Wellness::Starting) => format!("Up {up} (health: starting)"),
                Some(found) => format!("Up {up} ({})", found.as_str()),
            }
        }
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            since(&state.finished_at)
        ),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Exited => format!(
            "Exited ({}) {} ago",
            state.exit_code,
            since(&state.finished_at)
        ),
        Status::Dead => "Dead".to_owned(),
    }
}

/// A command as it is shown: in quotes, and not too wide.
fn command(container: &Container, whole: bool) -> String {
    let argv = container.record.config.argv();
    let words = argv.iter().enumerate().map(|(at, word)| {
        // The command itself is never quoted.
        match at > 0 && word.contains(' ') {
            true => format!("'{word}'"),
            false => word.clone(),
        }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    let shown = match whole || text.chars().count() <= COMMAND_WIDTH {
        true => text,
        false => {
            let kept: String = text.chars().take(COMMAND_WIDTH - 1).collect();
            format!("{kept}\u{2026}")
        }
    };
    go_quote(&shown)
}

/// A line of the table. `image` is what the container's image is called; `sizes` are the bytes of
/// its own layer and of its image's.
pub fn row(
    container: &Container,
    image: String,
    sizes: Option<(u64, u64)>,
    (whole, now): (bool, i64),
) -> Row {
    let id = match whole {
        true => container.id.clone(),
        false => container.short_id().to_owned(),
    };
    let record = &container.record;
    let created = container.created_at();
    let labels = listing::labels(&record.config.labels);
    let told = record.mounts.iter().filter(|point| point.is_told());
    let mounts: Vec<String> = told.map(|point| mount_name(point.name(), whole)).collect();
    let volumes = record.mounts.iter().filter_map(MountPoint::volume).count();
    let size = sizes.map_or_else(
        || "0B".to_owned(),
        |(own, below)| {
            let (own, all) = (style::size(own), style::size(own + below));
            format!("{own} (virtual {all})")
        },
    );
    let mut row: Row = [
        ("Command", command(container, whole)),
        ("CreatedAt", when::local(Some(&created))),
        ("ID", id),
        ("Image", image),
        ("Labels", labels),
        ("LocalVolumes", volumes.to_string()),
        ("Mounts", mounts.join(",")),
        ("Names", container.name.clone()),
        ("Networks", networks(container)),
        ("Ports", ports(container)),
        ("RunningFor", when::ago(Some(&created), now)),
        ("Size", size),
        ("State", container.state.status.to_string()),
        ("Status", status(container, now)),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect();
    // docker does not know it of images that have one platform.
    row.insert("Platform".to_owned(), Value::Null);
    listing::add_labels(&mut row, &record.config.labels);
    row
}

/// A mount's name, in docker's width.
fn mount_name(name: &str, whole: bool) -> String {
    const WIDTH: usize = 15;
    match whole || name.chars().count() <= WIDTH {
        true => name.to_owned(),
        false => {
            let kept: String = name.chars().take(WIDTH - 1).collect();
            format!("{kept}\u{2026}")
        }
    }
}

/// The ports that it tells of, and those of this machine that lead to them, while it runs.
fn ports(container: &Container) -> String {
    let state = &container.state;
    let has_none = state.places.iter().all(|place| place.is_on_link);
    if !state.status.has_processes() || has_none {
        return String::new();
    }
    let exposed = container.record.config.exposed_ports.keys();
    containers::network::ports::shown(exposed.map(String::as_str), &state.ports)
}

/// The names of its networks.
fn networks(container: &Container) -> String {
    let networks = container.record.networks.keys();
    networks.map(String::as_str).collect::<Vec<_>>().join(",")
}
