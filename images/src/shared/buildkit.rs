//! Caches that BuildKit wrote: one document of records, each with the digest of an operation and
//! links to the records of what it was done to, and some with the layers that it came to. Who can
//! compute the digests finds the layers (BuildKit, `cache/remotecache/v1/doc.go`).

use std::collections::BTreeSet;

use oci::manifest::{Index, Manifest};
use oci::{Descriptor, DiffId, Digest};
use serde::Deserialize;

use super::entry::{Malformed, check_time};
use crate::elsewhere::Place;

/// Media type of the document.
pub(super) const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The field of an image's configuration that has the records, in base64, whose layers are the
/// image's.
pub(super) const FIELD: &str = "moby.buildkit.cache.v0";
/// The annotation of a layer that has its diff ID.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// A cache that BuildKit wrote.
#[derive(Debug)]
pub struct BuildKitCache {
    records: Vec<Record>,
    layers: Vec<CacheLayer>,
    /// Where the layers are.
    pub place: Place,
}

#[derive(Debug, Deserialize)]
struct Record {
    digest: String,
    #[serde(default)]
    inputs: Vec<Vec<Link>>,
    #[serde(default, rename = "layers")]
    results: Vec<RecordResult>,
}

#[derive(Debug, Deserialize)]
struct Link {
    #[serde(default)]
    selector: String,
    link: usize,
}

#[derive(Debug, Deserialize)]
struct RecordResult {
    layer: usize,
    #[serde(default, rename = "createdAt")]
    created: String,
}

#[derive(Debug)]
struct CacheLayer {
    diff_id: DiffId,
    blob: Descriptor,
    parent: Option<usize>,
}

/// The document of a cache that stands by itself.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    layers: Vec<DocumentLayer>,
    #[serde(default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct DocumentLayer {
    blob: Digest,
    /// Left out where it is the first layer; -1 is none.
    #[serde(default)]
    parent: i64,
}

/// What an input of a step is known as.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// Records that stand for it as a whole.
    pub records: BTreeSet<usize>,
    /// Which part of it counts.
    pub selector: Option<&'a Digest>,
    /// The key of the files that count.
    pub content: Option<&'a Digest>,
}

/// The layers that a step came to, all the way down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bottom first.
    pub layers: Vec<(DiffId, Descriptor)>,
    /// When the topmost was made, RFC 3339.
    pub created: String,
}

fn malformed(cause: impl std::fmt::Display) -> Malformed {
    Malformed(cause.to_string())
}

/// The descriptors among which a cache's document and layers are.
pub(super) fn parts_of_index(index: &Index) -> Option<(Descriptor, Vec<Descriptor>)> {
    let kind = CONFIG.into();
    let (config, layers): (Vec<_>, Vec<_>) = index
        .manifests
        .iter()
        .cloned()
        .partition(|one| one.media_type.is_same(&kind));
    Some((config.into_iter().next()?, layers))
}

/// The same of a manifest.
pub(super) fn parts_of_manifest(manifest: &Manifest) -> Option<(Descriptor, Vec<Descriptor>)> {
    let config = &manifest.config;
    let is_cache = config.media_type.is_same(&CONFIG.into());
    is_cache.then(|| (config.clone(), manifest.layers.clone()))
}

impl BuildKitCache {
    /// Reads the document of a cache whose layers are `blobs`.
    pub(super) fn parse(
        document: &[u8],
        blobs: &[Descriptor],
        place: Place,
    ) -> Result<Self, Malformed> {
        let document: Document = serde_json::from_slice(document).map_err(malformed)?;
        let mut layers = Vec::new();
        for layer in document.layers {
            let blob = blobs.iter().find(|blob| blob.digest == layer.blob);
            let blob = blob.ok_or_else(|| malformed(format!("it lacks {}", layer.blob)))?;
            let diff_id = blob.annotations.get(UNCOMPRESSED);
            let diff_id = diff_id.ok_or_else(|| malformed("a layer lacks its diff ID"))?;
            let diff_id: Digest = diff_id.parse().map_err(malformed)?;
            layers.push(CacheLayer {
                diff_id: diff_id.into(),
                blob: plain(blob),
                parent: usize::try_from(layer.parent).ok(),
            });
        }
        Self::new(document.records, layers, place)
    }

    /// Reads the field of an image with these layers.
    pub(super) fn parse_inline(
        field: &serde_json::Value,
        (diff_ids, blobs): (&[DiffId], &[Descriptor]),
        place: Place,
    ) -> Result<Self, Malformed> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let text = field.as_str().ok_or_else(|| malformed("it is no text"))?;
        let records = STANDARD.decode(text).map_err(malformed)?;
        let records: Vec<Record> = serde_json::from_slice(&records).map_err(malformed)?;
        let layers = diff_ids.iter().zip(blobs).enumerate();
        let layers = layers.map(|(at, (diff_id, blob))| CacheLayer {
            diff_id: diff_id.clone(),
            blob: plain(blob),
            parent: at.checked_sub(1),
        });
        Self::new(records, layers.collect(), place)
    }

    fn new(records: Vec<Record>, layers: Vec<CacheLayer>, place: Place) -> Result<Self, Malformed> {
        let linked = records
            .iter()
            .flat_map(|record| record.inputs.iter().flatten());
        if linked.into_iter().any(|link| link.link >= records.len()) {
            return Err(malformed("a record is linked that is not there"));
        }
        Ok(Self {
            records,
            layers,
            place,
        })
    }

    /// The records of this key that stand on nothing: of images, and of what is made of nothing.
    pub fn roots(&self, key: &Digest) -> BTreeSet<usize> {
        self.matching(key, &[])
    }

    /// Whether there is any record of this key.
    pub fn has(&self, key: &Digest) -> bool {
        let key = key.to_string();
        self.records.iter().any(|record| record.digest == key)
    }

    /// The records of this key whose inputs are these.
    pub fn matching(&self, key: &Digest, inputs: &[Known<'_>]) -> BTreeSet<usize> {
        let key = key.to_string();
        let records = self.records.iter().enumerate();
        let found = records.filter(|(_, record)| {
            record.digest == key
                && record.inputs.len() == inputs.len()
                && record
                    .inputs
                    .iter()
                    .zip(inputs)
                    .all(|(links, known)| links.iter().any(|link| self.leads_to(link, known)))
        });
        found.map(|(at, _)| at).collect()
    }

    fn leads_to(&self, link: &Link, known: &Known<'_>) -> bool {
        let selector = known.selector.map(ToString::to_string).unwrap_or_default();
        if known.records.contains(&link.link) && link.selector == selector {
            return true;
        }
        let (Some(content), Some(record)) = (known.content, self.records.get(link.link)) else {
            return false;
        };
        link.selector.is_empty() && record.inputs.is_empty() && record.digest == content.to_string()
    }

    /// What one of these records came to at last, of those that `fits`.
    pub fn result(
        &self,
        records: &BTreeSet<usize>,
        fits: impl Fn(&[(DiffId, Descriptor)]) -> bool,
    ) -> Option<Found> {
        let records = records.iter().filter_map(|at| self.records.get(*at));
        let mut results: Vec<&RecordResult> = records.flat_map(|record| &record.results).collect();
        results.sort_by(|a, b| b.created.cmp(&a.created));
        results.into_iter().find_map(|result| {
            check_time(&result.created).ok()?;
            let layers = self.chain(result.layer).filter(|layers| fits(layers))?;
            Some(Found {
                layers,
                created: result.created.clone(),
            })
        })
    }

    /// A layer with all below it.
    fn chain(&self, top: usize) -> Option<Vec<(DiffId, Descriptor)>> {
        let mut chain = Vec::new();
        let mut at = Some(top);
        while let Some(index) = at {
            // Longer than there are layers: it goes in a circle.
            if chain.len() > self.layers.len() {
                return None;
            }
            let layer = self.layers.get(index)?;
            chain.push((layer.diff_id.clone(), layer.blob.clone()));
            at = layer.parent;
        }
        chain.reverse();
        Some(chain)
    }
}

/// A layer's descriptor without what is said of it beside.
fn plain(blob: &Descriptor) -> Descriptor {
    super::artifact::oci_layer(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::reference::Repository;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn place() -> Place {
        let reference: oci::Reference = "r.lan/x".parse().unwrap();
        let repository: Repository = reference.repository().clone();
        Place::Repository(repository)
    }

    fn blob(text: &str) -> Descriptor {
        let mut blob = Descriptor::new(oci::media_type::OCI_LAYER_GZIP, digest(text), 1);
        let diff_id = digest(&format!("tar {text}")).to_string();
        blob.annotations.insert(UNCOMPRESSED.to_owned(), diff_id);
        blob
    }

    /// A base, a step on it that takes content, and one on that by a selector.
    fn cache(circle: bool) -> Result<BuildKitCache, Malformed> {
        let parent = if circle { 1 } else { -1 };
        let document = serde_json::json!({
            "layers": [{"blob": digest("a"), "parent": parent}, {"blob": digest("b")}],
            "records": [
                {"digest": digest("base")},
                {"digest": digest("content")},
                {"digest": digest("copy"), "inputs": [[{"link": 0}], [{"link": 1}]],
                 "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:00Z"}]},
                {"digest": digest("run"), "inputs": [[{"selector": digest("/"), "link": 2}]]},
            ],
        });
        let document = serde_json::to_vec(&document).unwrap();
        BuildKitCache::parse(&document, &[blob("a"), blob("b")], place())
    }

    #[test]
    fn records_are_found_by_what_they_were_done_to() {
        let cache = cache(false).unwrap();
        let base = cache.roots(&digest("base"));
        assert_eq!(base, BTreeSet::from([0]));
        let parent = |records: &BTreeSet<usize>| Known {
            records: records.clone(),
            ..Known::default()
        };
        let (right, wrong) = (digest("content"), digest("other"));
        let of = |content| Known {
            content: Some(content),
            ..Known::default()
        };
        let copy = cache.matching(&digest("copy"), &[parent(&base), of(&right)]);
        assert_eq!(copy, BTreeSet::from([2]));
        let none = BTreeSet::new();
        assert_eq!(
            cache.matching(&digest("copy"), &[parent(&base), of(&wrong)]),
            none
        );
        assert_eq!(
            cache.matching(&digest("copy"), &[parent(&none), of(&right)]),
            none
        );
        assert_eq!(cache.matching(&digest("copy"), &[parent(&base)]), none);
        let (root, other) = (digest("/"), digest("/x"));
        let run = |selector| {
            let known = Known {
                records: copy.clone(),
                selector,
                content: None,
            };
            cache.matching(&digest("run"), &[known])
        };
        assert_eq!(run(Some(&root)), BTreeSet::from([3]));
        assert_eq!((run(Some(&other)), run(None)), (none.clone(), none));

        let found = cache.result(&copy, |layers| layers.len() == 2).unwrap();
        let ids: Vec<Digest> = found.layers.iter().map(|(id, _)| id.0.clone()).collect();
        assert_eq!(ids, [digest("tar a"), digest("tar b")]);
        assert_eq!(cache.result(&copy, |_| false), None);
        assert_eq!(cache.result(&run(Some(&root)), |_| true), None, "no layers");
    }

    #[test]
    fn damage_is_no_cache_and_circles_are_no_layers() {
        let cache = cache(true).unwrap();
        assert_eq!(cache.result(&BTreeSet::from([2]), |_| true), None);
        for text in [
            "{\"records\": [{\"digest\": \"x\", \"inputs\": [[{\"link\": 9}]]}]}",
            "{\"layers\": [{\"blob\": \"sha256:00\"}]}",
            "{\"records\": 7}",
        ] {
            assert!(
                BuildKitCache::parse(text.as_bytes(), &[], place()).is_err(),
                "{text}"
            );
        }
    }
}
