//! `--mount`, once its text is read: what it comes to, or docker's sentence about what is wrong.

use std::path::{Component, Path};

use crate::error::{Error, Result};
use crate::record::{BindRule, MountPoint, MountRule, MountSource, TmpfsRule};

use super::tmpfs;

const PROPAGATION: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// What is done about a path of this machine that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    IsMade,
    /// It is an error.
    IsRefused,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

/// Whether a path stays in what it starts from, by its text alone.
fn is_local(path: &str) -> bool {
    let mut depth = 0_i64;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    !path.is_empty()
}

/// What a mount comes to.
pub(super) fn settle(asked: &MountRule, missing: Missing) -> Result<MountPoint> {
    let kind = asked.kind.as_str();
    let refused = |why: &str| invalid(format!("invalid mount config for type {kind:?}: {why}"));
    let target = target(&asked.target).map_err(|why| refused(&why))?;
    let source = match kind {
        "bind" => bind(asked, missing),
        "volume" => volume(asked),
        "tmpfs" => memory(asked),
        "image" => image(asked),
        _ => Err("mount type unknown".to_owned()),
    };
    Ok(MountPoint {
        target,
        readonly: asked.read_only,
        mode: String::new(),
        source: source.map_err(|why| refused(&why))?,
    })
}

/// Where something is mounted.
pub(super) fn target(typed: &str) -> Result<String, String> {
    if typed.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    let clean = golang::path::clean(typed);
    if clean == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    if !typed.starts_with('/') {
        return Err(format!(
            "invalid mount path: '{typed}' mount path must be absolute"
        ));
    }
    Ok(clean)
}

fn extra(name: &str) -> String {
    format!("field {name} must not be specified")
}

fn bind(asked: &MountRule, missing: Missing) -> Result<MountSource, String> {
    if asked.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let mut rule = asked.bind_options.clone().unwrap_or_default();
    if !rule.propagation.is_empty() && !PROPAGATION.contains(&rule.propagation.as_str()) {
        return Err(format!("invalid propagation mode: {}", rule.propagation));
    }
    if asked.volume_options.is_some() {
        return Err(extra("VolumeOptions"));
    }
    if asked.image_options.is_some() {
        return Err(extra("ImageOptions"));
    }
    if !asked.source.starts_with('/') {
        return Err(format!(
            "invalid mount path: '{}' mount path must be absolute",
            asked.source
        ));
    }
    let path = golang::path::clean(&asked.source);
    if missing == Missing::IsRefused && !Path::new(&path).exists() {
        return Err(format!("bind source path does not exist: {path}"));
    }
    if rule.propagation.is_empty() {
        rule.propagation = "rprivate".to_owned();
    }
    Ok(MountSource::Bind {
        path,
        makes: missing == Missing::IsMade,
        rule,
    })
}

fn volume(asked: &MountRule) -> Result<MountSource, String> {
    if asked
        .bind_options
        .as_ref()
        .is_some_and(|rule| *rule != BindRule::default())
    {
        return Err(extra("BindOptions"));
    }
    if asked.image_options.is_some() {
        return Err(extra("ImageOptions"));
    }
    let rule = asked.volume_options.clone().unwrap_or_default();
    let anonymous = asked.source.is_empty();
    if !rule.subpath.is_empty() {
        if anonymous {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        if !is_local(&rule.subpath) {
            return Err("subpath must be a relative path within the volume".to_owned());
        }
    }
    if anonymous && asked.read_only {
        return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
    }
    Ok(MountSource::Volume {
        name: asked.source.clone(),
        anonymous,
        copies: !rule.no_copy,
        subpath: rule.subpath,
        labels: rule.labels,
        options: rule.driver_config.unwrap_or_default().options,
    })
}

fn memory(asked: &MountRule) -> Result<MountSource, String> {
    if asked.bind_options.is_some() {
        return Err(extra("BindOptions"));
    }
    if !asked.source.is_empty() {
        return Err(extra("Source"));
    }
    if asked.volume_options.is_some() {
        return Err(extra("VolumeOptions"));
    }
    let TmpfsRule { size_bytes, mode } = asked.tmpfs_options.clone().unwrap_or_default();
    let mut words = Vec::new();
    if asked.read_only {
        words.push("ro".to_owned());
    }
    if mode != 0 {
        words.push(format!("mode={mode:o}"));
    }
    if size_bytes != 0 {
        words.push(format!("size={size_bytes}"));
    }
    let options = words.join(",");
    tmpfs::read(&options)?;
    Ok(MountSource::Tmpfs {
        options,
        told: true,
    })
}

fn image(asked: &MountRule) -> Result<MountSource, String> {
    if asked.bind_options.is_some() {
        return Err(extra("BindOptions"));
    }
    if asked.volume_options.is_some() {
        return Err(extra("VolumeOptions"));
    }
    if asked.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let subpath = asked.image_options.clone().unwrap_or_default().subpath;
    if !subpath.is_empty() && !is_local(&subpath) {
        return Err("subpath must be a relative path within the image".to_owned());
    }
    Ok(MountSource::Image {
        name: asked.source.clone(),
        subpath,
        id: None,
        chain_id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::VolumeRule;

    fn asked(kind: &str, source: &str, target: &str) -> MountRule {
        MountRule {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            ..MountRule::default()
        }
    }

    /// docker 28's sentences.
    #[test]
    fn what_cannot_be_is_refused_in_dockers_words() {
        let subpath = |path: &str| MountRule {
            volume_options: Some(VolumeRule {
                subpath: path.to_owned(),
                ..VolumeRule::default()
            }),
            ..asked("volume", "v1", "/x")
        };
        let propagation = MountRule {
            bind_options: Some(BindRule {
                propagation: "foo".to_owned(),
                ..BindRule::default()
            }),
            ..asked("bind", "/", "/x")
        };
        for (rule, why) in [
            (asked("bind", "", "/x"), "field Source must not be empty"),
            (
                asked("bind", "/not/there", "/x"),
                "bind source path does not exist: /not/there",
            ),
            (
                asked("bind", "rel", "/x"),
                "invalid mount path: 'rel' mount path must be absolute",
            ),
            (
                asked("bind", "/", "x"),
                "invalid mount path: 'x' mount path must be absolute",
            ),
            (
                asked("bind", "/", "/"),
                "invalid specification: destination can't be '/'",
            ),
            (propagation, "invalid propagation mode: foo"),
            (
                asked("tmpfs", "/x", "/x"),
                "field Source must not be specified",
            ),
            (asked("image", "", "/x"), "field Source must not be empty"),
            (asked("npipe", "x", "/x"), "mount type unknown"),
            (
                subpath("../.."),
                "subpath must be a relative path within the volume",
            ),
            (
                subpath("/abs"),
                "subpath must be a relative path within the volume",
            ),
        ] {
            let want = format!("invalid mount config for type {:?}: {why}", rule.kind);
            let found = settle(&rule, Missing::IsRefused).unwrap_err();
            assert_eq!(found.to_string(), want);
        }
    }

    #[test]
    fn a_volume_without_a_name_is_anonymous() {
        let point = settle(&asked("volume", "", "/x"), Missing::IsRefused).unwrap();
        assert!(matches!(
            point.source,
            MountSource::Volume {
                anonymous: true,
                copies: true,
                ..
            }
        ));
    }
}
