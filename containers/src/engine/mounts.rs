//! `-v`, `--mount` and `--tmpfs`.

use std::fs;
use std::path::Path;

use runtime::{Mount, MountKind};

use crate::error::{Error, Result};
use crate::record::{HostConfig, MountRule};

/// A mount as `inspect` shows it, and as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `bind` or `tmpfs`.
    pub(super) kind: &'static str,
    pub(super) source: String,
    pub(super) target: String,
    /// What stands behind the target of `-v`.
    pub(super) mode: String,
    pub(super) readonly: bool,
    /// A missing source is made.
    makes_source: bool,
    tmpfs: Tmpfs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tmpfs {
    size: Option<u64>,
    options: Vec<(String, String)>,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

/// All mounts of a container, in the order in which they are made: what lies in another comes
/// after it.
///
/// # Errors
/// What cannot be understood, in docker's words.
pub(super) fn places(host: &HostConfig) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for text in host.binds.iter().flatten() {
        places.push(bind(text)?);
    }
    for rule in &host.mounts {
        places.push(ruled(rule)?);
    }
    for (target, options) in &host.tmpfs {
        places.push(tmpfs(target, options)?);
    }
    for (number, place) in places.iter().enumerate() {
        let earlier = places.iter().take(number);
        if earlier
            .into_iter()
            .any(|other| other.target == place.target)
        {
            return Err(invalid(format!("Duplicate mount point: {}", place.target)));
        }
    }
    places.sort_by_key(|place| place.target.split('/').count());
    Ok(places)
}

/// `SOURCE:TARGET[:OPTIONS]`
fn bind(text: &str) -> Result<Place> {
    let spec = || invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(spec()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(spec());
    }
    if !source.starts_with('/') {
        return Err(invalid(format!(
            "named volumes are not there: give the path of a folder in place of {source}"
        )));
    }
    if !target.starts_with('/') {
        return Err(invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": \
             invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    if target.trim_end_matches('/').is_empty() {
        return Err(invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": \
             invalid specification: destination can't be '/'"
        )));
    }
    let mut readonly = false;
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => readonly = true,
            // Labels are SELinux's, which is not heeded; copying is for volumes.
            "rw" | "z" | "Z" | "nocopy" | "private" | "rprivate" | "consistent" | "cached"
            | "delegated" => {}
            _ => {
                return Err(invalid(format!(
                    "invalid volume specification: '{text}': invalid mode: {mode}"
                )));
            }
        }
    }
    Ok(Place {
        kind: "bind",
        source: source.to_owned(),
        target: clean(target),
        mode: mode.to_owned(),
        readonly,
        makes_source: true,
        tmpfs: Tmpfs::default(),
    })
}

/// `--mount`
fn ruled(rule: &MountRule) -> Result<Place> {
    let kind = rule.kind.as_str();
    let config = |why: &str| invalid(format!("invalid mount config for type {kind:?}: {why}"));
    if rule.target.is_empty() {
        return Err(config("field Target must not be empty"));
    }
    if !rule.target.starts_with('/') {
        return Err(config(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            rule.target
        )));
    }
    let target = clean(&rule.target);
    if target == "/" {
        return Err(config("invalid specification: destination can't be '/'"));
    }
    match kind {
        "bind" if rule.source.is_empty() => Err(config("field Source must not be empty")),
        "bind" if !rule.source.starts_with('/') => Err(config(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            rule.source
        ))),
        "bind" if !Path::new(&rule.source).exists() => Err(config(&format!(
            "bind source path does not exist: {}",
            rule.source
        ))),
        "bind" => Ok(Place {
            kind: "bind",
            source: rule.source.clone(),
            target,
            mode: String::new(),
            readonly: rule.read_only,
            makes_source: false,
            tmpfs: Tmpfs::default(),
        }),
        "tmpfs" if !rule.source.is_empty() => Err(config("field Source must not be specified")),
        "tmpfs" => {
            let options = rule.tmpfs_options.clone().unwrap_or_default();
            let mode = (options.mode != 0).then(|| format!("{:o}", options.mode));
            Ok(Place {
                kind: "tmpfs",
                source: String::new(),
                target,
                mode: String::new(),
                readonly: rule.read_only,
                makes_source: false,
                tmpfs: Tmpfs {
                    size: (options.size_bytes != 0).then_some(options.size_bytes),
                    options: mode
                        .map(|mode| ("mode".to_owned(), mode))
                        .into_iter()
                        .collect(),
                },
            })
        }
        "volume" => Err(invalid("named volumes are not there: use type=bind")),
        other => Err(invalid(format!("mount type unknown: {other:?}"))),
    }
}

/// `--tmpfs TARGET[:OPTIONS]`
fn tmpfs(target: &str, options: &str) -> Result<Place> {
    if !target.starts_with('/') {
        return Err(invalid(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let mut readonly = false;
    let mut made = Tmpfs::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => {
                let bytes = golang::size::parse_size(size);
                let refused = || invalid(format!("invalid tmpfs option [{option:?}]"));
                made.size = Some(bytes.ok_or_else(refused)?);
            }
            Some((key @ ("mode" | "uid" | "gid" | "nr_inodes"), value)) => {
                made.options.push((key.to_owned(), value.to_owned()));
            }
            None if option == "ro" => readonly = true,
            None if matches!(
                option,
                "rw" | "noexec" | "exec" | "nosuid" | "suid" | "nodev"
            ) => {}
            _ => return Err(invalid(format!("invalid tmpfs option [{option:?}]"))),
        }
    }
    Ok(Place {
        kind: "tmpfs",
        source: String::new(),
        target: clean(target),
        mode: options.to_owned(),
        readonly,
        makes_source: false,
        tmpfs: made,
    })
}

fn clean(path: &str) -> String {
    golang::path::clean(path)
}

impl Place {
    /// The mount for the runtime; the source of `-v` is made where it is missing.
    pub(super) fn mount(&self) -> Result<Mount> {
        if self.kind == "tmpfs" {
            return Ok(Mount {
                target: self.target.clone(),
                kind: MountKind::Tmpfs {
                    size: self.tmpfs.size,
                    options: self.tmpfs.options.clone(),
                    readonly: self.readonly,
                },
            });
        }
        let source = Path::new(&self.source);
        if !source.exists() {
            if !self.makes_source {
                return Err(invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    self.source
                )));
            }
            fs::create_dir_all(source).map_err(|cause| {
                invalid(format!(
                    "error while creating mount source path '{}': {cause}",
                    self.source
                ))
            })?;
        }
        Ok(Mount::bind(source, self.target.clone(), self.readonly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read_or_refused_in_dockers_words() {
        let place = bind("/a:/b/../c:ro,z").unwrap();
        assert_eq!((place.source.as_str(), place.target.as_str()), ("/a", "/c"));
        assert!(place.readonly);
        for (text, why) in [
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            (
                "/a:/b:foo",
                "invalid volume specification: '/a:/b:foo': invalid mode: foo",
            ),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": \
                 invalid specification: destination can't be '/'",
            ),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": \
                 invalid mount path: 'b' mount path must be absolute",
            ),
        ] {
            assert_eq!(bind(text).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn what_lies_in_another_mount_comes_after_it() {
        let host = HostConfig {
            binds: Some(vec!["/x:/a/b/c".to_owned(), "/y:/a".to_owned()]),
            ..HostConfig::default()
        };
        let places = places(&host).unwrap();
        let targets: Vec<&str> = places.iter().map(|place| place.target.as_str()).collect();
        assert_eq!(targets, ["/a", "/a/b/c"]);
    }
}
