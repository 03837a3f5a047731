//! `rbuild ps`

use std::collections::HashMap;

use clap::Args;
use containers::engine::{Container, Containers};
use containers::health::Wellness;
use containers::status::Status;
use golang::quote::go_quote;

use super::rows::{self, Choice, Ports};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::term::listing::Forms;
use crate::when;

/// `rbuild ps`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild ps                                   those that run
  rbuild ps -a                                all of them, the newest first
  rbuild ps -aqf status=exited                IDs of those that have ended
  rbuild ps --format 'table {{.Names}}\\t{{.Status}}'")]
pub struct PsArgs {
    /// Show all containers, those too that do not run
    #[arg(short, long)]
    pub all: bool,

    /// Only containers for which it holds: id, name, status, label, exited, ancestor, before,
    /// since, network, publish, expose or volume; may be repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .ID .Image .Command .CreatedAt
    /// .RunningFor .Ports .State .Status .Size .Names .Labels .Mounts .Networks, and
    /// .Label "KEY"
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Show the last that were made, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub last: Option<i64>,

    /// Show the last one that was made, whatever it does
    #[arg(short, long)]
    pub latest: bool,

    /// Do not shorten anything
    #[arg(long)]
    pub no_trunc: bool,

    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,

    /// Show how large they are
    #[arg(short, long)]
    pub size: bool,
}

const DEFAULT: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t\
    {{.Ports}}\t{{.Names}}";
const RAW: [(&str, &str); 10] = [
    ("container_id", "ID"),
    ("image", "Image"),
    ("command", "Command"),
    ("created_at", "CreatedAt"),
    ("state", "State"),
    ("status", "Status"),
    ("names", "Names"),
    ("labels", "Labels"),
    ("ports", "Ports"),
    ("size", "Size"),
];
const HEADERS: [(&str, &str); 15] = [
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];
const FILTERS: [&str; 14] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name",
    "network", "publish", "since", "status", "volume",
];

/// Runs the command.
pub async fn run(app: &App, args: PsArgs) -> Outcome {
    let filters = Filters::parse(&args.filters, &FILTERS)?;
    let mut raw = RAW.to_vec();
    let mut table = DEFAULT.to_owned();
    match args.size {
        true => table.push_str("\t{{.Size}}"),
        false => raw.retain(|(_, column)| *column != "Size"),
    }
    let forms = Forms {
        table: &table,
        id: "ID",
        raw: &raw,
    };
    if args.quiet && args.format.is_some() {
        app.printer
            .warning("Ignoring custom format, because both --format and --quiet are set.");
    }
    let format = forms.choose(args.format.as_deref(), args.quiet)?;
    let containers = app.containers_to_read().await?;
    let choice = choice(&containers, &filters).await?;
    let last = match (args.latest, args.last) {
        (true, _) => Some(1),
        (false, last) => last
            .and_then(|last| usize::try_from(last).ok())
            .filter(|n| *n > 0),
    };
    // Whoever asks for a state, or for the last ones, wants those that have ended too.
    let all =
        args.all || last.is_some() || !choice.statuses.is_empty() || !choice.exited.is_empty();
    let mut chosen = match (all, last.filter(|_| args.filters.is_empty())) {
        (true, Some(most)) => containers.list_newest(most).await?,
        (true, None) => containers.list().await?,
        (false, _) => containers.list_alive().await?,
    };
    chosen.retain(|one| (all || one.state.status.is_alive()) && choice.takes(one));
    chosen.truncate(last.unwrap_or(usize::MAX));
    let names = match args.quiet {
        true => HashMap::new(),
        false => image_names(&containers, &chosen).await?,
    };
    let links = match args.no_trunc {
        true => links(&containers).await?,
        false => HashMap::new(),
    };
    let sized = args.size || format.shows("Size");
    let now = when::now();
    let mut rows = Vec::new();
    for container in &chosen {
        let sizes = match sized && !args.quiet {
            true => Some(containers.sizes(container).await?),
            false => None,
        };
        let image = names.get(&container.id).cloned().unwrap_or_default();
        let mut row = rows::row(container, image, sizes, (args.no_trunc, now));
        if let Some(more) = links.get(&container.name) {
            let names = format!("{},{}", more.join(","), container.name);
            row.insert("Names".to_owned(), names.into());
        }
        rows.push(row);
    }
    let text = format.render(&rows, &HEADERS)?;
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// What others call those that they are linked to, by the names of these.
async fn links(containers: &Containers) -> Result<HashMap<String, Vec<String>>, Failure> {
    let mut links: HashMap<String, Vec<String>> = HashMap::new();
    for container in containers.list().await? {
        for (other, name) in container.linked_names() {
            links.entry(other).or_default().push(name);
        }
    }
    Ok(links)
}

/// What the images of containers are called: as they were typed, unless that is another's name by
/// now; by the containers' IDs.
///
/// # Errors
/// Those of the store.
pub async fn image_names(
    containers: &Containers,
    chosen: &[Container],
) -> Result<HashMap<String, String>, Failure> {
    let store = containers.store();
    let mut known: HashMap<&str, Option<oci::Digest>> = HashMap::new();
    let mut names = HashMap::new();
    for container in chosen {
        let typed = container.record.config.image.as_str();
        if !known.contains_key(typed) {
            known.insert(typed, store.resolve(typed).await.ok().map(|image| image.id));
        }
        let is_its = known.get(typed).and_then(Option::as_ref) == Some(&container.image);
        let name = match is_its {
            true => typed.to_owned(),
            false => container.image.short().to_owned(),
        };
        names.insert(container.id.clone(), name);
    }
    Ok(names)
}

async fn choice(containers: &Containers, filters: &Filters) -> Result<Choice, Failure> {
    let all = |key: &str| filters.all(key).map(str::to_owned).collect::<Vec<_>>();
    let mut choice = Choice {
        ids: all("id"),
        names: all("name"),
        labels: all("label"),
        networks: all("network"),
        volumes: all("volume"),
        ..Choice::default()
    };
    for text in filters.all("status") {
        let status = text.parse::<Status>().map_err(|()| {
            Failure::new(format!(
                "invalid filter 'status={text}': invalid value for state ({text}): must be one of \
                 created, running, paused, restarting, removing, exited, dead"
            ))
        })?;
        choice.statuses.push(status);
    }
    for text in filters.all("health") {
        let all = [Wellness::Starting, Wellness::Healthy, Wellness::Unhealthy];
        let known = all.into_iter().find(|one| one.as_str() == text);
        if known.is_none() && text != "none" {
            return Err(Failure::new(format!(
                "invalid filter 'health={text}': invalid value for health ({text}): must be one \
                 of none, starting, healthy, unhealthy"
            )));
        }
        choice.health.push(known);
    }
    for text in filters.all("exited") {
        let code = text.parse::<i32>().map_err(|_| {
            let text = go_quote(text);
            let bare = text.trim_matches('"');
            Failure::new(format!(
                "invalid filter 'exited={bare}': strconv.Atoi: parsing {text}: invalid syntax"
            ))
        });
        choice.exited.push(code?);
    }
    for (key, ports) in [
        ("publish", &mut choice.published),
        ("expose", &mut choice.exposed),
    ] {
        for text in filters.all(key) {
            ports.push(Ports::parse(text).ok_or_else(|| {
                let number = text.split('/').next().unwrap_or(text);
                let number = number.split('-').find(|part| part.parse::<u16>().is_err());
                Failure::new(format!(
                    "error while looking up for {key} {text}: strconv.ParseUint: parsing {}: \
                     invalid syntax",
                    go_quote(number.unwrap_or(text))
                ))
            })?);
        }
    }
    choice.are_tasks = filters.boolean("is-task").map_err(|_| {
        let values: Vec<&str> = filters.all("is-task").collect();
        Failure::new(format!("invalid filter 'is-task=[{}]'", values.join(" ")))
    })?;
    for text in filters.all("ancestor") {
        let image = containers.store().resolve(text).await;
        // An image that is not there is nobody's.
        choice
            .images
            .push(image.map_or_else(|_| text.to_owned(), |image| image.id.to_string()));
    }
    for text in filters.all("before") {
        choice.before = Some(containers.find(text).await?.created);
    }
    for text in filters.all("since") {
        choice.since = Some(containers.find(text).await?.created);
    }
    Ok(choice)
}
