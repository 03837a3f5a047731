//! `rbuild imagetools inspect`

use std::fmt::Write as _;

use clap::Args;
use client::Client;
use client::resolve::Document;
use golang::template::{Template, Types};
use images::remote;
use oci::manifest::ManifestDocument;
use oci::{Index, Reference};
use serde_json::{Map, Value, json};

use super::missing::not_found;
use crate::app::App;
use crate::commands::pull::usage;
use crate::failure::{Failure, Outcome};
use crate::term::table::align_by;

/// `rbuild imagetools inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild imagetools inspect registry.lan/app:v1
  rbuild imagetools inspect --raw registry.lan/app:v1
  rbuild imagetools inspect --format '{{.Manifest.Digest}}' registry.lan/app:v1
  rbuild imagetools inspect --format '{{json .Image}}' registry.lan/app:v1")]
pub struct InspectArgs {
    /// The image or index
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print the manifest to the byte
    #[arg(long)]
    pub raw: bool,
    /// A Go template with the fields .Name .Manifest .Image
    #[arg(long, value_name = "FORMAT", conflicts_with = "raw")]
    pub format: Option<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
}

const TYPES: Types = Types {
    maps: &["Annotations", "Labels", "Volumes", "ExposedPorts"],
    lists: &[
        "Manifests",
        "Env",
        "Cmd",
        "Entrypoint",
        "History",
        "DiffIDs",
    ],
    durations: &[],
    texts: &[
        "Variant",
        "OSVersion",
        "Author",
        "User",
        "WorkingDir",
        "StopSignal",
    ],
    pointers: &["Platform"],
};

/// Runs the command.
pub async fn run(app: &App, client: &Client, args: InspectArgs) -> Outcome {
    let reference: Reference = args.name.parse().map_err(|e| usage(&args.name, e))?;
    let reference = reference.or_latest();
    let document = client.manifest(&reference).await;
    let document = document.map_err(|e| not_found(&reference.to_string(), e))?;
    if args.raw {
        app.printer.write_out(&document.bytes);
        return Ok(());
    }
    let text = match args.format.as_deref() {
        None => text(&reference, &document),
        Some(format) => formatted(client, &reference, &document, format).await?,
    };
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// As buildx shows it.
fn text(reference: &Reference, document: &Document) -> String {
    let descriptor = &document.descriptor;
    let mut head = format!(
        "Name:\t{reference}\nMediaType:\t{}\nDigest:\t{}\n",
        descriptor.media_type, descriptor.digest
    );
    let ManifestDocument::Index(index) = &document.content else {
        return align_by(&head, 0, 1);
    };
    head.push_str("\t\nManifests:\t\n");
    align_by(&head, 0, 1) + &entries(reference, index)
}

fn entries(reference: &Reference, index: &Index) -> String {
    let mut shown = String::new();
    // Lines that are aligned with each other.
    let mut block = String::new();
    for (n, entry) in index.manifests.iter().enumerate() {
        if n > 0 {
            block.push_str("\t\n");
        }
        let _ = writeln!(block, "  Name:\t{reference}@{}", entry.digest);
        let _ = writeln!(block, "  MediaType:\t{}", entry.media_type);
        if let Some(platform) = &entry.platform {
            let _ = writeln!(block, "  Platform:\t{platform}");
            if let Some(version) = &platform.os_version {
                let _ = writeln!(block, "  OSVersion:\t{version}");
            }
            if !platform.os_features.is_empty() {
                let features = platform.os_features.join(", ");
                let _ = writeln!(block, "  OSFeatures:\t{features}");
            }
        }
        if !entry.urls.is_empty() {
            let _ = writeln!(block, "  URLs:\t{}", entry.urls.join(", "));
        }
        if !entry.annotations.is_empty() {
            shown.push_str(&align_by(&block, 0, 1));
            block = "  Annotations:\t\n".to_owned();
            for (key, value) in &entry.annotations {
                let _ = writeln!(block, "    {key}:\t{value}");
            }
            shown.push_str(&align_by(&block, 0, 1));
            block.clear();
        }
    }
    shown + &align_by(&block, 0, 1)
}

async fn formatted(
    client: &Client,
    reference: &Reference,
    document: &Document,
    format: &str,
) -> Result<String, Failure> {
    let mut all = Map::new();
    all.insert("name".to_owned(), json!(reference.to_string()));
    all.insert("manifest".to_owned(), manifest(document)?);
    // Nothing is fetched that nobody asks for.
    if format.contains(".Image") || format.contains(" .}}") || format.contains(" . }}") {
        let image = image(client, reference, document).await?;
        all.insert("image".to_owned(), image);
    }
    let all = Value::Object(all);
    if let Some(path) = only_json(format) {
        let mut found = &all;
        for field in path.split('.').filter(|field| !field.is_empty()) {
            found = found.get(in_json(field)).unwrap_or(&Value::Null);
        }
        return Ok(match found {
            // No statement about the image is looked for.
            Value::Null => "{}".to_owned(),
            found => serde_json::to_string_pretty(found)?,
        });
    }
    let template = Template::parse(format)?;
    Ok(template.render(&in_go(&all), &TYPES)?)
}

/// The path of a template that is nothing but `{{json PATH}}`: buildx indents that one.
fn only_json(format: &str) -> Option<&str> {
    let inner = format.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let path = inner.trim().strip_prefix("json ")?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    (path.starts_with('.') && path.chars().all(plain)).then_some(path)
}

/// A manifest's descriptor and, of an index, its entries.
fn manifest(document: &Document) -> Result<Value, Failure> {
    let descriptor = &document.descriptor;
    let mut out = Map::new();
    if let ManifestDocument::Index(_) = &document.content {
        out.insert("schemaVersion".to_owned(), json!(2));
    }
    out.insert("mediaType".to_owned(), json!(descriptor.media_type));
    out.insert("digest".to_owned(), json!(descriptor.digest));
    out.insert("size".to_owned(), json!(descriptor.size));
    match &document.content {
        ManifestDocument::Index(index) => {
            out.insert("manifests".to_owned(), json!(index.manifests));
            if !index.annotations.is_empty() {
                out.insert("annotations".to_owned(), json!(index.annotations));
            }
        }
        ManifestDocument::Manifest(manifest) => {
            if !manifest.annotations.is_empty() {
                out.insert("annotations".to_owned(), json!(manifest.annotations));
            }
        }
    }
    Ok(Value::Object(out))
}

/// The configuration of an image; of an index all of them, by platform.
async fn image(
    client: &Client,
    reference: &Reference,
    document: &Document,
) -> Result<Value, Failure> {
    let index = match &document.content {
        ManifestDocument::Manifest(manifest) => {
            let config = remote::config(client, reference, manifest).await?;
            return ordered(config.as_deref());
        }
        ManifestDocument::Index(index) => index,
    };
    let mut all = Map::new();
    for entry in &index.manifests {
        let Some(platform) = entry.platform.as_ref().filter(|p| p.os != "unknown") else {
            continue;
        };
        let by_digest = reference.with_digest(entry.digest.clone());
        let document = client.manifest(&by_digest).await?;
        if let ManifestDocument::Manifest(manifest) = &document.content {
            let config = remote::config(client, reference, manifest).await?;
            all.insert(platform.to_string(), ordered(config.as_deref())?);
        }
    }
    Ok(Value::Object(all))
}

/// A configuration with its fields in the order in which buildx writes them.
fn ordered(config: Option<&[u8]>) -> Result<Value, Failure> {
    const FIELDS: [&str; 10] = [
        "created",
        "author",
        "architecture",
        "variant",
        "os",
        "os.version",
        "os.features",
        "config",
        "rootfs",
        "history",
    ];
    const CONFIG: [&str; 14] = [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "ArgsEscaped",
        "Healthcheck",
        "OnBuild",
        "StopTimeout",
        "Shell",
    ];
    let Some(bytes) = config else {
        return Ok(Value::Object(Map::new()));
    };
    let mut document: Map<String, Value> = serde_json::from_slice(bytes)?;
    if let Some(Value::Object(config)) = document.get_mut("config") {
        *config = pick(config, &CONFIG);
    }
    Ok(Value::Object(pick(&document, &FIELDS)))
}

fn pick(from: &Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    let there = fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
    there.collect()
}

/// Names that differ by more than the size of their first letter: Go's, JSON's.
const NAMES: [(&str, &str); 9] = [
    ("OS", "os"),
    ("OSVersion", "os.version"),
    ("OSFeatures", "os.features"),
    ("URLs", "urls"),
    ("RootFS", "rootfs"),
    ("DiffIDs", "diff_ids"),
    ("CreatedBy", "created_by"),
    ("EmptyLayer", "empty_layer"),
    ("Config", "config"),
];

/// A field's name in JSON.
fn in_json(field: &str) -> String {
    if let Some((_, json)) = NAMES.iter().find(|(go, _)| *go == field) {
        return (*json).to_owned();
    }
    let mut chars = field.chars();
    match chars.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}

/// A document with the names that templates know it by.
fn in_go(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(in_go).collect(),
        Value::Object(fields) => {
            let renamed = fields.iter().map(|(key, value)| {
                let go = match NAMES.iter().find(|(_, json)| json == key) {
                    Some((go, _)) => (*go).to_owned(),
                    // A platform is a key of a map, not a field.
                    None if key.contains('/') => key.clone(),
                    None => upper(key),
                };
                let kept = matches!(go.as_str(), "Annotations" | "Labels");
                let value = if kept { value.clone() } else { in_go(value) };
                (go, value)
            });
            Value::Object(renamed.collect())
        }
        other => other.clone(),
    }
}

fn upper(key: &str) -> String {
    let mut chars = key.chars();
    match chars.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_value_as_json_is_indented() {
        for (format, path) in [
            ("{{json .}}", Some(".")),
            ("{{ json .Manifest.Digest }}", Some(".Manifest.Digest")),
            ("{{json .A}}{{json .B}}", None),
            ("{{.Name}}", None),
            ("{{json (index .Image \"a\")}}", None),
        ] {
            assert_eq!(only_json(format), path, "{format}");
        }
    }

    #[test]
    fn templates_know_fields_by_gos_names() {
        let value = json!({
            "name": "x",
            "manifest": {"digest": "d", "platform": {"os.version": "1"}},
            "image": {"linux/amd64": {"os": "linux", "config": {"Labels": {"a.b": "c"}}}},
        });
        let go = in_go(&value);
        assert_eq!(go["Manifest"]["Digest"], "d");
        assert_eq!(go["Manifest"]["Platform"]["OSVersion"], "1");
        assert_eq!(go["Image"]["linux/amd64"]["OS"], "linux");
        assert_eq!(go["Image"]["linux/amd64"]["Config"]["Labels"]["a.b"], "c");
        assert_eq!(in_json("MediaType"), "mediaType");
        assert_eq!(in_json("RootFS"), "rootfs");
    }
}
