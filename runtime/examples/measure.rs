//! How long it takes to start a container and wait for its end.
//!
//! `cargo run -p runtime --release --example measure [RUNS] [COMMAND...]`, as root, with a static
//! /bin/busybox. Prints the median in milliseconds for each kind of network.

#![allow(clippy::print_stdout, reason = "a program that reports figures")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use runtime::network::{Between, Config, Sandbox};
use runtime::{Container, NetworkMode, Overlay, Rootfs, Spec, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    runtime::init_hook();
    let mut args = std::env::args().skip(1);
    let runs: usize = args.next().map_or(Ok(100), |text| text.parse())?;
    let mut command: Vec<String> = args.collect();
    if command.is_empty() {
        command.push("true".to_owned());
    }
    let dir = tempfile::tempdir()?;
    let base = dir.path().join("base");
    std::fs::create_dir_all(base.join("bin"))?;
    std::fs::copy("/bin/busybox", base.join("bin/busybox"))?;
    for name in [
        "sh", "true", "cat", "ls", "mount", "id", "env", "ps", "ping", "wget",
    ] {
        std::os::unix::fs::symlink("busybox", base.join("bin").join(name))?;
    }
    let stub = dir.path().join("stub");
    runtime::overlay::prepare_stub_dir(&stub)?;
    let start = Instant::now();
    let sandbox = Sandbox::create(&Config {
        state_dir: "/run/rbuild".into(),
        bridge: "rbuild0".to_owned(),
        between: Between::Nothing,
        ..Config::default()
    })?;
    println!(
        "build network made in {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    for (label, network) in [
        ("sandbox", NetworkMode::Sandbox(Arc::new(sandbox))),
        ("none", NetworkMode::None),
        ("host", NetworkMode::Host),
    ] {
        measure(
            label,
            &network,
            runs,
            &command,
            dir.path(),
            std::slice::from_ref(&base),
            &stub,
        )?;
    }
    Ok(())
}

fn measure(
    label: &str,
    network: &NetworkMode,
    runs: usize,
    command: &[String],
    dir: &Path,
    lowers: &[PathBuf],
    stub: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut times = Vec::new();
    for run in 0..runs {
        let (upper, work) = (
            dir.join(format!("u{label}{run}")),
            dir.join(format!("w{label}{run}")),
        );
        std::fs::create_dir(&upper)?;
        std::fs::create_dir(&work)?;
        let overlay = Overlay {
            lowers: lowers.to_vec(),
            stub: Some(stub.to_owned()),
            upper,
            work,
        };
        let spec = Spec::new(Rootfs::Overlay(overlay), command.to_vec()).network(network.clone());
        let spec = spec.env(["PATH=/bin"]);
        let stdout = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned()?;
        let stderr = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned()?;
        let stdio = Stdio {
            stdin: None,
            stdout: Some(stdout),
            stderr: Some(stderr),
        };
        let start = Instant::now();
        let running = Container::spawn(&spec, stdio)?;
        let spawned = start.elapsed();
        let status = running.wait()?;
        times.push((start.elapsed(), spawned));
        if !status.success() {
            return Err(status.to_string().into());
        }
    }
    let first = times[0];
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!(
        "network {label}: first {:.2} ms, median {:.2} ms (spawned after {:.2} ms), best {:.2} ms",
        first.0.as_secs_f64() * 1e3,
        median.0.as_secs_f64() * 1e3,
        median.1.as_secs_f64() * 1e3,
        times[0].0.as_secs_f64() * 1e3,
    );
    Ok(())
}
