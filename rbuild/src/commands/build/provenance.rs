//! What `--metadata-file` tells of how an image came to be, in the form that buildx writes there:
//! the predicate of a SLSA provenance statement (version 0.2) by BuildKit. It is told to whoever
//! built; nothing of it is in the image.

use std::path::Path;

use builder::plan::{ImageName, ImageRequest};
use oci::{Digest, ImageConfig, Platform, Reference};
use serde_json::{Map, Value, json};
use store::Store;

use super::flags::BuildFlags;
use crate::failure::Failure;

/// How much is told, as buildx reads it from `BUILDX_METADATA_PROVENANCE`.
const WANTED: &str = "BUILDX_METADATA_PROVENANCE";

/// Whether it is wanted at all: `disabled` says that it is not.
pub fn is_wanted() -> bool {
    let said = std::env::var(WANTED).unwrap_or_default();
    !matches!(said.as_str(), "disabled" | "false" | "0")
}

/// An image that was built upon or copied from, and the digest that its registry knows it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// Its name.
    reference: Reference,
    /// Its registry's digest of it, where that is known.
    digest: Option<Digest>,
    /// What it is for.
    platform: Platform,
}

/// The images of registries that a build has found, which are known by digests of theirs.
///
/// # Errors
/// The store's.
pub async fn materials<'i>(
    store: &Store,
    images: impl Iterator<Item = (&'i ImageRequest, &'i ImageConfig)>,
) -> Result<Vec<Material>, Failure> {
    let mut found = Vec::new();
    for (wanted, _) in images {
        let ImageName::Reference(reference) = &wanted.name else {
            continue;
        };
        let content = store.find(reference).await?;
        let digests = content.iter().flat_map(|content| content.repo_digests());
        let mut own = digests.filter(|known| known.repository() == reference.repository());
        let known = own.find_map(|known| known.digest().cloned());
        found.push(Material {
            digest: known.or_else(|| reference.digest().cloned()),
            reference: reference.clone(),
            platform: wanted.platform.clone(),
        });
    }
    found.sort();
    Ok(found)
}

impl Material {
    /// As a package URL.
    fn value(&self) -> Value {
        let name = self.reference.repository().familiar();
        let version = match (self.reference.tag(), self.reference.digest()) {
            (Some(tag), _) => format!("@{tag}"),
            (None, Some(digest)) => format!("@{digest}"),
            (None, None) => String::new(),
        };
        let platform = self.platform.to_string().replace('/', "%2F");
        let mut material = Map::new();
        let uri = format!("pkg:docker/{name}{version}?platform={platform}");
        material.insert("uri".to_owned(), uri.into());
        if let Some(digest) = &self.digest {
            material.insert("digest".to_owned(), json!({"sha256": digest.hex()}));
        }
        Value::Object(material)
    }
}

/// The predicate for a build with these flags; `context` is its address without a password, if it
/// is none of this machine's folders.
pub fn predicate(args: &BuildFlags, context: Option<&str>, materials: &[Material]) -> Value {
    let file = args.file.as_deref().filter(|file| *file != "-");
    let file = file.and_then(|file| Path::new(file).file_name()?.to_str());
    let mut source = Map::new();
    if let Some(uri) = context {
        source.insert("uri".to_owned(), uri.into());
    }
    source.insert("entryPoint".to_owned(), file.unwrap_or("Dockerfile").into());
    let mut parameters = Map::new();
    parameters.insert("frontend".to_owned(), "dockerfile.v0".into());
    let typed = arguments(args);
    if !typed.is_empty() {
        parameters.insert("args".to_owned(), Value::Object(typed));
    }
    if context.is_none() {
        let locals = json!([{"name": "context"}, {"name": "dockerfile"}]);
        parameters.insert("locals".to_owned(), locals);
    }
    let mut predicate = json!({
        "builder": {"id": ""},
        "buildType": "https://mobyproject.org/buildkit@v1",
    });
    if !materials.is_empty() {
        predicate["materials"] = materials.iter().map(Material::value).collect();
    }
    predicate["invocation"] = json!({
        "configSource": source,
        "parameters": parameters,
        "environment": {"platform": Platform::host().to_string()},
    });
    predicate
}

/// What was typed, by the names that the frontend has for it. What only concerns this machine is
/// left out there, and secrets are.
fn arguments(args: &BuildFlags) -> Map<String, Value> {
    let mut typed = Map::new();
    let mut put = |name: String, value: &str| drop(typed.insert(name, value.into()));
    for arg in &args.build_args {
        match arg.split_once('=') {
            Some((name, value)) => put(format!("build-arg:{name}"), value),
            None => {
                if let Ok(value) = std::env::var(arg) {
                    put(format!("build-arg:{arg}"), &value);
                }
            }
        }
    }
    for label in &args.labels {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        put(format!("label:{name}"), value);
    }
    if !args.target.is_empty() {
        put("target".to_owned(), &args.target);
    }
    match (args.no_cache, args.no_cache_filter.as_slice()) {
        (true, _) => put("no-cache".to_owned(), ""),
        (false, []) => {}
        (false, stages) => put("no-cache".to_owned(), &stages.join(",")),
    }
    if !args.steps.add_hosts.is_empty() {
        put("add-hosts".to_owned(), &args.steps.add_hosts.join(","));
    }
    if args.network != "default" {
        put("force-network-mode".to_owned(), &args.network);
    }
    if let Some(size) = &args.limits.shm_size
        && let Some(bytes) = golang::size::parse_size(size)
    {
        put("shm-size".to_owned(), &bytes.to_string());
    }
    if !args.limits.ulimits.is_empty() {
        put("ulimit".to_owned(), &args.limits.ulimits.join(","));
    }
    typed.sort_keys();
    typed
}
