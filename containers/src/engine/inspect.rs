//! What `inspect` shows, with docker's fields.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::container::Container;
use super::handle::Containers;
use super::mounts::{self, Places};
use super::security;
use crate::error::{Error, Result};
use crate::network::legacy;
use crate::state;
use crate::status::Status;

/// Bytes of the files in a writable layer; those with several names count once.
pub(super) fn size_of(dir: &Path) -> io::Result<u64> {
    let mut seen = HashSet::new();
    let mut sum = 0;
    let mut rest = vec![dir.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                rest.push(entry.path());
            } else if found.is_file() && seen.insert(found.ino()) {
                sum += found.len();
            }
        }
    }
    Ok(sum)
}

impl Containers {
    /// All that is known of a container, as docker shows it; sizes where they are asked for.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn inspect(&self, container: &Container, sizes: bool) -> Result<Value> {
        let mut shown = container.document(self.store.root(), self.store.volumes_dir())?;
        let data = &mut shown["GraphDriver"]["Data"];
        let lowers = self.lowers(container).await?;
        let lowers: Vec<String> = lowers.iter().map(|dir| dir.display().to_string()).collect();
        data["LowerDir"] = json!(lowers.join(":"));
        // It is mounted nowhere on this machine; while it runs it is found through its process.
        if container.state.pid != 0 {
            data["MergedDir"] = json!(format!("/proc/{}/root", container.state.pid));
        }
        if sizes {
            let (own, below) = self.sizes(container).await?;
            if let Value::Object(fields) = &mut shown {
                fields.insert("SizeRw".to_owned(), json!(own));
                fields.insert("SizeRootFs".to_owned(), json!(own + below));
            }
        }
        Ok(shown)
    }
}

impl Container {
    fn document(&self, root: &Path, volumes: PathBuf) -> Result<Value> {
        let places = Places {
            volumes,
            ..Places::default()
        };
        let (config, host) = (&self.record.config, &self.record.host);
        let argv = config.argv();
        let (path, args) = argv
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let file = |name: &str| match self.state.started_at.as_str() {
            state::NO_TIME => String::new(),
            _ => self.folder.etc(name).display().to_string(),
        };
        let upper = self.stored.upper();
        let log = match host.log_config.kind.as_str() {
            "none" => String::new(),
            _ => self.folder.log(&self.id).display().to_string(),
        };
        let mut host_shown = serde_json::to_value(host).map_err(|cause| self.damaged(cause))?;
        if let Some(links) = &host.links {
            // As docker has them: /OTHER:/OWN/ALIAS.
            let shown = links.iter().filter_map(|link| legacy::parse(link).ok());
            let shown = shown.map(|(other, alias)| format!("/{other}:/{}/{alias}", self.name));
            host_shown["Links"] = shown.collect();
        }
        let mut config_shown = serde_json::to_value(config).map_err(|cause| self.damaged(cause))?;
        if config.env.is_empty() {
            config_shown["Env"] = Value::Null;
        }
        if let Value::Object(fields) = &mut host_shown {
            let (masked, readonly) = match (host.privileged, security::shows_system_paths(host)) {
                (true, _) => (Value::Null, Value::Null),
                (false, true) => (json!([]), json!([])),
                (false, false) => {
                    let (masked, readonly) = runtime::hidden_paths();
                    (json!(masked), json!(readonly))
                }
            };
            fields.insert("MaskedPaths".to_owned(), masked);
            fields.insert("ReadonlyPaths".to_owned(), readonly);
            for (key, names) in [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)] {
                let shown = names.as_ref().map(|names| security::shown(names));
                fields.insert(key.to_owned(), json!(shown));
            }
        }
        Ok(json!({
            "Id": self.id,
            "Created": self.created_at(),
            "Path": path,
            "Args": args,
            "State": self.state_document(),
            "Image": self.image,
            "ResolvConfPath": file("resolv.conf"),
            "HostnamePath": file("hostname"),
            "HostsPath": file("hosts"),
            "LogPath": log,
            "Name": format!("/{}", self.name),
            "RestartCount": self.state.restart_count,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "HostConfig": host_shown,
            "GraphDriver": {
                "Data": {
                    "UpperDir": upper,
                    "WorkDir": self.stored.work(),
                    "Root": root,
                },
                "Name": "overlay2",
            },
            "Mounts": mounts::document(&self.record.mounts, &places),
            "Config": config_shown,
            "NetworkSettings": self.network_document(),
        }))
    }

    fn damaged(&self, cause: serde_json::Error) -> Error {
        Error::Record {
            id: self.id.clone(),
            cause,
        }
    }

    /// When it was made, RFC 3339.
    pub fn created_at(&self) -> String {
        let time = jiff::Timestamp::from_nanosecond(self.created.into());
        time.map(state::time_of).unwrap_or_default()
    }

    fn state_document(&self) -> Value {
        let state = &self.state;
        let status = state.status;
        let mut shown = json!({
            "Status": status,
            "Running": status.is_alive(),
            "Paused": status == Status::Paused,
            "Restarting": status == Status::Restarting,
            "OOMKilled": state.oom_killed,
            "Dead": status == Status::Dead,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
        });
        if let (Some(health), Some(fields)) = (&state.health, shown.as_object_mut()) {
            fields.insert("Health".to_owned(), json!(health));
        }
        shown
    }
}
