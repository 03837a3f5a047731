//! Mounts for the runtime.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::{BindOptions, Mount, MountKind, Propagation};

use crate::error::Result;
use crate::record::{BindRule, MountPoint, MountSource};

use super::{invalid, local, shared, tmpfs};

/// Where on this machine things are that the database knows.
#[derive(Debug, Default)]
pub(in crate::engine) struct Places {
    /// The directory of all volumes.
    pub(in crate::engine) volumes: PathBuf,
    /// The layers of each image that is mounted, topmost first, by its mount's target.
    pub(in crate::engine) layers: Vec<(String, Vec<PathBuf>)>,
}

impl Places {
    /// The files of a volume.
    pub(in crate::engine) fn data(&self, name: &str) -> PathBuf {
        self.volumes.join(name).join("_data")
    }
}

/// A mount for the runtime; the source of `-v` is made where it is missing.
pub(in crate::engine) fn mount(point: &MountPoint, places: &Places) -> Result<Mount> {
    let kind = match &point.source {
        MountSource::Bind { path, makes, rule } => bind((path, *makes), rule, point.readonly)?,
        MountSource::Volume {
            name,
            subpath,
            options,
            ..
        } => match local::kind(options, (subpath, point.readonly)).map_err(|error| {
            let data = places.data(name);
            invalid(format!(
                "error while mounting volume '{}': {error}",
                data.display()
            ))
        })? {
            Some(kind) => kind,
            None => volume(&places.data(name), subpath, point.readonly)?,
        },
        MountSource::Tmpfs { options, .. } => {
            let read = tmpfs::read(options).map_err(invalid)?;
            MountKind::Tmpfs {
                size: None,
                options: read.options,
                flags: read.flags,
            }
        }
        MountSource::Image { name, subpath, .. } => {
            let mut layers = places.layers.iter();
            let layers = layers.find(|(target, _)| *target == point.target);
            let (_, lowers) =
                layers.ok_or_else(|| invalid(format!("the layers of {name} are not there")))?;
            MountKind::Layers {
                lowers: lowers.clone(),
                below: subpath.clone(),
            }
        }
    };
    Ok(Mount {
        target: point.target.clone(),
        kind,
    })
}

/// How failures to mount volumes are told: what the runtime was doing, and docker's sentence.
pub(in crate::engine) fn told(points: &[MountPoint], places: &Places) -> Vec<(String, String)> {
    let points = points.iter();
    points
        .filter_map(|point| match &point.source {
            MountSource::Volume { name, options, .. } => local::told(options, &places.data(name)),
            _ => None,
        })
        .collect()
}

fn bind((path, makes): (&str, bool), rule: &BindRule, readonly: bool) -> Result<MountKind> {
    let source = Path::new(path);
    if !source.exists() {
        if !makes {
            return Err(invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
        fs::create_dir_all(source).map_err(|cause| {
            invalid(format!(
                "error while creating mount source path '{path}': {cause}"
            ))
        })?;
    }
    let propagation = match rule.propagation.trim_start_matches('r') {
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        _ => Propagation::Private,
    };
    shared::check(source, propagation)?;
    Ok(MountKind::Bind {
        source: source.to_owned(),
        below: String::new(),
        options: BindOptions {
            readonly,
            writable_below: rule.read_only_non_recursive,
            alone: rule.non_recursive,
            propagation,
            propagates_below: rule.propagation.starts_with('r'),
        },
    })
}

fn volume(data: &Path, subpath: &str, readonly: bool) -> Result<MountKind> {
    // What leads out of the volume is followed inside it; that there is something at all is told
    // here, in docker's words.
    let shown = data.join(subpath);
    if !subpath.is_empty() && shown.symlink_metadata().is_err() {
        let shown = shown.display();
        return Err(invalid(format!(
            "cannot access path {shown}: lstat {shown}: no such file or directory"
        )));
    }
    Ok(MountKind::Bind {
        source: data.to_owned(),
        below: subpath.to_owned(),
        options: BindOptions {
            readonly,
            propagates_below: true,
            ..BindOptions::default()
        },
    })
}
