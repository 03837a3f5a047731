//! `rbuild manifest`: lists of images for several platforms, in docker's words.

mod lists;

use bytes::Bytes;
use clap::{Args, Subcommand};
use client::config::RegistrySettings;
use client::resolve::Document;
use client::{Client, Config};
use images::remote;
use oci::manifest::{Manifest, ManifestDocument};
use oci::media_type::{DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST};
use oci::{Descriptor, Digest, Platform, Reference};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::commands::pull::usage;
use crate::failure::{Failure, Outcome};
use lists::{Entry, Lists};

/// `rbuild manifest`
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Make a list of images that are in a registry
    Create(CreateArgs),
    /// Say what an image of a list is for
    Annotate(AnnotateArgs),
    /// Show a manifest, or a list
    Inspect(InspectArgs),
    /// Bring a list to its registry
    Push(PushArgs),
    /// Forget lists that were made here
    Rm(RmArgs),
}

/// `rbuild manifest create`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild manifest create registry.lan/app:v1 registry.lan/app:v1-amd64 registry.lan/app:v1-arm64
  rbuild manifest push --purge registry.lan/app:v1")]
pub struct CreateArgs {
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
    /// Images in a registry
    #[arg(value_name = "MANIFEST", required = true)]
    pub images: Vec<String>,
    /// Add to a list that there is
    #[arg(short, long)]
    pub amend: bool,
    /// Do not insist on TLS with certificates that are known
    #[arg(long)]
    pub insecure: bool,
}

/// `rbuild manifest annotate`
#[derive(Debug, Args)]
pub struct AnnotateArgs {
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
    /// The image in it
    #[arg(value_name = "MANIFEST")]
    pub image: String,
    /// The architecture
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// The operating system
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
    /// Features of the operating system, separated by commas
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    pub os_features: Vec<String>,
    /// The version of the operating system
    #[arg(long, value_name = "VERSION")]
    pub os_version: Option<String>,
    /// The variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
}

/// `rbuild manifest inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A list that was made here and an image of it; or one name, here or in a registry
    #[arg(value_name = "[MANIFEST_LIST] MANIFEST", required = true, num_args = 1..=2)]
    pub names: Vec<String>,
    /// With layers and platforms
    #[arg(short, long)]
    pub verbose: bool,
    /// Do not insist on TLS with certificates that are known
    #[arg(long)]
    pub insecure: bool,
}

/// `rbuild manifest push`
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
    /// Forget it once it is pushed
    #[arg(short, long)]
    pub purge: bool,
    /// Do not insist on TLS with certificates that are known
    #[arg(long)]
    pub insecure: bool,
}

/// `rbuild manifest rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Lists
    #[arg(value_name = "MANIFEST_LIST", required = true)]
    pub lists: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, command: ManifestCommand) -> Outcome {
    match command {
        ManifestCommand::Create(args) => create(app, args).await,
        ManifestCommand::Annotate(args) => annotate(args),
        ManifestCommand::Inspect(args) => inspect(app, args).await,
        ManifestCommand::Push(args) => push(app, args).await,
        ManifestCommand::Rm(args) => rm(&args),
    }
}

fn parse(name: &str) -> Result<Reference, Failure> {
    let reference: Reference = name.parse().map_err(|e| usage(name, e))?;
    Ok(reference.or_latest())
}

/// The client, and the lists beside its credentials.
fn open(insecure: bool, names: &[&Reference]) -> Result<(Client, Lists), Failure> {
    let mut config = Config::from_env()?;
    for name in names.iter().filter(|_| insecure) {
        let host = name.repository().domain();
        let settings = RegistrySettings {
            insecure: true,
            ..config.registries.get(host).cloned().unwrap_or_default()
        };
        config.registries.set(host, settings);
    }
    let lists = Lists::beside(config.docker.path())?;
    Ok((Client::new(config), lists))
}

fn no_such(name: &Reference) -> Failure {
    Failure::new(format!("no such manifest: {}", name.familiar()))
}

/// Fetches a manifest, in docker's words where there is none.
async fn fetch(client: &Client, name: &Reference) -> Result<Document, Failure> {
    match client.manifest(name).await {
        Ok(document) => Ok(document),
        Err(client::Error::ManifestNotFound { .. } | client::Error::RepositoryNotFound { .. }) => {
            Err(no_such(name))
        }
        Err(e) => Err(e.into()),
    }
}

/// An image of a registry as an entry.
async fn entry(
    client: &Client,
    name: &Reference,
    document: &Document,
    manifest: &Manifest,
    platform: Option<Platform>,
) -> Result<Entry, Failure> {
    let mut descriptor = document.descriptor.clone();
    descriptor.platform = match platform {
        Some(platform) => Some(platform),
        None => remote::platform(client, name, manifest).await?,
    };
    Ok(Entry::new(name.familiar(), descriptor, &document.bytes)?)
}

async fn create(app: &App, args: CreateArgs) -> Outcome {
    let list = parse(&args.list)?;
    let images: Vec<Reference> = args
        .images
        .iter()
        .map(|name| parse(name))
        .collect::<Result<_, _>>()?;
    let names: Vec<&Reference> = std::iter::once(&list).chain(&images).collect();
    let (client, lists) = open(args.insecure, &names)?;
    if lists.has(&list) && !args.amend {
        return Err(Failure::new(
            "refusing to amend an existing manifest list with no --amend flag",
        ));
    }
    let mut entries = Vec::new();
    for image in &images {
        if let Some(there) = lists.entry(&list, image)? {
            entries.push((image, there));
            continue;
        }
        let document = fetch(&client, image).await?;
        let ManifestDocument::Manifest(manifest) = &document.content else {
            let name = image.familiar();
            return Err(Failure::new(format!("{name} is a manifest list")));
        };
        let made = entry(&client, image, &document, manifest, None).await?;
        entries.push((image, made));
    }
    for (image, entry) in &entries {
        lists.save(&list, image, entry)?;
    }
    let name = list.familiar();
    app.printer.line(format!("Created manifest list {name}"));
    Ok(())
}

/// The pairs that docker takes.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm", "arm64"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64",
            "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

fn annotate(args: AnnotateArgs) -> Outcome {
    let (list, image) = (parse(&args.list)?, parse(&args.image)?);
    let (_, lists) = open(false, &[])?;
    let Some(mut entry) = lists.entry(&list, &image)? else {
        return Err(Failure::new(format!(
            "manifest for image {} does not exist in {}",
            image.familiar(),
            list.familiar()
        )));
    };
    let (os, arch) = (args.os.clone(), args.arch.clone());
    let mut platform = entry.descriptor.platform.unwrap_or_else(|| Platform {
        architecture: String::new(),
        os: String::new(),
        os_version: None,
        os_features: Vec::new(),
        variant: None,
    });
    if let Some(os) = args.os {
        platform.os = os;
    }
    if let Some(arch) = args.arch {
        platform.architecture = arch;
    }
    for feature in args.os_features {
        if !platform.os_features.contains(&feature) {
            platform.os_features.push(feature);
        }
    }
    platform.variant = args.variant.or(platform.variant);
    platform.os_version = args.os_version.or(platform.os_version);
    let known = PLATFORMS.iter().find(|(name, _)| *name == platform.os);
    if !known.is_some_and(|(_, all)| all.contains(&platform.architecture.as_str())) {
        let (os, arch) = (os.unwrap_or_default(), arch.unwrap_or_default());
        return Err(Failure::new(format!(
            "manifest entry for image has unsupported os/arch combination: {os}/{arch}"
        )));
    }
    entry.descriptor.platform = Some(platform);
    lists.save(&list, &image, &entry)
}

/// JSON as docker's client writes it.
fn indented(value: &impl Serialize, indent: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, formatter,
    ))?;
    Ok(out)
}

/// The document of a list, to the byte as docker's client makes it.
fn list_document(entries: &[Entry]) -> Result<(&'static str, Vec<u8>), Failure> {
    let first = entries.first().map(|entry| &entry.descriptor.media_type);
    let kind = match first.is_some_and(|kind| kind.is_same(&OCI_MANIFEST.into())) {
        true => OCI_INDEX,
        false => DOCKER_MANIFEST_LIST,
    };
    let manifests = entries.iter().map(|entry| {
        let Descriptor {
            media_type,
            digest,
            size,
            platform,
            ..
        } = &entry.descriptor;
        let mut listed = Map::new();
        listed.insert("mediaType".to_owned(), json!(media_type));
        listed.insert("size".to_owned(), json!(size));
        listed.insert("digest".to_owned(), json!(digest));
        listed.insert("platform".to_owned(), json!(platform));
        Value::Object(listed)
    });
    let mut document = Map::new();
    document.insert("schemaVersion".to_owned(), json!(2));
    document.insert("mediaType".to_owned(), json!(kind));
    document.insert("manifests".to_owned(), manifests.collect());
    Ok((kind, indented(&document, b"   ")?))
}

fn show(app: &App, bytes: &[u8]) {
    app.printer.line(String::from_utf8_lossy(bytes));
}

async fn inspect(app: &App, args: InspectArgs) -> Outcome {
    let names: Vec<Reference> = args
        .names
        .iter()
        .map(|name| parse(name))
        .collect::<Result<_, _>>()?;
    let all: Vec<&Reference> = names.iter().collect();
    let (client, lists) = open(args.insecure, &all)?;
    if let [list, image] = names.as_slice() {
        let Some(entry) = lists.entry(list, image)? else {
            let name = image.familiar();
            return Err(Failure::new(format!("No such manifest: {name}")));
        };
        return show_image(app, &entry, args.verbose);
    }
    let Some(name) = names.first() else {
        return Ok(());
    };
    let entries = lists.entries(name)?;
    if !entries.is_empty() {
        return show_list(app, &entries, args.verbose);
    }
    let document = fetch(&client, name).await?;
    let index = match &document.content {
        ManifestDocument::Manifest(manifest) => {
            let entry = entry(&client, name, &document, manifest, None).await?;
            return show_image(app, &entry, args.verbose);
        }
        ManifestDocument::Index(index) => index,
    };
    let mut entries = Vec::new();
    for listed in &index.manifests {
        let by_digest = name.with_digest(listed.digest.clone());
        let document = fetch(&client, &by_digest).await?;
        if let ManifestDocument::Manifest(manifest) = &document.content {
            let platform = listed.platform.clone();
            let made = entry(&client, name, &document, manifest, platform).await?;
            let reference = format!("{}@{}", name.familiar(), listed.digest);
            entries.push(Entry { reference, ..made });
        }
    }
    show_list(app, &entries, args.verbose)
}

fn show_image(app: &App, entry: &Entry, verbose: bool) -> Outcome {
    let shown = match verbose {
        true => indented(entry, b"\t")?,
        false => indented(&entry.manifest()?, b"\t")?,
    };
    show(app, &shown);
    Ok(())
}

fn show_list(app: &App, entries: &[Entry], verbose: bool) -> Outcome {
    let shown = match verbose {
        true => indented(&entries, b"\t")?,
        false => list_document(entries)?.1,
    };
    show(app, &shown);
    Ok(())
}

async fn push(app: &App, args: PushArgs) -> Outcome {
    let list = parse(&args.list)?;
    let (_, lists) = open(false, &[])?;
    let entries = lists.entries(&list)?;
    if entries.is_empty() {
        let name = list.familiar();
        return Err(Failure::new(format!("No such manifest: {name}")));
    }
    let mut sources = Vec::new();
    for entry in &entries {
        sources.push(parse(&entry.reference)?);
    }
    let names: Vec<&Reference> = std::iter::once(&list).chain(&sources).collect();
    let (client, _) = open(args.insecure, &names)?;
    for (entry, source) in entries.iter().zip(&sources) {
        if source.repository() == list.repository() {
            continue;
        }
        let digest = entry.descriptor.digest.clone();
        let document = fetch(&client, &source.with_digest(digest.clone())).await?;
        remote::copy(&client, &document, source, &list).await?;
        let target = list.with_digest(digest.clone());
        let name = target.familiar();
        app.printer
            .line(format!("Pushed ref {name} with digest: {digest}"));
    }
    let (kind, bytes) = list_document(&entries)?;
    let digest = Digest::sha256(&bytes);
    client
        .put_manifest(&list, Bytes::from(bytes), &kind.into())
        .await?;
    app.printer.line(digest);
    if args.purge {
        lists.remove(&list)?;
    }
    Ok(())
}

fn rm(args: &RmArgs) -> Outcome {
    let (_, lists) = open(false, &[])?;
    let mut missing = Vec::new();
    for name in &args.lists {
        let list = parse(name)?;
        match lists.has(&list) {
            true => lists.remove(&list)?,
            false => missing.push(format!("No such manifest: {}", list.familiar())),
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(missing.join("\n"))),
    }
}
