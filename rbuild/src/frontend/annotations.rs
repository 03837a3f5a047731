//! `--annotation`, and the attributes `annotation…` of an output.

use std::collections::BTreeMap;

use images::index::build::IndexAnnotations;
use oci::Platform;

/// What is annotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "manifest" => Self::Manifest,
            "manifest-descriptor" => Self::ManifestDescriptor,
            "index" => Self::Index,
            "index-descriptor" => Self::IndexDescriptor,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Annotation {
    kind: Kind,
    /// Only what is for this platform.
    platform: Option<Platform>,
    key: String,
    value: String,
}

/// All annotations of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

impl Annotations {
    /// Reads one `--annotation`: `[TYPE[PLATFORM],…:]KEY=VALUE`.
    ///
    /// # Errors
    /// In buildx's words.
    pub fn flag(&mut self, text: &str) -> Result<(), String> {
        let Some((left, value)) = text.split_once('=') else {
            return Err(format!("invalid annotation {text:?}, expected key=value"));
        };
        let (types, key) = left.split_once(':').unwrap_or(("manifest", left));
        for kind in types.split(',') {
            self.add(kind, key, value)?;
        }
        Ok(())
    }

    /// Reads an attribute `annotation[-TYPE][[PLATFORM]].KEY`; false when it is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn attribute(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let Some(rest) = name.strip_prefix("annotation") else {
            return Ok(false);
        };
        // A platform has no dot, and a key may have many.
        let Some((kind, key)) = rest.split_once('.') else {
            return Ok(false);
        };
        let kind = match kind.strip_prefix('-') {
            Some(kind) => kind.to_owned(),
            None => format!("manifest{kind}"),
        };
        self.add(&kind, key, value)?;
        Ok(true)
    }

    fn add(&mut self, kind: &str, key: &str, value: &str) -> Result<(), String> {
        let (name, platform) = match kind.strip_suffix(']').and_then(|k| k.split_once('[')) {
            Some((name, platform)) => {
                let platform: Platform = platform.parse().map_err(|e| format!("{kind}: {e}"))?;
                (name, Some(platform))
            }
            None => (kind, None),
        };
        let Some(kind) = Kind::parse(name) else {
            return Err(format!("unknown annotation type {name:?}"));
        };
        if key.is_empty() {
            return Err(format!("annotation {value:?} has no key"));
        }
        self.0.push(Annotation {
            kind,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        });
        Ok(())
    }

    /// These and others; a later one of one key counts.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        Self(self.0.iter().chain(&more.0).cloned().collect())
    }

    fn of(&self, kind: Kind, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let all = self.0.iter().filter(|annotation| annotation.kind == kind);
        let fitting = all.filter(|annotation| match (&annotation.platform, platform) {
            (None, _) => true,
            (Some(of), Some(platform)) => of == platform,
            (Some(_), None) => false,
        });
        fitting.map(|a| (a.key.clone(), a.value.clone())).collect()
    }

    /// Those of a platform's manifest.
    pub fn manifest(&self, platform: &Platform) -> BTreeMap<String, String> {
        self.of(Kind::Manifest, Some(platform))
    }

    /// Those of the entry that leads to a platform's manifest.
    pub fn manifest_descriptor(&self, platform: &Platform) -> BTreeMap<String, String> {
        self.of(Kind::ManifestDescriptor, Some(platform))
    }

    /// Those of the entry that leads to the index.
    pub fn index_descriptor(&self) -> BTreeMap<String, String> {
        self.of(Kind::IndexDescriptor, None)
    }

    /// Those of an index of images for these platforms.
    pub fn index(&self, platforms: &[Platform]) -> IndexAnnotations {
        IndexAnnotations {
            index: self.of(Kind::Index, None),
            entries: platforms
                .iter()
                .map(|platform| self.manifest_descriptor(platform))
                .collect(),
        }
    }

    /// Refuses what belongs to manifests that are there already.
    ///
    /// # Errors
    /// In buildx's words.
    pub fn only_of_index(&self) -> Result<(), String> {
        for annotation in &self.0 {
            let kind = match annotation.kind {
                Kind::Index | Kind::ManifestDescriptor => continue,
                Kind::Manifest => "manifest",
                Kind::IndexDescriptor => "index-descriptor",
            };
            return Err(format!("{kind:?} annotations are not supported yet"));
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what an image for one platform has no place for.
    ///
    /// # Errors
    /// In BuildKit's words.
    pub fn check(&self, platforms: usize) -> Result<(), String> {
        let index = |a: &Annotation| matches!(a.kind, Kind::Index | Kind::IndexDescriptor);
        match platforms == 1 && self.0.iter().any(index) {
            true => Err("index annotations not supported for single platform export".to_owned()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_go_where_they_are_meant_to() {
        let mut all = Annotations::default();
        for text in [
            "a=1",
            "index,manifest:b=2",
            "manifest[linux/arm64]:c=3=x",
            "manifest-descriptor:org.d=4",
            "index-descriptor:e=5",
        ] {
            all.flag(text).unwrap();
        }
        assert!(all.attribute("annotation.f.g", "6").unwrap());
        assert!(all.attribute("annotation-index.h", "7").unwrap());
        assert!(all.attribute("annotation[linux/arm64].i", "8").unwrap());
        assert!(!all.attribute("name", "x").unwrap());
        let (amd, arm) = (
            "linux/amd64".parse().unwrap(),
            "linux/arm64".parse().unwrap(),
        );
        let keys = |map: BTreeMap<String, String>| map.into_keys().collect::<Vec<_>>().join(" ");
        assert_eq!(keys(all.manifest(&amd)), "a b f.g");
        assert_eq!(keys(all.manifest(&arm)), "a b c f.g i");
        assert_eq!(all.manifest(&arm)["c"], "3=x");
        assert_eq!(keys(all.index(&[]).index), "b h");
        assert_eq!(keys(all.manifest_descriptor(&amd)), "org.d");
        assert_eq!(keys(all.index_descriptor()), "e");
        assert!(all.check(1).is_err() && all.check(2).is_ok());
    }

    #[test]
    fn what_is_none_is_told_in_buildx_words() {
        for (text, told) in [
            ("foo", "invalid annotation \"foo\", expected key=value"),
            ("x:k=v", "unknown annotation type \"x\""),
        ] {
            assert_eq!(Annotations::default().flag(text).unwrap_err(), told);
        }
    }
}
