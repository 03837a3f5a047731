//! `--build-arg` and `--platform`.

use builder::plan::BuildArgs;
use builder::plan::args::EPOCH;
use client::config::DockerConfig;
use oci::Platform;

use crate::failure::Failure;
use crate::usage::wrong_value;

/// `--platform`
pub fn platform(given: Option<&str>) -> Result<Platform, Failure> {
    match given {
        None => Ok(Platform::host()),
        Some(text) => text.parse().map_err(|e| Failure::with_code(e, 125)),
    }
}

/// The proxies of docker's configuration.
fn proxies() -> Result<Vec<(&'static str, String)>, Failure> {
    // Proxies are configured for a daemon; where none is named, docker has this one.
    let host = std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty());
    let host = host.as_deref().unwrap_or("unix:///var/run/docker.sock");
    Ok(DockerConfig::from_env().proxies(host)?)
}

/// What docker builds for where nothing is typed.
const DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";

/// `--platform` of a build, which may have several; at least one.
pub fn platforms(given: &[String]) -> Result<Vec<Platform>, Failure> {
    let mut platforms = Vec::new();
    let usual = match given {
        [] => std::env::var(DEFAULT_PLATFORM).ok(),
        _ => None,
    };
    let usual = usual.filter(|text| !text.is_empty());
    let given = given.iter().chain(&usual);
    for text in given.map(|text| text.trim()) {
        let platform = match text {
            "local" => Platform::host(),
            text => text.parse().map_err(|_| {
                let quoted = golang::quote::go_quote(text);
                Failure::new(format!(
                    "{quoted}: cannot parse platform specifier: invalid argument; write \
                     OS/ARCH[/VARIANT], as in linux/amd64 or linux/arm/v7"
                ))
            })?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    Ok(platforms)
}

/// `--build-arg`, and what the environment and docker's configuration give.
pub fn build_args(given: &[String]) -> Result<BuildArgs, Failure> {
    let mut build_args = Vec::new();
    for arg in given {
        if arg.is_empty() || arg.starts_with('=') {
            let why = format!("invalid environment variable: {arg}");
            return Err(Failure::with_code(
                wrong_value("--build-arg", arg, &why),
                125,
            ));
        }
        match arg.split_once('=') {
            Some((name, value)) => build_args.push((name.to_owned(), value.to_owned())),
            // As docker: a bare name takes the environment's value, and is dropped without one.
            None => {
                if let Ok(value) = std::env::var(arg) {
                    build_args.push((arg.clone(), value));
                }
            }
        }
    }
    if let Ok(epoch) = std::env::var(EPOCH)
        && !build_args.iter().any(|(name, _)| name == EPOCH)
    {
        build_args.push((EPOCH.to_owned(), epoch));
    }
    for (name, value) in proxies()? {
        if !build_args
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
        {
            build_args.push((name.to_owned(), value));
        }
    }
    Ok(BuildArgs::new(build_args))
}
