//! `rbuild inspect`

use clap::Args;
use containers::engine::Containers;
use oci::config::Config;
use oci::{ImageConfig, Platform, Reference};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{Content, Image, Snapshot, Store, StoredIndex};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use golang::template::{Template, Types};

/// `rbuild inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild inspect app:v1                                    all of it, as JSON
  rbuild inspect -f '{{.Id}} {{.Os}}/{{.Architecture}}' app:v1
  rbuild inspect -f '{{json .Config.Cmd}}' app:v1
  rbuild inspect -f '{{range .Config.Env}}{{println .}}{{end}}' app:v1
  rbuild inspect -f '{{index .Config.Labels \"maintainer\"}}' app:v1")]
pub struct InspectArgs {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "NAME", required = true)]
    pub images: Vec<String>,

    /// A Go template, or `json` for JSON without line breaks
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// The image for this platform, of one that is there for several [default: this machine's, with
    /// what the index lists]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// What to look for: container, image, network or volume [default: containers, then images,
    /// networks and volumes]
    #[arg(long = "type", value_name = "KIND")]
    pub kind: Option<String>,

    /// Show how large containers are
    #[arg(short, long)]
    pub size: bool,
}

/// `--type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Image,
    Container,
    Network,
    Volume,
}

impl Kind {
    /// Reads it; docker's others are of swarms.
    fn parse(text: &str) -> Result<Option<Self>, Failure> {
        match text {
            "" => Ok(None),
            "image" => Ok(Some(Self::Image)),
            "container" => Ok(Some(Self::Container)),
            "network" => Ok(Some(Self::Network)),
            "volume" => Ok(Some(Self::Volume)),
            other => Err(Failure::new(format!(
                "unknown type: {other:?}: must be one of \"container\", \"image\", \"network\", \
                 \"volume\""
            ))),
        }
    }
}

/// What Go writes for a time that is not known.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

const TYPES: Types = Types {
    maps: &[
        "Annotations",
        "DriverOpts",
        "Labels",
        "Options",
        "Sysctls",
        "Volumes",
        "ExposedPorts",
        "Data",
        "Networks",
        "Ports",
        "PortBindings",
    ],
    lists: &[
        "Aliases",
        "Binds",
        "CapAdd",
        "CapDrop",
        "Cmd",
        "Devices",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Entrypoint",
        "Env",
        "ExecIDs",
        "ExtraHosts",
        "GroupAdd",
        "Layers",
        "Links",
        "OnBuild",
        "RepoDigests",
        "RepoTags",
        "SecurityOpt",
        "Shell",
        "Test",
        "Ulimits",
        "VolumesFrom",
    ],
    durations: &["Interval", "Timeout", "StartPeriod", "StartInterval"],
    texts: &["StopSignal", "Variant", "OsVersion"],
    pointers: &[
        "Health",
        "Healthcheck",
        "SizeRootFs",
        "SizeRw",
        "StopTimeout",
    ],
};

/// Runs the command.
pub async fn run(app: &App, args: InspectArgs) -> Outcome {
    let kind = Kind::parse(args.kind.as_deref().unwrap_or_default())?;
    of_kind(app, args, kind).await
}

async fn of_kind(app: &App, args: InspectArgs, kind: Option<Kind>) -> Outcome {
    let template = match args.format.as_deref() {
        None => None,
        Some("json") => Some(parsed("{{json .}}")?),
        Some(text) => Some(parsed(text)?),
    };
    let store = app.store_to_read().await?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut failed = None;
    let containers = Containers::new(store.clone());
    for name in &args.images {
        if kind == Some(Kind::Volume) {
            match volume(&containers, name).await? {
                Some(shown) => found.push(shown),
                None => missing.push(name),
            }
            continue;
        }
        if kind == Some(Kind::Network) {
            match network(&containers, name).await? {
                Some(shown) => found.push(shown),
                None => missing.push(name),
            }
            continue;
        }
        if kind != Some(Kind::Image) {
            match container(&containers, name, args.size).await {
                Ok(Some(shown)) => {
                    found.push(shown);
                    continue;
                }
                Ok(None) if kind == Some(Kind::Container) => {
                    missing.push(name);
                    continue;
                }
                Ok(None) => {}
                Err(failure) => {
                    app.printer.error(&failure.message);
                    failed = Some(failure.code);
                    continue;
                }
            }
        }
        match store.content(name).await {
            Ok(content) => {
                let shown = describe(&store, name, content, args.platform.as_ref()).await;
                match shown {
                    Ok(shown) => found.push(shown),
                    Err(failure) => {
                        app.printer.error(&failure.message);
                        failed = Some(failure.code);
                    }
                }
            }
            Err(store::Error::NoSuchImage { .. }) if kind.is_none() => {
                let other = match network(&containers, name).await? {
                    Some(shown) => Some(shown),
                    None => volume(&containers, name).await?,
                };
                match other {
                    Some(shown) => found.push(shown),
                    None => missing.push(name),
                }
            }
            Err(store::Error::NoSuchImage { .. }) => missing.push(name),
            Err(error) => {
                let failure = Failure::from(error);
                app.printer.error(&failure.message);
                failed = Some(failure.code);
            }
        }
    }
    match &template {
        // An empty list is a list as well.
        _ if found.is_empty() && args.format.as_deref() == Some("json") => app.printer.line("[]"),
        Some(template) => {
            for image in &found {
                app.printer.line(template.render(image, &TYPES)?);
            }
        }
        None => app.printer.line(indented(&Value::Array(found))?),
    }
    for name in &missing {
        app.printer.note(format!("Error: {}", no_such(kind, name)));
        failed = Some(1);
    }
    match failed {
        // Told already, each in its turn.
        Some(code) => Err(Failure::with_code("", code)),
        None => Ok(()),
    }
}

/// What is told of a name that is nobody's, in docker's words.
fn no_such(kind: Option<Kind>, name: &str) -> String {
    match kind {
        Some(Kind::Image) => match name.parse::<Reference>() {
            Ok(reference) => format!("No such image: {}", reference.or_latest().familiar()),
            Err(_) => format!("No such image: {name}"),
        },
        Some(Kind::Container) => format!("No such container: {name}"),
        Some(Kind::Network) => format!("network {name} not found"),
        Some(Kind::Volume) => format!("get {name}: no such volume"),
        None => format!("No such object: {name}"),
    }
}

/// `rbuild image inspect`: images only.
pub async fn run_images(app: &App, args: InspectArgs) -> Outcome {
    of_kind(app, args, Some(Kind::Image)).await
}

/// `rbuild container inspect`: containers only.
pub async fn run_containers(app: &App, args: InspectArgs) -> Outcome {
    of_kind(app, args, Some(Kind::Container)).await
}

/// `rbuild volume inspect`: volumes only, with docker's sentence about those that are missing.
pub async fn run_volumes(app: &App, names: Vec<String>, format: Option<String>) -> Outcome {
    let template = match format.as_deref() {
        None => None,
        Some("json") => Some(parsed("{{json .}}")?),
        Some(text) => Some(parsed(text)?),
    };
    let containers = app.containers_to_read().await?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &names {
        match volume(&containers, name).await? {
            Some(shown) => found.push(shown),
            None => missing.push(store::Error::NoSuchVolume(name.clone())),
        }
    }
    match &template {
        Some(template) => {
            for volume in &found {
                app.printer.line(template.render(volume, &TYPES)?);
            }
        }
        None => app.printer.line(indented(&Value::Array(found))?),
    }
    for error in &missing {
        app.printer.error(error);
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::with_code("", 1)),
    }
}

/// A template; docker has an exit code of its own for what is none.
///
/// # Errors
/// What is none.
pub fn parsed(text: &str) -> Result<Template, Failure> {
    Template::parse(text).map_err(|error| Failure::with_code(Failure::from(error).message, 64))
}

/// A volume, if there is one of this name.
async fn volume(containers: &Containers, name: &str) -> Result<Option<Value>, Failure> {
    match containers.volume(name).await {
        Ok(volume) => Ok(Some(volume.document())),
        Err(containers::Error::Store(store::Error::NoSuchVolume(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A network, if there is one of this name.
async fn network(containers: &Containers, name: &str) -> Result<Option<Value>, Failure> {
    // Who may not see networks finds none.
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    match containers.find_network(name).await {
        Ok(network) => Ok(Some(containers.inspect_network(&network).await?)),
        Err(containers::Error::Store(store::Error::NoSuchNetwork(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A container, if there is one of this name.
async fn container(
    containers: &Containers,
    name: &str,
    sizes: bool,
) -> Result<Option<Value>, Failure> {
    match containers.find(name).await {
        Ok(container) => Ok(Some(containers.inspect(&container, sizes).await?)),
        Err(containers::Error::Store(store::Error::NoSuchContainer(_))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// JSON with docker's four spaces.
///
/// # Errors
/// What is no JSON.
pub fn indented(value: &Value) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

async fn describe(
    store: &Store,
    name: &str,
    content: Content,
    platform: Option<&Platform>,
) -> Result<Value, Failure> {
    let index = match &content {
        Content::Index(index) if platform.is_none() => Some(index.clone()),
        _ => None,
    };
    let image = store.image_of(name, content, platform).await?;
    let mut shown = describe_image(store, &image).await?;
    if let (Some(index), Value::Object(shown)) = (index, &mut shown) {
        describe_index(&index, shown);
    }
    Ok(shown)
}

/// An index is shown as the image that stands for it, with its own names and what it lists.
fn describe_index(index: &StoredIndex, shown: &mut Map<String, Value>) {
    let names =
        |list: &[Reference]| -> Vec<String> { list.iter().map(Reference::familiar).collect() };
    shown.insert("Id".to_owned(), json!(index.id));
    shown.insert("RepoTags".to_owned(), json!(names(&index.tags)));
    shown.insert("RepoDigests".to_owned(), json!(names(&index.repo_digests)));
    shown.insert(
        "Descriptor".to_owned(),
        json!({
            "mediaType": index.media_type,
            "digest": index.id,
            "size": index.document_size,
        }),
    );
    let entries = index.entries.iter().map(|entry| {
        json!({
            "Descriptor": entry.manifest,
            "Available": entry.image.is_some() || entry.present,
            "ImageId": entry.image,
        })
    });
    shown.insert("Manifests".to_owned(), entries.collect());
}

async fn describe_image(store: &Store, image: &Image) -> Result<Value, Failure> {
    let config: ImageConfig = serde_json::from_slice(&store.config(&image.id).await?)?;
    let snapshots = match image.chain_id() {
        Some(chain_id) => store.chain(&chain_id).await?,
        None => Vec::new(),
    };
    let mut shown = document(image, &config, &snapshots);
    if let Some(parent) = store.parent(&image.id).await? {
        shown["Parent"] = json!(parent);
    }
    Ok(shown)
}

fn document(image: &Image, config: &ImageConfig, snapshots: &[Snapshot]) -> Value {
    let names =
        |list: &[Reference]| -> Vec<String> { list.iter().map(Reference::familiar).collect() };
    let text = |key: &str| match config.other.get(key) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let comment = match text("comment") {
        comment if !comment.is_empty() => comment,
        _ => {
            let last = config
                .history
                .last()
                .and_then(|entry| entry.comment.clone());
            last.unwrap_or_default()
        }
    };
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("Id", json!(image.id));
    put("RepoTags", json!(names(&image.tags)));
    put("RepoDigests", json!(names(&image.repo_digests)));
    put("Parent", json!(""));
    put("Comment", json!(comment));
    put(
        "Created",
        json!(config.created.as_deref().unwrap_or(ZERO_TIME)),
    );
    put("DockerVersion", json!(text("docker_version")));
    put(
        "Author",
        json!(config.author.as_deref().unwrap_or_default()),
    );
    put("Config", run_config(config.config.as_ref()));
    put("Architecture", json!(config.architecture));
    if let Some(variant) = &config.variant {
        put("Variant", json!(variant));
    }
    put("Os", json!(config.os));
    if let Some(version) = &config.os_version {
        put("OsVersion", json!(version));
    }
    put("Size", json!(image.size));
    put("VirtualSize", json!(image.size));
    put(
        "GraphDriver",
        json!({"Data": driver(snapshots), "Name": "overlay2"}),
    );
    put(
        "RootFS",
        json!({"Type": config.rootfs.kind, "Layers": image.layers}),
    );
    // Nobody writes down when a tag was given; Go's zero time says so.
    put("Metadata", json!({"LastTagTime": ZERO_TIME}));
    Value::Object(out)
}

/// Where the layers are unpacked; `null` when they are not.
fn driver(snapshots: &[Snapshot]) -> Value {
    let Some((top, below)) = snapshots.split_first() else {
        return Value::Null;
    };
    let paths: Vec<String> = below
        .iter()
        .map(|s| s.fs_path.display().to_string())
        .collect();
    let mut data = Map::new();
    if !paths.is_empty() {
        data.insert("LowerDir".to_owned(), paths.join(":").into());
    }
    let upper = top.fs_path.display().to_string();
    data.insert("UpperDir".to_owned(), upper.into());
    Value::Object(data)
}

/// A container's configuration with all of docker's fields.
fn run_config(config: Option<&Config>) -> Value {
    let Some(config) = config else {
        return Value::Null;
    };
    // Go's nil lists and maps.
    let list = |items: &[String]| match items {
        [] => Value::Null,
        items => json!(items),
    };
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("Hostname", json!(""));
    put("Domainname", json!(""));
    put("User", json!(config.user));
    for name in ["AttachStdin", "AttachStdout", "AttachStderr"] {
        put(name, json!(false));
    }
    if !config.exposed_ports.is_empty() {
        put("ExposedPorts", json!(config.exposed_ports));
    }
    for name in ["Tty", "OpenStdin", "StdinOnce"] {
        put(name, json!(false));
    }
    put("Env", list(&config.env));
    put("Cmd", json!(config.cmd));
    if let Some(check) = &config.healthcheck {
        put("Healthcheck", json!(check));
    }
    if let Some(true) = config.args_escaped {
        put("ArgsEscaped", json!(true));
    }
    put("Image", json!(""));
    put(
        "Volumes",
        match config.volumes.is_empty() {
            true => Value::Null,
            false => json!(config.volumes),
        },
    );
    put("WorkingDir", json!(config.working_dir));
    put("Entrypoint", json!(config.entrypoint));
    put("OnBuild", list(&config.on_build));
    put(
        "Labels",
        match config.labels.is_empty() {
            true => Value::Null,
            false => json!(config.labels),
        },
    );
    if let Some(signal) = &config.stop_signal {
        put("StopSignal", json!(signal));
    }
    if let Some(shell) = &config.shell {
        put("Shell", json!(shell));
    }
    // What the image says of them goes before what is always there, and what is not known stays.
    for (name, value) in &config.other {
        out.insert(name.clone(), value.clone());
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::{Digest, Platform};

    fn example() -> Value {
        let config: ImageConfig = serde_json::from_value(json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-31T12:00:00Z",
            "author": "me",
            "comment": "Imported from -",
            "config": {
                "Env": ["A=b"],
                "Cmd": ["sh"],
                "ExposedPorts": {"80/tcp": {}},
                "Labels": {"a": "b"},
                "StopTimeout": 5
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::empty()]}
        }))
        .unwrap();
        let image = Image {
            id: Digest::sha256(b"config"),
            created: config.created.clone(),
            platform: Platform::host(),
            size: 42,
            manifest: None,
            layers: config.rootfs.diff_ids.clone(),
            tags: vec!["app:v1".parse().unwrap()],
            repo_digests: Vec::new(),
            listed: false,
        };
        document(&image, &config, &[])
    }

    #[test]
    fn has_the_shape_of_dockers() {
        insta::assert_snapshot!(indented(&json!([example()])).unwrap());
    }

    #[test]
    fn templates_see_docker_types() {
        for (template, text) in [
            ("{{.Config.Entrypoint}} {{.Config.Volumes}}", "[] map[]"),
            ("{{.Config.Labels.a}} {{index .Config.Labels \"x\"}}", "b "),
            (
                "{{.Config.Healthcheck}}{{.Config.StopSignal}}{{.Config.Shell}}{{.Variant}}",
                "<nil>[]",
            ),
            ("{{.RootFS.Type}} {{len .RootFS.Layers}}", "layers 1"),
            ("{{json .Config.OnBuild}}", "null"),
            ("{{join .RepoTags \",\"}}", "app:v1"),
        ] {
            let shown = Template::parse(template)
                .unwrap()
                .render(&example(), &TYPES);
            assert_eq!(shown.unwrap(), text, "{template}");
        }
    }
}
