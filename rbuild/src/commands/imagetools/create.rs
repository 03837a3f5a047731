//! `rbuild imagetools create`

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use client::Client;
use client::resolve::Document;
use images::remote;
use oci::manifest::{Index, ManifestDocument};
use oci::media_type::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX};
use oci::{Descriptor, Digest, MediaType, Platform, Reference};

use super::missing::not_found;
use crate::app::App;
use crate::commands::pull::usage;
use crate::failure::{Failure, Outcome};
use crate::frontend::annotations::Annotations;
use crate::frontend::arguments::platforms;

/// `rbuild imagetools create`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild imagetools create -t registry.lan/app:v1 registry.lan/app:v1-amd64 registry.lan/app:v1-arm64
  rbuild imagetools create -t registry.lan/app:v1 --append registry.lan/app:v1-s390x
  rbuild imagetools create -t registry.lan/prod/app:v1 registry.lan/test/app:v1   copy all of it")]
pub struct CreateArgs {
    /// Images or indexes in registries, or digests in the repository of the first tag
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// A name for the result; may be repeated
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,
    /// Add to what the first tag leads to
    #[arg(long)]
    pub append: bool,
    /// Print the result instead of pushing it
    #[arg(long)]
    pub dry_run: bool,
    /// Read the descriptor of a source from a file; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Annotate the index, or with manifest-descriptor[PLATFORM]: its entries; may be repeated
    #[arg(long = "annotation", value_name = "[TYPE:]KEY=VALUE")]
    pub annotations: Vec<String>,
    /// Only the images for this platform; may be repeated
    #[arg(short, long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// A single image is put into an index too; `=false` copies it as it is
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true",
          default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub prefer_index: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    progress: Option<String>,
}

/// Something that is to be part of the result.
struct Source {
    /// Where it is.
    reference: Reference,
    document: Document,
    /// What its descriptor says that its manifest does not.
    given: Option<Descriptor>,
}

/// An entry of the result, and where its manifest is.
struct Part {
    entry: Descriptor,
    from: Reference,
}

/// Runs the command.
pub async fn run(app: &App, client: &Client, args: CreateArgs) -> Outcome {
    let mut tags = Vec::new();
    for tag in &args.tags {
        let tag: Reference = tag.parse().map_err(|e| usage(tag, e))?;
        tags.push(tag.or_latest());
    }
    if tags.is_empty() && !args.dry_run {
        return Err(Failure::new(
            "can't push with no tags specified, please set --tag or --dry-run",
        ));
    }
    if args.sources.is_empty() && args.files.is_empty() {
        return Err(Failure::new("no sources specified"));
    }
    let mut annotations = Annotations::default();
    for text in &args.annotations {
        // Here the index is what is made.
        let text = match text.split_once('=').is_some_and(|(k, _)| k.contains(':')) {
            true => text.clone(),
            false => format!("index:{text}"),
        };
        annotations.flag(&text).map_err(Failure::new)?;
    }
    let wanted = match args.platform.is_empty() {
        true => None,
        false => Some(platforms(&args.platform)?),
    };
    let sources = sources(client, &args, &tags).await?;
    let parts = parts(client, &sources, wanted.as_deref()).await?;
    let (media_type, bytes) = result(&args, &sources, &parts, &annotations, wanted.is_some())?;
    if args.dry_run {
        app.printer.line(String::from_utf8_lossy(&bytes));
        return Ok(());
    }
    let digest = Digest::sha256(&bytes);
    let note = |text: String| match args.progress.as_deref() {
        Some("quiet") => {}
        _ => app.printer.note(text),
    };
    for tag in &tags {
        for part in &parts {
            let (digest, from, to) = (&part.entry.digest, part.from.familiar(), tag.familiar());
            note(format!("copying {digest} from {from} to {to}"));
            if part.from.repository() != tag.repository() {
                let document = client
                    .manifest(&part.from.with_digest(digest.clone()))
                    .await?;
                remote::copy(client, &document, &part.from, tag).await?;
            }
        }
        note(format!("pushing {digest} to {}", tag.familiar()));
        client
            .put_manifest(tag, Bytes::from(bytes.clone()), &media_type)
            .await?;
    }
    Ok(())
}

async fn sources(
    client: &Client,
    args: &CreateArgs,
    tags: &[Reference],
) -> Result<Vec<Source>, Failure> {
    let mut names: Vec<(Reference, Option<Descriptor>)> = Vec::new();
    if args.append {
        match tags.first() {
            Some(first) => names.push((first.clone(), None)),
            None => {
                return Err(Failure::new(
                    "--append needs a tag to add to: give one with -t",
                ));
            }
        }
    }
    let in_first = |descriptor: Descriptor| match tags.first() {
        Some(tag) => Ok((tag.with_digest(descriptor.digest.clone()), Some(descriptor))),
        None => {
            let digest = descriptor.digest;
            let text = format!("{digest} has no repository: give one with -t");
            Err(Failure::new(text))
        }
    };
    for path in &args.files {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(format!("{}: no descriptor: {e}", path.display()))
        };
        let bytes = tokio::fs::read(path).await.map_err(|e| failed(&e))?;
        let descriptor = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
        names.push(in_first(descriptor)?);
    }
    for text in &args.sources {
        if let Ok(digest) = text.parse::<Digest>() {
            names.push(in_first(Descriptor::new("", digest, 0))?);
        } else if text.starts_with('{') {
            names.push(in_first(serde_json::from_str(text)?)?);
        } else {
            let reference: Reference = text.parse().map_err(|e| usage(text, e))?;
            names.push((reference.or_latest(), None));
        }
    }
    let mut sources = Vec::new();
    for (reference, given) in names {
        let document = client.manifest(&reference).await;
        let document = document.map_err(|e| not_found(&reference.familiar(), e))?;
        sources.push(Source {
            reference,
            document,
            given,
        });
    }
    Ok(sources)
}

/// The entries of the result, each manifest once.
async fn parts(
    client: &Client,
    sources: &[Source],
    wanted: Option<&[Platform]>,
) -> Result<Vec<Part>, Failure> {
    let mut parts: Vec<Part> = Vec::new();
    for source in sources {
        let mut entries = Vec::new();
        match &source.document.content {
            ManifestDocument::Index(index) => entries.extend(index.manifests.iter().cloned()),
            ManifestDocument::Manifest(manifest) => {
                let mut entry = source.document.descriptor.clone();
                if let Some(given) = &source.given {
                    entry.platform.clone_from(&given.platform);
                    entry.annotations.clone_from(&given.annotations);
                }
                if entry.platform.is_none() {
                    let found = remote::platform(client, &source.reference, manifest);
                    entry.platform = found.await?;
                }
                entries.push(entry);
            }
        }
        for entry in entries {
            let fits = |wanted: &[Platform]| {
                let of = entry.platform.as_ref();
                of.is_some_and(|of| wanted.iter().any(|wanted| of.satisfies(wanted)))
            };
            let known = parts.iter().any(|part| part.entry.digest == entry.digest);
            if !known && wanted.is_none_or(fits) {
                let from = source.reference.clone();
                parts.push(Part { entry, from });
            }
        }
    }
    match parts.is_empty() {
        true => Err(Failure::new(
            "no image of the sources is for these platforms",
        )),
        false => Ok(parts),
    }
}

/// The document: a copy of the only source where nothing is changed, else an index.
fn result(
    args: &CreateArgs,
    sources: &[Source],
    parts: &[Part],
    annotations: &Annotations,
    filtered: bool,
) -> Result<(MediaType, Vec<u8>), Failure> {
    if let ([only], true, false) = (sources, annotations.is_empty(), filtered) {
        let index = matches!(only.document.content, ManifestDocument::Index(_));
        if index || !args.prefer_index {
            let media_type = only.document.descriptor.media_type.clone();
            return Ok((media_type, only.document.bytes.to_vec()));
        }
    }
    let docker: MediaType = DOCKER_MANIFEST.into();
    let all_docker = parts
        .iter()
        .all(|part| part.entry.media_type.is_same(&docker));
    let kind = match all_docker {
        true => DOCKER_MANIFEST_LIST,
        false => OCI_INDEX,
    };
    annotations.only_of_index().map_err(Failure::new)?;
    let none = BTreeMap::new();
    let manifests = parts.iter().map(|part| {
        let mut entry = part.entry.clone();
        if let (Some(platform), false) = (&part.entry.platform, all_docker) {
            entry
                .annotations
                .extend(annotations.manifest_descriptor(platform));
        }
        entry
    });
    let index = Index {
        schema_version: 2,
        media_type: Some(kind.into()),
        artifact_type: None,
        manifests: manifests.collect(),
        subject: None,
        // Docker's lists have none.
        annotations: match all_docker {
            true => none,
            false => annotations.index(&[]).index,
        },
    };
    Ok((kind.into(), serde_json::to_vec_pretty(&index)?))
}
