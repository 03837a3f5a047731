//! How much containers and volumes take.

use containers::engine::{Container, Containers, Volume};
use serde_json::Value;
use store::Usage;

use crate::commands::container::{container_row, image_names};
use crate::failure::Failure;
use crate::term::listing::{Format, Row};
use crate::term::style;
use crate::when;

const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t\
                          {{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const CONTAINER_HEADERS: [(&str, &str); 8] = [
    ("Command", "COMMAND"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Names", "NAMES"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const VOLUME_HEADERS: [(&str, &str); 3] = [
    ("Links", "LINKS"),
    ("Name", "VOLUME NAME"),
    ("Size", "SIZE"),
];

/// How much there is of both.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) containers: Usage,
    pub(super) volumes: Usage,
}

fn add(usage: &mut Usage, size: u64, active: bool) {
    usage.total += 1;
    usage.size += size;
    match active {
        true => usage.active += 1,
        false => usage.reclaimable += size,
    }
}

/// Adds it up.
pub(super) async fn of(containers: &Containers) -> Result<Used, Failure> {
    let mut used = Used::default();
    for (container, size) in with_sizes(containers).await? {
        add(
            &mut used.containers,
            size,
            container.state.status.is_alive(),
        );
    }
    for (volume, size) in volumes_with_sizes(containers).await? {
        add(&mut used.volumes, size, !volume.users.is_empty());
    }
    Ok(used)
}

async fn with_sizes(containers: &Containers) -> Result<Vec<(Container, u64)>, Failure> {
    let mut sized = Vec::new();
    for container in containers.list().await? {
        let (own, _) = containers.sizes(&container).await?;
        sized.push((container, own));
    }
    Ok(sized)
}

async fn volumes_with_sizes(containers: &Containers) -> Result<Vec<(Volume, u64)>, Failure> {
    let mut sized = Vec::new();
    for volume in containers.volumes().await? {
        let size = containers.volume_size(&volume).await?;
        sized.push((volume, size));
    }
    Ok(sized)
}

/// A line for each of both.
pub(super) struct Lists {
    pub(super) containers: Vec<Row>,
    pub(super) volumes: Vec<Row>,
}

/// All containers, and all volumes.
pub(super) async fn lists(containers: &Containers) -> Result<Lists, Failure> {
    let now = when::now();
    let all = with_sizes(containers).await?;
    let plain: Vec<Container> = all.iter().map(|(container, _)| container.clone()).collect();
    let names = image_names(containers, &plain).await?;
    let rows: Vec<Row> = all
        .iter()
        .map(|(container, size)| {
            let image = names.get(&container.id).cloned().unwrap_or_default();
            let mut row = container_row(container, image, None, (false, now));
            row.insert("Size".to_owned(), Value::from(style::size(*size)));
            // No column of these tables.
            row.remove("Label");
            row
        })
        .collect();
    let volumes: Vec<Row> = volumes_with_sizes(containers)
        .await?
        .into_iter()
        .map(|(volume, size)| {
            [
                ("Links", volume.users.len().to_string()),
                ("Name", volume.name),
                ("Size", style::sum(size)),
            ]
            .map(|(name, text)| (name.to_owned(), Value::from(text)))
            .into_iter()
            .collect()
        })
        .collect();
    Ok(Lists {
        containers: rows,
        volumes,
    })
}

impl Lists {
    /// The tables of both, as docker has them.
    pub(super) fn tables(&self) -> Result<String, Failure> {
        let containers = Format::parse(None, CONTAINERS)?;
        let containers = containers.render(&self.containers, &CONTAINER_HEADERS)?;
        let volumes = Format::parse(None, VOLUMES)?.render(&self.volumes, &VOLUME_HEADERS)?;
        Ok(format!(
            "Containers space usage:\n\n{containers}\nLocal Volumes space usage:\n\n{volumes}"
        ))
    }
}
