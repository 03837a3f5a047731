//! `rbuild info`

use clap::Args;
use client::config::Mirror;
use containers::status::Status;
use golang::template::{Template, Types};
use oci::Platform;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild info`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild info
  rbuild info -f '{{.DockerRootDir}} {{.Images}}'
  rbuild info -f json")]
pub struct InfoArgs {
    /// `json`, or a Go template with the fields that docker's info has too: .ServerVersion
    /// .Containers .ContainersRunning .ContainersPaused .ContainersStopped .LoggingDriver
    /// .Images .Driver .DockerRootDir .CgroupVersion .CgroupDriver .KernelVersion
    /// .OperatingSystem .OSType .Architecture .NCPU .MemTotal .Name .RegistryConfig .Swarm
    /// .SecurityOptions .Plugins .DefaultRuntime .Runtimes .Warnings and the limits that there
    /// are, such as .MemoryLimit; and .Layers .CacheRecords .Blobs .StoreSize
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

const DEFAULT: &str = "\
rbuild:
 Version: {{.ServerVersion}}

Containers: {{.Containers}}
 Running: {{.ContainersRunning}}
 Paused: {{.ContainersPaused}}
 Stopped: {{.ContainersStopped}}
 Logging Driver: {{.LoggingDriver}}

Store:
 Root: {{.DockerRootDir}}
 Storage Driver: {{.Driver}}
 Images: {{.Images}}
 Unpacked Layers: {{.Layers}}
 Build Cache Records: {{.CacheRecords}}
 Blobs: {{.Blobs}}

Host:
 Name: {{.Name}}
 Kernel Version: {{.KernelVersion}}
 Operating System: {{.OperatingSystem}}
 OSType: {{.OSType}}
 Architecture: {{.Architecture}}
 CPUs: {{.NCPU}}
 Total Memory: {{.MemTotal}}
 Cgroup Driver: {{.CgroupDriver}}
 Cgroup Version: {{.CgroupVersion}}
 Registry Mirrors:{{range .RegistryConfig.Mirrors}}
  {{.}}{{else}} none{{end}}
 Insecure Registries:{{range .RegistryConfig.InsecureRegistries}}
  {{.}}{{else}} none{{end}}";

/// Runs the command.
pub async fn run(app: &App, args: InfoArgs) -> Outcome {
    let template = Template::parse(match args.format.as_deref() {
        None => DEFAULT,
        Some("json") => "{{json .}}",
        Some(text) => text,
    })?;
    let text = template.render(&document(app).await?, &Types::default())?;
    app.printer.line(text);
    Ok(())
}

async fn document(app: &App) -> Result<Value, Failure> {
    let containers = app.containers_to_read().await?;
    let store = containers.store();
    let states = containers.list().await?;
    let count = |holds: &dyn Fn(Status) -> bool| {
        let all = states.iter().map(|one| one.state.status);
        all.filter(|status| holds(*status)).count()
    };
    let running = count(&|status| matches!(status, Status::Running | Status::Restarting));
    let paused = count(&|status| status == Status::Paused);
    let usage = store.usage().await?;
    let registries = client::Config::from_env()?.registries;
    let mirrors: Vec<String> = registries
        .get("docker.io")
        .map(|settings| settings.mirrors.iter().map(address).collect())
        .unwrap_or_default();
    let host = Platform::host();
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = rustix::system::sysinfo();
    let mut facts = json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "DockerRootDir": store.root(),
        "Driver": "overlay2",
        "Containers": states.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": states.len() - running - paused,
        "LoggingDriver": "json-file",
        "Images": usage.images.total,
        "Layers": usage.snapshots.total,
        "CacheRecords": usage.cache.total,
        "Blobs": usage.blobs.total,
        "StoreSize": usage.snapshots.size + usage.blobs.size,
        "Name": text(system.nodename()),
        "KernelVersion": text(system.release()),
        "OperatingSystem": operating_system(),
        "OSType": host.os,
        "Architecture": text(system.machine()),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory.totalram as u64 * u64::from(memory.mem_unit),
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "RegistryConfig": {
            "Mirrors": mirrors,
            "InsecureRegistries": registries.insecure(),
        },
    });
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, usual()) {
        facts.extend(more);
    }
    Ok(facts)
}

/// What docker's users ask for to know what can be done here.
fn usual() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let supported = runtime::supported().unwrap_or_default();
    let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    json!({
        "SystemTime": jiff::Timestamp::now().to_string(),
        "Swarm": {"NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": false},
        "DefaultRuntime": "rbuild",
        "Runtimes": {"rbuild": {"path": std::env::current_exe().unwrap_or_default()}},
        "InitBinary": "container-init",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": supported.memory,
        "SwapLimit": supported.swap,
        "CpuCfsPeriod": supported.cpu,
        "CpuCfsQuota": supported.cpu,
        "CPUShares": supported.cpu,
        "CPUSet": supported.cpuset,
        "PidsLimit": supported.pids,
        "OomKillDisable": supported.oom_kill_disable,
        "IPv4Forwarding": forwards.is_ok_and(|text| text.trim() == "1"),
        "LiveRestoreEnabled": true,
        "ExperimentalBuild": false,
        "Debug": false,
        "Isolation": "",
        "Labels": [],
        "Warnings": null,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "HttpProxy": env("HTTP_PROXY"),
        "HttpsProxy": env("HTTPS_PROXY"),
        "NoProxy": env("NO_PROXY"),
        "ClientInfo": {
            "Version": version,
            "Context": "default",
            "Debug": false,
            "Plugins": [],
            "Warnings": null,
        },
    })
}

/// A mirror as docker lists it.
fn address(mirror: &Mirror) -> String {
    let scheme = match mirror.plain_http {
        Some(true) => "http",
        _ => "https",
    };
    match mirror.prefix.as_str() {
        "" => format!("{scheme}://{}/", mirror.host),
        prefix => format!("{scheme}://{}/{prefix}/", mirror.host),
    }
}

/// `PRETTY_NAME` of os-release(5).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut lines = text.lines();
    let name = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("unknown".to_owned(), |name| {
        name.trim_matches('"').to_owned()
    })
}

/// As docker tells it: 2 where the unified hierarchy is all there is.
fn cgroup_version() -> &'static str {
    match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => "2",
        false => "1",
    }
}
