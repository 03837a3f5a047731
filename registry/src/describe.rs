//! What an image tells of itself: platforms, size, when it was made, words to find it by. Pure.
//!
//! Configurations are whatever somebody pushed: what is not as it should be is left out.

use std::collections::{BTreeMap, HashSet};

use oci::{Descriptor, ManifestDocument};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Bytes of a configuration that is read.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;
/// Letters of labels and annotations that can be searched.
const MAX_WORDS: usize = 4096;
/// Letters of a description.
const MAX_DESCRIPTION: usize = 300;
/// Platforms that are told of one index.
const MAX_PLATFORMS: usize = 64;
/// When an image was made, what it is called, and what it is for (image-spec, annotations.md).
const CREATED: &str = "org.opencontainers.image.created";
const TITLE: &str = "org.opencontainers.image.title";
const DESCRIPTION: &str = "org.opencontainers.image.description";

/// What a manifest tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What it runs on, as `os/architecture` or `os/architecture/variant`.
    pub platforms: Vec<String>,
    /// Bytes of the manifest, its configuration and layers, each counted once. Those of an index
    /// are its own: its children are counted where they are known.
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<i64>,
    /// What it can be found by; `None` when it says nothing of its repository.
    pub text: Option<Text>,
}

/// What a repository can be found by, beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// A sentence for people; often none.
    pub description: String,
    /// Labels and annotations.
    pub words: String,
}

/// What is read of an image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct ConfigFacts {
    #[serde(default, deserialize_with = "lenient")]
    os: String,
    #[serde(default, deserialize_with = "lenient")]
    architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    variant: String,
    #[serde(default, deserialize_with = "lenient")]
    created: String,
    #[serde(default, deserialize_with = "lenient")]
    config: Inner,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) history: Vec<Step>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Inner {
    #[serde(rename = "Labels", default, deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

/// A step that made a layer, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Step {
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) created_by: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) comment: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) empty_layer: bool,
}

/// A value of the right type, or the type's default.
fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl ConfigFacts {
    /// Reads a configuration; of one that is none, nothing.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn platform(&self) -> Option<String> {
        platform(&self.os, &self.architecture, &self.variant)
    }
}

/// A platform in words, if it is one.
fn platform(os: &str, architecture: &str, variant: &str) -> Option<String> {
    // Attestations say that they run on "unknown".
    let is_word = |text: &str| {
        !text.is_empty() && text != "unknown" && text.bytes().all(|b| b.is_ascii_graphic())
    };
    match (is_word(os) && is_word(architecture), is_word(variant)) {
        (false, _) => None,
        (true, false) => Some(format!("{os}/{architecture}")),
        (true, true) => Some(format!("{os}/{architecture}/{variant}")),
    }
}

/// The platform of an index's entry.
pub(crate) fn platform_of(entry: &Descriptor) -> Option<String> {
    let found = entry.platform.as_ref()?;
    let variant = found.variant.as_deref().unwrap_or_default();
    platform(&found.os, &found.architecture, variant)
}

/// What a manifest of `size` bytes tells of itself, with its configuration or, for an index, that
/// of one of its children.
pub(crate) fn describe(
    document: &ManifestDocument,
    size: u64,
    config: Option<&ConfigFacts>,
) -> Description {
    let annotations = document.annotations();
    let mut bytes = size;
    let mut platforms = Vec::new();
    match document {
        ManifestDocument::Manifest(image) => {
            let mut seen = HashSet::new();
            for blob in std::iter::once(&image.config).chain(&image.layers) {
                if seen.insert(&blob.digest) {
                    bytes = bytes.saturating_add(blob.size);
                }
            }
            platforms.extend(config.and_then(ConfigFacts::platform));
        }
        ManifestDocument::Index(index) => {
            for found in index.manifests.iter().filter_map(platform_of) {
                if !platforms.contains(&found) && platforms.len() < MAX_PLATFORMS {
                    platforms.push(found);
                }
            }
        }
    }
    let created = config
        .map(|config| config.created.as_str())
        .filter(|created| !created.is_empty())
        .or_else(|| annotations.get(CREATED).map(String::as_str));
    Description {
        platforms,
        bytes,
        created_at: created.and_then(seconds),
        text: Some(text(annotations, config)),
    }
}

/// A time of RFC 3339, in seconds since 1970.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_second())
}

fn text(annotations: &BTreeMap<String, String>, config: Option<&ConfigFacts>) -> Text {
    let empty = BTreeMap::new();
    let labels = config.map_or(&empty, |config| &config.config.labels);
    let of = |name: &str| labels.get(name).or_else(|| annotations.get(name));
    let description = of(DESCRIPTION).or_else(|| of(TITLE));
    let description = description.map_or("", String::as_str);
    let mut words = String::new();
    for (name, value) in labels.iter().chain(annotations) {
        // Dates and digests change with every build, and nobody looks for them.
        if name == CREATED || value.is_empty() || words.len() >= MAX_WORDS {
            continue;
        }
        words.push_str(name);
        words.push('=');
        words.extend(value.chars().take(MAX_WORDS));
        words.push('\n');
    }
    Text {
        description: shown(description).take(MAX_DESCRIPTION).collect(),
        words: shown(&words).take(MAX_WORDS).collect(),
    }
}

/// The letters of a text. Nobody sees or looks for character 0, and not every database has it.
fn shown(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|letter| *letter != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn manifest(value: &Value) -> ManifestDocument {
        ManifestDocument::parse(value.to_string().as_bytes(), None).unwrap()
    }

    fn image() -> ManifestDocument {
        let layer = |n, size| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                   "digest": digest(n), "size": size})
        };
        manifest(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": digest(1), "size": 10},
            "layers": [layer(2, 200), layer(3, 3000), layer(2, 200)],
            "annotations": {"vendor": "acme"},
        }))
    }

    #[test]
    fn an_image_tells_of_itself() {
        let config = json!({
            "os": "linux", "architecture": "arm64", "variant": "v8",
            "created": "2024-05-06T07:08:09.5Z",
            "config": {"Labels": {"maintainer": "somebody", DESCRIPTION: "Does things"}},
            "history": [{"created_by": "RUN x"}],
        });
        let config = ConfigFacts::read(config.to_string().as_bytes());
        let found = describe(&image(), 7, Some(&config));
        assert_eq!(found.platforms, ["linux/arm64/v8"]);
        // The layer that is there twice is stored once.
        assert_eq!(found.bytes, 3217);
        // `date -d 2024-05-06T07:08:09Z +%s`
        assert_eq!(found.created_at, Some(1_714_979_289));
        let text = found.text.unwrap();
        assert_eq!(text.description, "Does things");
        assert!(text.words.contains("maintainer=somebody\n"), "{text:?}");
        assert!(text.words.contains("vendor=acme\n"), "{text:?}");
    }

    #[test]
    fn an_index_tells_of_its_platforms() {
        let entry = |n, os: &str, architecture: &str| {
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
                   "digest": digest(n), "size": 5,
                   "platform": {"os": os, "architecture": architecture}})
        };
        let index = manifest(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry(1, "linux", "amd64"), entry(2, "linux", "arm64"),
                          entry(3, "unknown", "unknown"), entry(4, "linux", "amd64")],
            "annotations": {CREATED: "1970-01-02T00:00:00Z"},
        }));
        let found = describe(&index, 900, None);
        assert_eq!(found.platforms, ["linux/amd64", "linux/arm64"]);
        assert_eq!((found.bytes, found.created_at), (900, Some(86_400)));
    }

    #[test]
    fn what_is_no_configuration_tells_nothing() {
        for bad in [
            "",
            "[]",
            "null",
            "{\"os\": 5, \"config\": [], \"created\": {}, \"history\": \"x\"}",
            "{\"os\": \"a b\", \"architecture\": \"x\", \"created\": \"yesterday\"}",
            "{\"os\": \"linux\", \"architecture\": null, \"config\": {\"Labels\": {\"a\": 1}}}",
        ] {
            let config = ConfigFacts::read(bad.as_bytes());
            let found = describe(&image(), 0, Some(&config));
            assert_eq!(found.platforms, [""; 0], "{bad}");
            assert_eq!(found.created_at, None, "{bad}");
            assert_eq!(config.history, [], "{bad}");
        }
        // Longer than anybody reads.
        let long = json!({"config": {"Labels": {"a": "ä".repeat(10_000), "b": "x"}}});
        let config = ConfigFacts::read(long.to_string().as_bytes());
        let text = describe(&image(), 0, Some(&config)).text.unwrap();
        assert_eq!(text.words.chars().count(), MAX_WORDS);
    }
}
