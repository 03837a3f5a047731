//! `RUN --device` and `--device`: devices of this machine, by the names that the Container Device
//! Interface gives them (CNCF TAG Runtime, "Container Device Interface", specification 0.8), or by
//! their paths, as docker's and buildah's `--device` takes them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use dockerfile::instruction::Device;
use runtime::{Access, Mount, Node, Spec};
use serde::Deserialize;

use crate::solve::error::StepError;

/// Where specifications are; one of the later directory replaces a device of the same name.
const DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// A specification is a page or two.
const MAX_SPEC: u64 = 4 << 20;

/// A specification file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiSpec {
    kind: String,
    #[serde(default)]
    devices: Vec<CdiDevice>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiDevice {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What a container with the device is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<CdiMount>,
    hooks: Vec<serde_json::Value>,
    additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiMount {
    host_path: PathBuf,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
}

/// What a step's devices come to.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) env: Vec<String>,
    nodes: Vec<Node>,
    mounts: Vec<Mount>,
    groups: Vec<u32>,
}

impl Added {
    /// Gives a container the devices; their variables are for the caller.
    pub(super) fn to(&self, mut spec: Spec) -> Spec {
        for node in &self.nodes {
            spec = spec.node(node.clone());
        }
        for mount in &self.mounts {
            spec = spec.mount(mount.clone());
        }
        spec.groups(self.groups.iter().copied())
    }
}

/// Finds the devices of a step.
///
/// # Errors
/// When one that is required is not there, when a specification cannot be read, and where a device
/// asks for what is not done here.
pub(super) fn find(wanted: &[Device]) -> Result<Added, StepError> {
    let mut added = Added::default();
    if wanted.is_empty() {
        return Ok(added);
    }
    let (paths, wanted): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|device| device.name.starts_with('/'));
    for device in paths {
        let nodes = by_path(&device.name);
        match nodes.map_err(|what| StepError::Other(format!("device {}: {what}", device.name))) {
            Ok(nodes) => added.nodes.extend(nodes),
            Err(e) if device.required => return Err(e),
            Err(_) => {}
        }
    }
    if wanted.is_empty() {
        return Ok(added);
    }
    let specs = load(&DIRS.map(PathBuf::from))?;
    for device in wanted {
        let edits = select(&specs, &device.name);
        if edits.is_empty() && device.required {
            let known = names(&specs).join(", ");
            let known = if known.is_empty() { "none" } else { &known };
            return Err(StepError::Other(format!(
                "required device {:?} is not registered; those of {} are: {known}",
                device.name,
                DIRS.join(" and ")
            )));
        }
        for edit in edits {
            apply(&device.name, edit, &mut added)?;
        }
    }
    Ok(added)
}

/// The parts of `PATH[:TARGET][:PERMISSIONS]`, as docker's client takes them apart.
///
/// # Errors
/// In its words.
pub fn split_path(text: &str) -> Result<(&str, &str, Access), String> {
    let access = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.dedup();
        let known = letters.iter().all(|letter| "rwm".contains(*letter));
        (known && letters.len() == text.len() && !text.is_empty()).then(|| Access {
            read: text.contains('r'),
            write: text.contains('w'),
            make: text.contains('m'),
        })
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, "", Access::ALL),
        [source, second] => match access(second) {
            Some(access) => (*source, "", access),
            None => (*source, *second, Access::ALL),
        },
        [source, target, third] => match access(third) {
            Some(access) => (*source, *target, access),
            None => {
                return Err(format!(
                    "bad mode specified: {third}; write r, w, m or several"
                ));
            }
        },
        _ => return Err(format!("invalid device specification: {text}")),
    };
    let target = if target.is_empty() { source } else { target };
    match target.starts_with('/') {
        true => Ok((source, target, access)),
        false => Err(format!("{target} is not an absolute path")),
    }
}

/// The nodes of a path: a device's own, or those of all devices in a directory.
fn by_path(text: &str) -> Result<Vec<Node>, String> {
    let (source, target, access) = split_path(text)?;
    let node = |source: &Path, target: String| {
        let asked = DeviceNode {
            path: target,
            host_path: Some(source.to_owned()),
            kind: None,
            major: None,
            minor: None,
            file_mode: None,
            uid: None,
            gid: None,
        };
        found_node(&asked).map(|node| Node { access, ..node })
    };
    let there = fs::metadata(source).map_err(|e| e.to_string())?;
    if !there.is_dir() {
        return node(Path::new(source), target.to_owned()).map(|node| vec![node]);
    }
    let mut nodes = Vec::new();
    for entry in fs::read_dir(source).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // What else is there are links and folders.
        let kind = entry.file_type().map_err(|e| e.to_string())?;
        if kind.is_char_device() || kind.is_block_device() {
            nodes.push(node(&entry.path(), format!("{target}/{name}"))?);
        }
    }
    match nodes.is_empty() {
        true => Err("there is no device in that folder".to_owned()),
        false => Ok(nodes),
    }
}

fn load(dirs: &[PathBuf]) -> Result<Vec<CdiSpec>, StepError> {
    let mut specs = Vec::new();
    for dir in dirs {
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if let Some(spec) = read(&path)? {
                specs.push(spec);
            }
        }
    }
    Ok(specs)
}

/// `None` for a file that is no specification.
fn read(path: &Path) -> Result<Option<CdiSpec>, StepError> {
    let failed = |e: String| StepError::Other(format!("the device file {}: {e}", path.display()));
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if !matches!(extension, "json" | "yaml" | "yml") {
        return Ok(None);
    }
    let size = fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if size > MAX_SPEC {
        return Err(failed(format!("is larger than {MAX_SPEC} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let parsed = match extension {
        "json" => serde_json::from_str(&text).map_err(|e| e.to_string()),
        _ => serde_saphyr::from_str(&text).map_err(|e| e.to_string()),
    };
    parsed.map(Some).map_err(failed)
}

/// The edits for a name: `KIND=DEVICE`, `KIND=*` for all, `KIND` where there is only one device.
fn select<'s>(specs: &'s [CdiSpec], name: &str) -> Vec<&'s Edits> {
    let (kind, device) = match name.split_once('=') {
        Some((kind, device)) => (kind, Some(device)),
        None => (name, None),
    };
    let of_kind = specs.iter().filter(|spec| spec.kind == kind);
    let mut found: Vec<(&CdiSpec, &CdiDevice)> = Vec::new();
    for spec in of_kind {
        for candidate in &spec.devices {
            if device.is_none_or(|device| device == "*" || device == candidate.name) {
                found.retain(|(_, known)| known.name != candidate.name);
                found.push((spec, candidate));
            }
        }
    }
    if device.is_none() && found.len() > 1 {
        return Vec::new();
    }
    let mut edits: Vec<&Edits> = Vec::new();
    for (spec, device) in found {
        for edit in [&spec.container_edits, &device.container_edits] {
            if !edits.iter().any(|known| std::ptr::eq(*known, edit)) {
                edits.push(edit);
            }
        }
    }
    edits
}

fn names(specs: &[CdiSpec]) -> Vec<String> {
    let all = specs.iter().flat_map(|spec| {
        let devices = spec.devices.iter();
        devices.map(move |device| format!("{}={}", spec.kind, device.name))
    });
    all.collect()
}

fn apply(name: &str, edits: &Edits, added: &mut Added) -> Result<(), StepError> {
    let refused = |what: String| Err(StepError::Other(format!("device {name}: {what}")));
    if let Some(hook) = edits.hooks.first() {
        let path = hook.get("path").and_then(|path| path.as_str());
        return refused(format!(
            "its hook {} would run on this machine, which is not done; \
             give the device without hooks in a file of /etc/cdi",
            path.unwrap_or("without a path")
        ));
    }
    added.env.extend(edits.env.iter().cloned());
    added.groups.extend(&edits.additional_gids);
    for node in &edits.device_nodes {
        match found_node(node) {
            Ok(node) => added.nodes.push(node),
            Err(what) => return refused(what),
        }
    }
    for mount in &edits.mounts {
        let readonly = mount.options.iter().any(|option| option == "ro");
        let (from, to) = (&mount.host_path, &mount.container_path);
        added.mounts.push(Mount::bind(from, to, readonly));
    }
    Ok(())
}

/// What a node leaves open is as it is on this machine.
fn found_node(node: &DeviceNode) -> Result<Node, String> {
    let path = crate::plan::mount::absolute(&node.path);
    if !path.starts_with("/dev/") {
        return Err(format!("its node {path} is not in /dev"));
    }
    let given = match (node.kind.as_deref(), node.major, node.minor) {
        (Some("b"), Some(major), Some(minor)) => Some((true, major, minor)),
        (Some("c" | "u"), Some(major), Some(minor)) => Some((false, major, minor)),
        _ => None,
    };
    let on_host = node
        .host_path
        .clone()
        .unwrap_or_else(|| PathBuf::from(&node.path));
    let there = fs::metadata(&on_host).ok().filter(|there| {
        let kind = there.file_type();
        kind.is_block_device() || kind.is_char_device()
    });
    let (block, major, minor) = match (given, &there) {
        (Some(given), _) => given,
        (None, Some(there)) => {
            let number = there.rdev();
            let block = there.file_type().is_block_device();
            (block, rustix::fs::major(number), rustix::fs::minor(number))
        }
        (None, None) => return Err(format!("{} is no device here", on_host.display())),
    };
    let there = there.as_ref();
    Ok(Node {
        path,
        block,
        major,
        minor,
        mode: node
            .file_mode
            .or_else(|| there.map(|t| t.mode()))
            .unwrap_or(0o666)
            & 0o7777,
        uid: node.uid.or_else(|| there.map(|t| t.uid())).unwrap_or(0),
        gid: node.gid.or_else(|| there.map(|t| t.gid())).unwrap_or(0),
        access: Access::ALL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/class",
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [
          {"name": "zero", "containerEdits": {"env": ["ZERO=1"], "additionalGids": [7],
             "deviceNodes": [{"path": "/dev/vendor/zero", "hostPath": "/dev/zero"}],
             "mounts": [{"hostPath": "/etc", "containerPath": "/vendor", "options": ["ro", "bind"]}]}},
          {"name": "other", "containerEdits": {"deviceNodes": [
             {"path": "/dev/o", "type": "b", "major": 7, "minor": 9, "fileMode": 384}]}},
          {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer",
             "path": "/usr/bin/hook"}]}},
          {"name": "escaping", "containerEdits": {"deviceNodes": [{"path": "/dev/../etc/x"}]}}]}"#;

    fn found(name: &str) -> Result<Added, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("vendor.json"), JSON).unwrap();
        let yaml = "cdiVersion: 0.6.0\nkind: y.com/one\ndevices:\n- name: only\n  containerEdits:\n    \
                    env: [Y=1]\n";
        fs::write(dir.path().join("y.yaml"), yaml).unwrap();
        fs::write(dir.path().join("README"), "{").unwrap();
        let specs = load(&[dir.path().join("missing"), dir.path().to_owned()]).unwrap();
        let mut added = Added::default();
        for edits in select(&specs, name) {
            apply(name, edits, &mut added).map_err(|e| e.to_string())?;
        }
        Ok(added)
    }

    #[test]
    fn a_device_brings_what_its_specification_says() {
        let zero = found("vendor.com/class=zero").unwrap();
        assert_eq!(zero.env, ["ALL=1", "ZERO=1"]);
        assert_eq!(zero.groups, [7]);
        let node = &zero.nodes[0];
        assert_eq!((node.major, node.minor, node.block), (1, 5, false));
        assert_eq!(node.path, "/dev/vendor/zero");
        assert_eq!(zero.mounts[0].target, "/vendor");
        let other = found("vendor.com/class=other").unwrap();
        let node = &other.nodes[0];
        assert_eq!(
            (node.major, node.minor, node.block, node.mode),
            (7, 9, true, 0o600)
        );
        assert_eq!(found("y.com/one").unwrap().env, ["Y=1"]);
        for none in ["vendor.com/class=none", "vendor.com/class", "x"] {
            assert!(found(none).unwrap().env.is_empty(), "{none}");
        }
    }

    #[test]
    fn paths_are_taken_apart_as_docker_does() {
        let (read, no_make) = (
            Access {
                write: false,
                make: false,
                ..Access::ALL
            },
            Access {
                make: false,
                ..Access::ALL
            },
        );
        for (text, want) in [
            ("/dev/fuse", ("/dev/fuse", "/dev/fuse", Access::ALL)),
            ("/dev/fuse:/dev/f", ("/dev/fuse", "/dev/f", Access::ALL)),
            ("/dev/fuse:r", ("/dev/fuse", "/dev/fuse", read)),
            ("/dev/fuse:/dev/f:wr", ("/dev/fuse", "/dev/f", no_make)),
        ] {
            assert_eq!(split_path(text).unwrap(), want, "{text}");
        }
        for (text, told) in [
            ("/dev/fuse:rr", "rr is not an absolute path"),
            ("/dev/fuse:/dev/f:x", "bad mode specified: x"),
            (
                "/dev/a:/b:r:w",
                "invalid device specification: /dev/a:/b:r:w",
            ),
        ] {
            let refused = split_path(text).unwrap_err();
            assert!(refused.starts_with(told), "{text}: {refused}");
        }
    }

    #[test]
    fn a_path_is_the_device_that_is_there() {
        let node = &by_path("/dev/zero:/dev/null-like:r").unwrap()[0];
        assert_eq!((node.major, node.minor, node.block), (1, 5, false));
        assert_eq!(node.path, "/dev/null-like");
        assert!(node.access.read && !node.access.write);
        assert!(
            by_path("/etc/passwd:/dev/p")
                .unwrap_err()
                .contains("is no device")
        );
        assert!(
            by_path("/dev/zero:/etc/x")
                .unwrap_err()
                .contains("not in /dev")
        );
        assert!(by_path("/dev/none").unwrap_err().contains("No such file"));
    }

    #[test]
    fn what_reaches_further_is_refused() {
        let hooked = found("vendor.com/class=hooked").unwrap_err();
        assert!(hooked.contains("/usr/bin/hook"), "{hooked}");
        let escaping = found("vendor.com/class=escaping").unwrap_err();
        assert!(escaping.contains("/etc/x is not in /dev"), "{escaping}");
    }
}
