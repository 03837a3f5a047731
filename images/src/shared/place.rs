//! Where a cache is: `--cache-from` and `--cache-to`, in buildx's words.

use std::path::PathBuf;

use oci::media_type::LayerCompression;
use oci::{Digest, Reference};

use super::entry::MAX_PREFIX;

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// A repository of a registry. A tag begins the tags of all entries.
    Registry(Reference),
    /// An OCI image layout in a directory.
    Local {
        /// The directory.
        path: PathBuf,
        /// What the tags of all entries begin with; what BuildKit wrote has it as its tag.
        prefix: Option<String>,
        /// The manifest of what BuildKit wrote, in place of its tag.
        digest: Option<Digest>,
    },
}

/// Which steps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those whose layers are in the result.
    Min,
    /// All.
    Max,
}

/// One `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTo {
    /// Into the image itself.
    Inline,
    /// Into a cache of its own.
    Place {
        /// Where it is.
        place: CachePlace,
        /// Which steps.
        mode: Mode,
        /// How their layers are compressed.
        compression: Option<LayerCompression>,
    },
}

/// What was typed.
struct Fields {
    kind: String,
    rest: Vec<(String, String)>,
}

impl Fields {
    /// Reads `type=TYPE,KEY=VALUE,…`; without any `=` it is a reference.
    fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Self {
            kind: String::new(),
            rest: Vec::new(),
        };
        if !text.contains('=') && !text.contains(',') {
            "registry".clone_into(&mut fields.kind);
            fields.rest.push(("ref".to_owned(), text.to_owned()));
            return Ok(fields);
        }
        for field in text.split(',') {
            let Some((key, value)) = field.split_once('=') else {
                return Err(format!("{field:?} is no KEY=VALUE"));
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => value.clone_into(&mut fields.kind),
                key => fields.rest.push((key.to_owned(), value.to_owned())),
            }
        }
        Ok(fields)
    }

    /// Takes the last value of a key.
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.rest.iter().rposition(|(name, _)| name == key)?;
        let value = self.rest.remove(at).1;
        self.rest.retain(|(name, _)| name != key);
        Some(value)
    }

    fn registry(&mut self) -> Result<CachePlace, String> {
        let text = self
            .take("ref")
            .ok_or("type=registry needs ref=HOST/REPOSITORY")?;
        let reference: Reference = text.parse().map_err(|e| format!("ref {text:?}: {e}"))?;
        check_prefix(reference.tag())?;
        Ok(CachePlace::Registry(reference))
    }

    fn local(&mut self, key: &str) -> Result<CachePlace, String> {
        let path = self.take(key).filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| format!("type=local needs {key}=FOLDER"))?;
        let tag = self.take("tag");
        if let Some(tag) = &tag
            && !oci::reference::is_tag(tag)
        {
            return Err(format!("{tag:?} is no tag"));
        }
        check_prefix(tag.as_deref())?;
        Ok(CachePlace::Local {
            path: path.into(),
            prefix: tag,
            digest: None,
        })
    }

    /// Refuses whatever was not taken.
    fn done(self) -> Result<(), String> {
        match self.rest.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("type={} has no {key}", self.kind)),
        }
    }
}

fn check_prefix(tag: Option<&str>) -> Result<(), String> {
    match tag {
        Some(tag) if tag.len() > MAX_PREFIX => Err(format!(
            "the tag {tag} begins the tags of all entries, and has more than the {MAX_PREFIX} \
             characters that leave room for their keys"
        )),
        _ => Ok(()),
    }
}

/// What is said of a type that is not here.
fn no_type(kind: &str) -> String {
    match kind {
        "gha" | "s3" | "azblob" => format!(
            "type={kind} is not supported: use type=registry with a repository, or type=local with \
             a folder that your CI keeps"
        ),
        "" => "it needs a type: registry, local or inline".to_owned(),
        other => format!("there is no type {other:?}: there are registry, local and inline"),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{key} is true or false, not {value:?}")),
    }
}

/// Reads a `--cache-from`.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn cache_from(text: &str) -> Result<CachePlace, String> {
    let mut fields = Fields::parse(text)?;
    let place = match fields.kind.as_str() {
        "registry" => fields.registry()?,
        "local" => {
            let named = fields.take("digest");
            let mut place = fields.local("src")?;
            if let (CachePlace::Local { digest, .. }, Some(named)) = (&mut place, named) {
                let parsed = named.parse();
                *digest = Some(parsed.map_err(|e| format!("digest {named:?}: {e}"))?);
            }
            place
        }
        "inline" => {
            return Err(
                "type=inline is for --cache-to: name the image itself with --cache-from".to_owned(),
            );
        }
        other => return Err(no_type(other)),
    };
    fields.done()?;
    Ok(place)
}

/// Reads a `--cache-to`.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn cache_to(text: &str) -> Result<CacheTo, String> {
    let mut fields = Fields::parse(text)?;
    let place = match fields.kind.as_str() {
        "registry" => Some(fields.registry()?),
        "local" => Some(fields.local("dest")?),
        "inline" => None,
        other => return Err(no_type(other)),
    };
    let mode = match fields.take("mode").as_deref() {
        None | Some("min") => Mode::Min,
        Some("max") if place.is_none() => {
            return Err(
                "type=inline has mode=min alone: the image holds no other layers".to_owned(),
            );
        }
        Some("max") => Mode::Max,
        Some(other) => return Err(format!("mode is min or max, not {other:?}")),
    };
    let compression = match fields.take("compression").as_deref() {
        None => None,
        Some("gzip") => Some(LayerCompression::Gzip),
        Some("zstd") => Some(LayerCompression::Zstd),
        Some("uncompressed") => Some(LayerCompression::None),
        Some(other) => {
            return Err(format!(
                "compression is gzip, zstd or uncompressed, not {other:?}"
            ));
        }
    };
    // Entries are always OCI image manifests, and a cache that cannot be written is a warning.
    for key in [
        "ignore-error",
        "oci-mediatypes",
        "image-manifest",
        "force-compression",
    ] {
        if let Some(value) = fields.take(key) {
            boolean(key, &value)?;
        }
    }
    fields.done()?;
    Ok(match place {
        None => CacheTo::Inline,
        Some(place) => CacheTo::Place {
            place,
            mode,
            compression,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(text: &str) -> CachePlace {
        CachePlace::Registry(text.parse().unwrap())
    }

    #[test]
    fn places_are_typed_as_buildx_has_them() {
        let local = |tag: Option<&str>| CachePlace::Local {
            path: "a/b".into(),
            prefix: tag.map(str::to_owned),
            digest: None,
        };
        for (text, place) in [
            ("app", registry("app")),
            ("reg.lan/app:v1", registry("reg.lan/app:v1")),
            (
                "type=registry,ref=reg.lan:5000/c",
                registry("reg.lan:5000/c"),
            ),
            ("ref=c,type=registry", registry("c")),
            ("type=local,src=a/b", local(None)),
            ("type=local,src=a/b,tag=main", local(Some("main"))),
        ] {
            assert_eq!(cache_from(text), Ok(place), "{text}");
        }
        let to = |place, mode, compression| CacheTo::Place {
            place,
            mode,
            compression,
        };
        for (text, expected) in [
            ("type=inline", CacheTo::Inline),
            ("reg.lan/c", to(registry("reg.lan/c"), Mode::Min, None)),
            (
                "type=registry,ref=c,mode=max,compression=zstd,oci-mediatypes=true,\
                 image-manifest=true,ignore-error=true",
                to(registry("c"), Mode::Max, Some(LayerCompression::Zstd)),
            ),
            (
                "type=local,dest=a/b,mode=min",
                to(local(None), Mode::Min, None),
            ),
        ] {
            assert_eq!(cache_to(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = format!("reg.lan/c:{}", "x".repeat(MAX_PREFIX + 1));
        for (text, told) in [
            (
                "type=gha,scope=x",
                "type=gha is not supported: use type=registry",
            ),
            ("type=s3,bucket=b", "type=s3 is not supported"),
            ("type=azblob", "type=azblob is not supported"),
            ("type=nfs", "there is no type \"nfs\""),
            ("ref=c", "it needs a type"),
            ("type=registry", "type=registry needs ref="),
            (
                "type=registry,ref=C",
                "ref \"C\": repository name must be lowercase",
            ),
            ("type=local,tag=x", "type=local needs"),
            ("type=registry,ref=c,scope=x", "type=registry has no scope"),
            ("type=registry,x", "\"x\" is no KEY=VALUE"),
            (&long, "the tag xxx"),
        ] {
            for error in [cache_from(text).unwrap_err(), cache_to(text).unwrap_err()] {
                assert!(error.starts_with(told), "{text}: {error}");
            }
        }
        for (text, told) in [
            ("type=registry,ref=c,mode=most", "mode is min or max"),
            ("type=inline,mode=max", "type=inline has mode=min alone"),
            ("type=local,dest=d,compression=lz4", "compression is gzip"),
            (
                "type=local,dest=d,ignore-error=perhaps",
                "ignore-error is true or false",
            ),
        ] {
            let error = cache_to(text).unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }
}
