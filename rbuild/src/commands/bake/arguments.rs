//! A target as it would be typed after `rbuild build`: what a target says means what the flag
//! means, and a flag that is not there is refused by its name.

use std::collections::BTreeMap;
use std::path::Path;

use bake::entries::{Attest, Entry, Export};
use bake::plan::is_remote;
use bake::target::{Pairs, Target};
use builder::context::{THIS_MACHINE, below};

use crate::failure::Failure;

/// What a target is built with beside what it says.
#[derive(Debug)]
pub struct With<'a> {
    /// The images of the targets that it may link to, by name.
    pub built: &'a BTreeMap<String, String>,
    /// The file that its own Dockerfile was written to.
    pub inline: Option<&'a Path>,
    /// Flags for all targets.
    pub common: &'a [String],
    /// Other targets start from it, so that its image has to be in the store.
    pub needed: bool,
    /// It is only to be looked at.
    pub looked_at: bool,
    /// Where the definitions were fetched from, if they were.
    pub remote: Option<&'a str>,
}

/// The words after `build`.
///
/// # Errors
/// What it says cannot be said of a build.
pub fn arguments(target: &Target, with: &With<'_>) -> Result<Vec<String>, Failure> {
    let mut words: Vec<String> = with.common.to_vec();
    let mut flag = |name: &str, value: &str| words.push(format!("--{name}={value}"));
    let context = target.context.as_deref().unwrap_or(".");
    let remote = with.remote.filter(|_| !target.local);
    let context = &folder(context, remote)?;
    if let Some(file) = dockerfile(target, context, with.inline) {
        flag("file", &file);
    }
    each(&target.args, |name, value| {
        flag("build-arg", &format!("{name}={value}"))
    });
    each(&target.labels, |name, value| {
        flag("label", &format!("{name}={value}"))
    });
    each(&target.extra_hosts, |name, value| {
        for address in value.split(',') {
            flag("add-host", &format!("{name}={address}"));
        }
    });
    for (name, place) in &target.contexts {
        let place = match place.strip_prefix("target:") {
            Some(other) => match with.built.get(other) {
                Some(id) => format!("docker-image://{id}"),
                None => {
                    let text = format!("target {other}, which context {name} names, has no image");
                    return Err(Failure::new(text));
                }
            },
            None => match place.strip_prefix("cwd://") {
                Some(local) => local.to_owned(),
                None => folder(place, with.remote)?,
            },
        };
        flag("build-context", &format!("{name}={place}"));
    }
    let single = [
        ("target", &target.target),
        ("network", &target.network),
        ("shm-size", &target.shm_size),
    ];
    for (name, value) in single {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    let lists = [
        ("ulimit", &target.ulimits),
        ("annotation", &target.annotations),
        ("no-cache-filter", &target.no_cache_filter),
        ("allow", &target.entitlements),
    ];
    for (name, list) in lists {
        list.iter().flatten().for_each(|value| flag(name, value));
    }
    if let Some(platforms) = target.platforms.as_ref().filter(|list| !list.is_empty()) {
        flag("platform", &platforms.join(","));
    }
    for one in target.secret.iter().flatten() {
        flag("secret", &one.flag());
    }
    for one in target.ssh.iter().flatten() {
        flag("ssh", &one.flag());
    }
    for one in target.cache_from.iter().flatten() {
        flag("cache-from", &one.flag());
    }
    for (name, wanted) in [("no-cache", target.no_cache), ("pull", target.pull)] {
        if wanted == Some(true) {
            flag(name, "true");
        }
    }
    if !with.looked_at && !target.linked {
        target
            .tags
            .iter()
            .flatten()
            .for_each(|tag| flag("tag", tag));
        for one in target.cache_to.iter().flatten() {
            flag("cache-to", &one.flag());
        }
        target
            .attest
            .iter()
            .flatten()
            .for_each(|one| attest(one, &mut flag));
        let all = target.output.as_deref().unwrap_or_default();
        outputs(all, with.needed, &mut flag);
    }
    words.push("--".to_owned());
    words.push(context.to_owned());
    Ok(words)
}

/// Where a context is: a folder is one of the place that the definitions were fetched from.
fn folder(place: &str, remote: Option<&str>) -> Result<String, Failure> {
    let (Some(remote), false) = (remote, is_elsewhere(place)) else {
        return Ok(place.to_owned());
    };
    below(remote, place).ok_or_else(|| {
        Failure::new(format!(
            "folder {place} of {remote} cannot be a context: only folders of git repositories can"
        ))
    })
}

/// Whether a context is none of a folder's.
pub fn is_elsewhere(place: &str) -> bool {
    let schemes = ["target:", "docker-image:", "oci-layout:"];
    schemes.iter().any(|scheme| place.starts_with(scheme)) || is_remote(place)
}

fn each(pairs: &Pairs, mut then: impl FnMut(&str, &str)) {
    for (name, value) in pairs {
        if let Some(value) = value {
            then(name, value);
        }
    }
}

fn dockerfile(target: &Target, context: &str, inline: Option<&Path>) -> Option<String> {
    if let Some(inline) = inline {
        return Some(format!("{THIS_MACHINE}{}", inline.display()));
    }
    let file = target.dockerfile.as_deref().unwrap_or("Dockerfile");
    // Its default has other names too, which the build looks for.
    match (file, is_remote(context)) {
        ("Dockerfile", _) => None,
        (file, _) if file.starts_with(THIS_MACHINE) => Some(file.to_owned()),
        (file, true) => Some(file.to_owned()),
        (file, false) => Some(Path::new(context).join(file).display().to_string()),
    }
}

fn attest(one: &Attest, flag: &mut impl FnMut(&str, &str)) {
    match (one.disabled, one.kind.as_str()) {
        (true, "provenance" | "sbom") => flag(&one.kind, "false"),
        _ => flag("attest", &one.flag()),
    }
}

/// An image in the store is what a build makes anyway.
fn outputs(outputs: &[Export], needed: bool, flag: &mut impl FnMut(&str, &str)) {
    let mut elsewhere = false;
    for one in outputs {
        let plain = one.dest.is_none();
        let pushed = one.attributes.get("push").map(String::as_str);
        let pushed_alone = one.attributes.keys().all(|name| name == "push");
        match one.kind.as_str() {
            "docker" if plain && one.attributes.is_empty() => {}
            "cacheonly" if needed => elsewhere = true,
            "registry" if plain && one.attributes.is_empty() => flag("push", "true"),
            "image" if plain && pushed_alone => {
                if let Some("true") = pushed {
                    flag("push", "true");
                }
            }
            _ => {
                elsewhere = true;
                flag("output", &one.flag());
            }
        }
    }
    // What others start from is in the store, but without the names of another output.
    if needed && elsewhere {
        flag("output", "type=cacheonly,store=true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(hcl: &str) -> Target {
        let file = bake::source::Definition {
            name: "docker-bake.hcl".to_owned(),
            text: format!("target \"default\" {{\n{hcl}\n}}\n"),
        };
        let around = crate::commands::bake::files::around().unwrap();
        let read = bake::read::read(&[file], &around).unwrap();
        let plan = read.plan(&["default".to_owned()], &[]).unwrap();
        plan.targets.get("default").unwrap().clone()
    }

    fn typed(hcl: &str) -> String {
        let built = BTreeMap::from([("base".to_owned(), "sha256:b".to_owned())]);
        let with = With {
            built: &built,
            inline: None,
            common: &[],
            needed: false,
            looked_at: false,
            remote: None,
        };
        arguments(&target(hcl), &with).unwrap().join(" ")
    }

    #[test]
    fn what_a_target_says_is_what_a_build_is_told() {
        for (hcl, words) in [
            ("", "-- ."),
            (
                "context = \"app\"\ndockerfile = \"D\"",
                "--file=app/D -- app",
            ),
            ("args = { A = 1, B = null }", "--build-arg=A=1 -- ."),
            ("tags = [\"a\", \"b\"]", "--tag=a --tag=b -- ."),
            (
                "contexts = { x = \"docker-image://y\" }",
                "--build-context=x=docker-image://y -- .",
            ),
            (
                "network = \"host\"",
                "--network=host --allow=network.host -- .",
            ),
            (
                "platforms = [\"linux/amd64\", \"linux/arm64\"]",
                "--platform=linux/amd64,linux/arm64 -- .",
            ),
            ("output = [\"type=docker\"]", "-- ."),
            (
                "output = [\"type=cacheonly\"]",
                "--output=type=cacheonly -- .",
            ),
            ("output = [\"type=registry\"]", "--push=true -- ."),
            ("output = [\"type=image,push=true\"]", "--push=true -- ."),
            (
                "output = [\"type=local,dest=out\"]",
                "--output=type=local,dest=out -- .",
            ),
            (
                "attest = [\"type=sbom,disabled=true\"]",
                "--sbom=false -- .",
            ),
            ("attest = [\"type=sbom\"]", "--attest=type=sbom -- ."),
            ("secret = [\"id=a,env=B\"]", "--secret=id=a,env=B -- ."),
            ("no-cache = true\npull = false", "--no-cache=true -- ."),
            (
                "extra-hosts = { a = \"1.2.3.4,::1\" }",
                "--add-host=a=1.2.3.4 --add-host=a=::1 -- .",
            ),
        ] {
            assert_eq!(typed(hcl), words, "{hcl}");
        }
    }
}
