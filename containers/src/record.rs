//! What a container was made with: docker's two configurations, as its API has them. They are
//! stored as they are shown.

use std::collections::BTreeMap;

use oci::config::{Config as ImageConfig, Empty, Healthcheck};
use serde::{Deserialize, Serialize};

mod mounts;

use crate::endpoint::EndpointSettings;
use crate::health;
pub use mounts::{
    BindRule, DriverRule, ImageRule, MountPoint, MountRule, MountSource, TmpfsRule, VolumeRule,
};

/// All that is known of a container beside what has become of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What an image of it would keep.
    pub config: Config,
    /// What this machine does for it.
    pub host: HostConfig,
    /// Its mounts, as they were settled when it was made.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// Its places on networks, by their names.
    #[serde(default)]
    pub networks: BTreeMap<String, EndpointSettings>,
}

impl Record {
    /// The text that is stored: what is not as it would be anyway. Lists of many containers are
    /// read whole, and most of each would say nothing.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn text(&self) -> serde_json::Result<String> {
        let mut own = serde_json::to_value(self)?;
        let usual = serde_json::to_value(Self::default())?;
        for part in ["config", "host"] {
            if let (Some(own), Some(usual)) = (own[part].as_object_mut(), usual[part].as_object()) {
                own.retain(|key, value| usual.get(key) != Some(value));
            }
        }
        Ok(own.to_string())
    }
}

/// docker's `Config`: what an image made of the container would keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "Docker's Engine API documents them under the same names"
)]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    pub image: String,
    pub volumes: Option<BTreeMap<String, Empty>>,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    pub on_build: Option<Vec<String>>,
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Not docker's: systemd is the first process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub systemd_mode: bool,
}

impl Config {
    /// Takes from an image's configuration what was not told, by docker's rules.
    pub fn complete(&mut self, image: &ImageConfig) {
        if self.user.is_empty() {
            self.user.clone_from(&image.user);
        }
        for (port, empty) in &image.exposed_ports {
            self.exposed_ports.entry(port.clone()).or_insert(*empty);
        }
        let name = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
        let mut env = image.env.clone();
        env.retain(|entry| !self.env.iter().any(|own| name(own) == name(entry)));
        self.env.append(&mut env);
        for (key, value) in &image.labels {
            self.labels
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
        // An entry point of one's own makes the image's command meaningless.
        if self.entrypoint.is_none() {
            if self.cmd.as_ref().is_none_or(Vec::is_empty) {
                self.cmd.clone_from(&image.cmd);
            }
            self.entrypoint.clone_from(&image.entrypoint);
        }
        self.healthcheck = health::merge(self.healthcheck.take(), image.healthcheck.as_ref());
        if self.working_dir.is_empty() {
            self.working_dir.clone_from(&image.working_dir);
        }
        if !image.volumes.is_empty() {
            let volumes = self.volumes.get_or_insert_default();
            for (path, empty) in &image.volumes {
                volumes.entry(path.clone()).or_insert(*empty);
            }
        }
        if self.stop_signal.is_none() {
            self.stop_signal.clone_from(&image.stop_signal);
        }
        if self.shell.is_none() {
            self.shell.clone_from(&image.shell);
        }
    }

    /// The command line: entry point and command. One empty word as entry point means none.
    pub fn argv(&self) -> Vec<String> {
        let entrypoint = self.entrypoint.iter().flatten();
        let cmd = self.cmd.iter().flatten();
        let mut argv: Vec<String> = entrypoint.chain(cmd).cloned().collect();
        if self
            .entrypoint
            .as_ref()
            .is_some_and(|words| words.as_slice() == [""])
        {
            argv.remove(0);
        }
        argv
    }
}

/// docker's `HostConfig`: what this machine does for the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(
    missing_docs,
    reason = "Docker's Engine API documents them under the same names"
)]
pub struct HostConfig {
    pub binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    pub network_mode: String,
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    pub restart_policy: RestartRule,
    pub auto_remove: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub volume_driver: String,
    pub volumes_from: Option<Vec<String>>,
    pub console_size: [u16; 2],
    pub cap_add: Option<Vec<String>>,
    pub cap_drop: Option<Vec<String>>,
    pub cgroupns_mode: String,
    pub dns: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    pub extra_hosts: Option<Vec<String>>,
    pub group_add: Option<Vec<String>>,
    pub ipc_mode: String,
    pub cgroup: String,
    pub links: Option<Vec<String>>,
    pub oom_score_adj: i64,
    pub pid_mode: String,
    pub privileged: bool,
    pub publish_all_ports: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    pub userns_mode: String,
    pub shm_size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    pub runtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    pub isolation: String,
    pub cpu_shares: u64,
    pub memory: u64,
    pub nano_cpus: u64,
    pub cgroup_parent: String,
    pub blkio_weight: u16,
    pub blkio_weight_device: Vec<WeightDevice>,
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    pub cpu_period: u64,
    pub cpu_quota: i64,
    pub cpu_realtime_period: u64,
    pub cpu_realtime_runtime: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub devices: Vec<DeviceMapping>,
    pub device_cgroup_rules: Option<Vec<String>>,
    pub device_requests: Option<Vec<DeviceRequest>>,
    pub memory_reservation: u64,
    pub memory_swap: i64,
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: Option<bool>,
    pub pids_limit: Option<i64>,
    pub ulimits: Vec<UlimitRule>,
    pub cpu_count: u64,
    pub cpu_percent: u64,
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file` or `none`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `max-size` and its kin.
    pub config: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            kind: "json-file".to_owned(),
            config: BTreeMap::new(),
        }
    }
}

/// Where on this machine a port is published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// The address; empty for all.
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    /// The port, or a range of them; empty for any.
    #[serde(rename = "HostPort")]
    pub host_port: String,
}

/// What is done when a container ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartRule {
    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub name: String,
    /// How often at most, with `on-failure`; 0 is any number.
    pub maximum_retry_count: u32,
}

impl Default for RestartRule {
    fn default() -> Self {
        Self {
            name: "no".to_owned(),
            maximum_retry_count: 0,
        }
    }
}

/// The share of a block device's time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// The device's path.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A limit on what a block device does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// The device's path.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A device of this machine in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// Its path on this machine.
    #[serde(rename = "PathOnHost")]
    pub path_on_host: String,
    /// Its path in the container.
    #[serde(rename = "PathInContainer")]
    pub path_in_container: String,
    /// `rwm` or less.
    #[serde(rename = "CgroupPermissions")]
    pub permissions: String,
}

/// Devices by what they can do, of which a driver would know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// The driver's name.
    pub driver: String,
    /// So many; -1 is all.
    pub count: i64,
    /// Which ones.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// What they have to be able to do: all of one of these lists.
    pub capabilities: Vec<Vec<String>>,
}

/// A limit for each process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UlimitRule {
    /// Its name, as `nofile`.
    pub name: String,
    /// The hard limit; -1 is none.
    pub hard: i64,
    /// The soft limit.
    pub soft: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn command_lines_are_put_together_as_dockers() {
        let image = ImageConfig {
            entrypoint: words("/entry"),
            cmd: words("a b"),
            ..ImageConfig::default()
        };
        for (entrypoint, cmd, argv) in [
            (None, None, "/entry a b"),
            (None, words("c"), "/entry c"),
            (words("/own"), None, "/own"),
            (words("/own"), words("c"), "/own c"),
            (Some(vec![String::new()]), words("c"), "c"),
        ] {
            let mut config = Config {
                entrypoint,
                cmd,
                ..Config::default()
            };
            config.complete(&image);
            assert_eq!(config.argv().join(" "), argv);
        }
    }

    #[test]
    fn what_is_stored_is_short_and_comes_back_whole() {
        let record = Record {
            config: Config {
                cmd: Some(Vec::new()),
                image: "busybox".to_owned(),
                ..Config::default()
            },
            host: HostConfig {
                memory_swappiness: Some(0),
                oom_kill_disable: Some(false),
                network_mode: "none".to_owned(),
                ..HostConfig::default()
            },
            ..Record::default()
        };
        let text = record.text().unwrap();
        let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
        let config = serde_json::json!({"Cmd": [], "Image": "busybox"});
        let host = serde_json::json!({
            "MemorySwappiness": 0,
            "NetworkMode": "none",
            "OomKillDisable": false,
        });
        assert_eq!((&stored["config"], &stored["host"]), (&config, &host));
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn own_variables_and_labels_win() {
        let image = ImageConfig {
            env: vec!["PATH=/bin".to_owned(), "A=1".to_owned()],
            labels: [("a".to_owned(), "1".to_owned())].into(),
            user: "app".to_owned(),
            ..ImageConfig::default()
        };
        let mut config = Config {
            env: vec!["A=2".to_owned(), "B=3".to_owned()],
            labels: [("a".to_owned(), "2".to_owned())].into(),
            ..Config::default()
        };
        config.complete(&image);
        assert_eq!(config.env, ["A=2", "B=3", "PATH=/bin"]);
        assert_eq!(config.labels["a"], "2");
        assert_eq!(config.user, "app");
    }
}
