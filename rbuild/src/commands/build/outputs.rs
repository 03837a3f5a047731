//! `--output`: what becomes of a build's result, in buildx's words.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use images::form::Vocabulary;
use oci::Reference;
use oci::layer::compression::{BadCompression, Compression, Kind};

use crate::frontend::annotations::Annotations;

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The image, in the store or a registry.
    Image {
        /// Kept in the store under its names.
        store: bool,
        /// Pushed under its names.
        push: bool,
        /// Pushed without tag.
        by_digest: bool,
        /// How it looks there.
        look: Look,
    },
    /// An archive of the image.
    Archive {
        /// Docker's, which is an OCI layout too, or nothing but that.
        docker: bool,
        /// Where it goes.
        dest: Dest,
        /// A tar, and not a directory.
        tar: bool,
        /// How it looks there.
        look: Look,
    },
    /// The files of the image.
    Files {
        /// A tar, and not a directory.
        tar: bool,
        /// Where they go.
        dest: Dest,
        /// A folder for each platform, whether there are several or not.
        split: Option<bool>,
    },
    /// Nothing but the steps in the cache.
    Cache {
        /// The image is kept all the same, without a name: others start from it.
        store: bool,
    },
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dest {
    /// Standard output.
    Stdout,
    /// A file or folder.
    Path(PathBuf),
}

/// How an image looks outside the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// `name`: its names, in the place of `--tag`.
    pub names: Option<Vec<Reference>>,
    /// `compression` and `compression-level`
    pub compression: Option<Compression>,
    /// `force-compression`
    pub force: bool,
    /// `oci-mediatypes`
    pub vocabulary: Option<Vocabulary>,
    /// `annotation…`
    pub annotations: Annotations,
}

/// The attributes of one `--output`, as they were typed.
struct Fields {
    kind: String,
    dest: Option<String>,
    rest: Vec<(String, String)>,
}

impl Output {
    /// Whether the layers of the result have to be here: a registry alone may have them already.
    pub fn needs_layers(&self) -> bool {
        let elsewhere = matches!(self, Self::Image { store: false, .. });
        !elsewhere && *self != Self::Cache { store: false }
    }

    /// Whether it is an image, and not its files alone or nothing.
    pub fn is_image(&self) -> bool {
        matches!(self, Self::Image { .. } | Self::Archive { .. })
    }

    /// How the layers that the build makes will have to be compressed, if they will: without a
    /// choice, in any way that registries hold.
    pub fn compresses(&self) -> Option<Option<Compression>> {
        match self {
            Self::Image {
                push: true, look, ..
            } => Some(look.compression),
            Self::Archive { look, .. } => {
                let plain = look.compression == Some(Kind::Uncompressed.into());
                (!plain).then_some(look.compression)
            }
            Self::Image { .. } | Self::Files { .. } | Self::Cache { .. } => None,
        }
    }

    /// Reads what was typed.
    ///
    /// # Errors
    /// What is wrong with it, in buildx's words where it has some.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = fields(text)?;
        if let [only] = fields.as_slice()
            && only == text
            && !text.starts_with("type=")
        {
            let dest = Some(text.to_owned());
            let kind = if text == "-" { "tar" } else { "local" };
            return files(kind, dest, Vec::new());
        }
        let mut read = Fields {
            kind: String::new(),
            dest: None,
            rest: Vec::new(),
        };
        for field in fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(format!("invalid value {field}"));
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "type" => value.clone_into(&mut read.kind),
                "dest" => read.dest = Some(value.to_owned()),
                // A key may have letters of any size: annotations do.
                _ => read.rest.push((key.trim().to_owned(), value.to_owned())),
            }
        }
        let Fields { kind, dest, rest } = read;
        match kind.as_str() {
            "" => Err("type is required for output".to_owned()),
            "image" | "registry" => image(&kind, dest, rest),
            "docker" if dest.is_none() => image(&kind, dest, rest),
            "docker" | "oci" => archive(&kind, dest, rest),
            "local" | "tar" => files(&kind, dest, rest),
            "cacheonly" => cache(&kind, dest, rest),
            other => Err(format!(
                "exporter {other:?} could not be found; there are image, registry, docker, oci, \
                 local, tar and cacheonly"
            )),
        }
    }
}

/// The fields of a line of comma-separated values, in which quotes hold commas.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(last) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' if quoted || last.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => last.push(c),
        }
    }
    match quoted {
        true => Err(format!("invalid value {text}: a quote is not closed")),
        false => Ok(fields),
    }
}

fn image(kind: &str, dest: Option<String>, rest: Vec<(String, String)>) -> Result<Output, String> {
    if dest.is_some() {
        return Err(format!("dest is for files: the {kind} exporter has none"));
    }
    let (mut push, mut by_digest) = (kind == "registry", false);
    let mut look = Asked::default();
    for (key, value) in rest {
        match key.to_ascii_lowercase().as_str() {
            "push" if kind != "docker" => push = boolean("push", &value)?,
            "push-by-digest" if kind != "docker" => by_digest = boolean("push-by-digest", &value)?,
            _ => look.attribute(kind, &key, &value)?,
        }
    }
    Ok(Output::Image {
        store: kind != "registry",
        push,
        by_digest,
        look: look.done()?,
    })
}

fn archive(
    kind: &str,
    dest: Option<String>,
    rest: Vec<(String, String)>,
) -> Result<Output, String> {
    let mut look = Asked::default();
    let mut tar = true;
    for (key, value) in rest {
        match key.to_ascii_lowercase().as_str() {
            "tar" => tar = boolean("tar", &value)?,
            _ => look.attribute(kind, &key, &value)?,
        }
    }
    let dest = match tar {
        true => file(kind, dest)?,
        false => folder(kind, dest)?,
    };
    Ok(Output::Archive {
        docker: kind == "docker",
        dest,
        tar,
        look: look.done()?,
    })
}

fn files(kind: &str, dest: Option<String>, rest: Vec<(String, String)>) -> Result<Output, String> {
    let mut split = None;
    for (key, value) in rest {
        match key.to_ascii_lowercase().as_str() {
            "platform-split" => split = Some(boolean("platform-split", &value)?),
            _ => return Err(unknown(kind, &key)),
        }
    }
    let tar = kind == "tar";
    let dest = match tar {
        true => file(kind, dest)?,
        false => folder(kind, dest)?,
    };
    Ok(Output::Files { tar, dest, split })
}

fn cache(kind: &str, dest: Option<String>, rest: Vec<(String, String)>) -> Result<Output, String> {
    if dest.is_some() {
        return Err(format!("dest is for files: the {kind} exporter has none"));
    }
    let mut store = false;
    for (key, value) in rest {
        match key.to_ascii_lowercase().as_str() {
            "store" => store = boolean("store", &value)?,
            _ => return Err(unknown(kind, &key)),
        }
    }
    Ok(Output::Cache { store })
}

/// Where a file goes: standard output unless that is a terminal.
fn file(kind: &str, dest: Option<String>) -> Result<Dest, String> {
    match dest.as_deref() {
        None | Some("" | "-") if io::stdout().is_terminal() => Err(format!(
            "dest file is required for {kind} exporter. refusing to write to console"
        )),
        None | Some("" | "-") => Ok(Dest::Stdout),
        Some(path) if Path::new(path).is_dir() => {
            Err(format!("destination file {path} is a directory"))
        }
        Some(path) => Ok(Dest::Path(path.into())),
    }
}

fn folder(kind: &str, dest: Option<String>) -> Result<Dest, String> {
    match dest.as_deref() {
        None | Some("") => Err(format!("dest is required for {kind} exporter")),
        Some("-") => Err(format!("dest cannot be stdout for {kind} exporter")),
        Some(path) if Path::new(path).exists() && !Path::new(path).is_dir() => {
            Err(format!("destination directory {path} is a file"))
        }
        Some(path) => Ok(Dest::Path(path.into())),
    }
}

fn unknown(kind: &str, key: &str) -> String {
    format!("{key:?} is no attribute of the {kind} exporter")
}

/// Go's words for yes and no.
fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("non-bool value for {key}: {value}")),
    }
}

/// The attributes of a look that were typed so far.
#[derive(Default)]
struct Asked {
    look: Look,
    kind: Option<Kind>,
    level: Option<i32>,
}

impl Asked {
    fn attribute(&mut self, kind: &str, key: &str, value: &str) -> Result<(), String> {
        let look = &mut self.look;
        if look.annotations.attribute(key, value)? {
            return Ok(());
        }
        let told = |e: BadCompression| e.to_string();
        match key.to_ascii_lowercase().as_str() {
            "name" => look.names = Some(names(value)?),
            "compression" => self.kind = Some(value.parse().map_err(told)?),
            "compression-level" => {
                let level = value.parse().map_err(|_| {
                    format!("non-integer value {value} specified for compression-level")
                })?;
                self.level = Some(level);
            }
            "force-compression" => look.force = boolean("force-compression", value)?,
            "oci-mediatypes" => {
                look.vocabulary = Some(match boolean("oci-mediatypes", value)? {
                    true => Vocabulary::Oci,
                    false => Vocabulary::Docker,
                });
            }
            // With SOURCE_DATE_EPOCH layers are dated to it in any case, without it there is
            // nothing to date them to.
            "rewrite-timestamp" => drop(boolean("rewrite-timestamp", value)?),
            // Of BuildKit's own stores, or what is always so here.
            "unpack"
            | "store"
            | "buildinfo"
            | "name-canonical"
            | "dangling-name-prefix"
            | "oci-artifact"
            | "attestation-prefix"
            | "context" => {}
            _ => return Err(unknown(kind, key)),
        }
        Ok(())
    }

    /// What they come to. A level alone is one of gzip.
    fn done(self) -> Result<Look, String> {
        let kind = self.kind.or(self.level.map(|_| Kind::Gzip));
        let compression = kind.map(|kind| Compression::new(kind, self.level));
        let compression = compression.transpose().map_err(|e| e.to_string())?;
        Ok(Look {
            compression,
            ..self.look
        })
    }
}

fn names(value: &str) -> Result<Vec<Reference>, String> {
    let names = value.split(',').map(|name| {
        let reference: Reference = name.parse().map_err(|e| format!("{name:?}: {e}"))?;
        Ok(reference)
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(look: Look) -> Output {
        Output::Image {
            store: true,
            push: true,
            by_digest: false,
            look,
        }
    }

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let path = |text: &str| Dest::Path(text.into());
        let files = |tar, dest, split| Output::Files { tar, dest, split };
        for (text, output) in [
            ("out", files(false, path("out"), None)),
            ("dest=x", files(false, path("dest=x"), None)),
            ("type=local,dest=a/b", files(false, path("a/b"), None)),
            (
                "type=local,dest=a,platform-split=false",
                files(false, path("a"), Some(false)),
            ),
            ("type=tar,dest=x.tar", files(true, path("x.tar"), None)),
            ("type=cacheonly", Output::Cache { store: false }),
            ("type=cacheonly,store=true", Output::Cache { store: true }),
            (
                "type=image,\"name=a:1,b\",push=true,compression=zstd,compression-level=9",
                image(Look {
                    names: Some(vec!["a:1".parse().unwrap(), "b".parse().unwrap()]),
                    compression: Some(Compression::new(Kind::Zstd, Some(9)).unwrap()),
                    ..Look::default()
                }),
            ),
            (
                "type=oci,dest=d,tar=false,oci-mediatypes=false",
                Output::Archive {
                    docker: false,
                    dest: path("d"),
                    tar: false,
                    look: Look {
                        vocabulary: Some(Vocabulary::Docker),
                        ..Look::default()
                    },
                },
            ),
        ] {
            assert_eq!(Output::parse(text), Ok(output), "{text}");
        }
    }

    /// The words are buildx's where it has some.
    #[test]
    fn what_is_none_is_told() {
        for (text, told) in [
            ("type=local", "dest is required for local exporter"),
            (
                "type=local,dest=-",
                "dest cannot be stdout for local exporter",
            ),
            ("type=tar,dest=/", "destination file / is a directory"),
            ("type=image,push", "invalid value push"),
            ("a=b,type", "invalid value type"),
            ("a=b,c=d", "type is required for output"),
            ("type=oci,tar=false", "dest is required for oci exporter"),
            (
                "type=image,compression=lz4",
                "unsupported compression type lz4",
            ),
            ("type=image,push=maybe", "non-bool value for push: maybe"),
            ("type=image,pusch=true", "\"pusch\" is no attribute"),
            ("type=local,dest=x,name=y", "\"name\" is no attribute"),
            ("type=cacheonly,name=y", "\"name\" is no attribute"),
        ] {
            let error = Output::parse(text).unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
        let error = Output::parse("type=foo").unwrap_err();
        assert!(error.starts_with("exporter \"foo\" could not be found"));
        let error = Output::parse("type=image,compression-level=10").unwrap_err();
        assert!(error.starts_with("10 is no gzip compression level"));
    }
}
