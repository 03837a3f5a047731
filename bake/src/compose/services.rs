//! From services to targets.

use std::collections::BTreeMap;

use super::node::{Kind, Node};
use crate::config::{self, Config};
use crate::entries::{self, Attest, Cache, Entry, Export, Secret, Ssh};
use crate::error::Mistake;
use crate::target::{Group, Pairs, Target, words_once};

/// What `build` may say.
const KEYS: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// Parts of `build` that are names with values, however they are written.
const PAIRS: &[&str] = &["args", "labels", "additional_contexts"];

/// Writes everything in its long form, so that files can be merged.
pub fn canonical(root: &mut Node) -> Result<(), Mistake> {
    let Kind::Map(entries) = &mut root.kind else {
        return Ok(());
    };
    let services = entries.iter_mut().filter(|(name, _)| name == "services");
    for (_, services) in services {
        services.map("services")?;
        let Kind::Map(services) = &mut services.kind else {
            continue;
        };
        for (name, service) in services {
            service.map(&format!("services.{name}"))?;
            let Kind::Map(parts) = &mut service.kind else {
                continue;
            };
            for (part, node) in parts {
                match part.as_str() {
                    "build" => build(node, name)?,
                    "environment" => as_map(node, &format!("services.{name}.environment"))?,
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn build(node: &mut Node, service: &str) -> Result<(), Mistake> {
    let at = node.at;
    if let Kind::Text(_) = &node.kind {
        let context = node.clone();
        node.kind = Kind::Map(vec![("context".to_owned(), context)]);
    }
    let path = format!("services.{service}.build");
    node.map(&path)?;
    let Kind::Map(parts) = &mut node.kind else {
        return Ok(());
    };
    for (name, part) in parts {
        if !KEYS.contains(&name.as_str()) && !name.starts_with("x-") {
            let text = format!("{path} additional properties '{name}' not allowed");
            return Err(Mistake::at(
                if part.at.end == 0 { at } else { part.at },
                text,
            ));
        }
        if PAIRS.contains(&name.as_str()) {
            as_map(part, &format!("{path}.{name}"))?;
        }
    }
    Ok(())
}

fn as_map(node: &mut Node, what: &str) -> Result<(), Mistake> {
    let at = node.at;
    let pairs = node.pairs(what)?;
    let entries = pairs.into_iter().map(|(name, value)| {
        let kind = value.map_or(Kind::Null, Kind::Text);
        (name, Node { kind, at })
    });
    node.kind = Kind::Map(entries.collect());
    Ok(())
}

/// Adds a target for each service that is built, and the group of all.
pub fn add(
    root: &Node,
    environment: &BTreeMap<String, String>,
    config: &mut Config,
) -> Result<(), Mistake> {
    let Some(services) = root.get("services") else {
        return Ok(());
    };
    let mut all = Group {
        name: "default".to_owned(),
        ..Group::default()
    };
    let mut sorted: Vec<&(String, Node)> = services.map("services")?.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, service) in sorted {
        let service = &extended(services, service, &mut vec![name.clone()])?;
        let Some(build) = service.get("build") else {
            continue;
        };
        let target = target_name(name);
        config::check_name(&target).map_err(|what| {
            Mistake::at(
                service.at,
                format!("invalid service name {target:?}: {what}"),
            )
        })?;
        all.targets.push(target.clone());
        let mut found = Reader {
            name,
            root,
            service,
            build,
            environment,
        }
        .target()?;
        found.name = target;
        config.add_target(found);
    }
    // In a file of its own nothing else is called so; what is defined beside it counts more.
    if config.group("default").is_none() {
        config.groups.push(all);
    }
    Ok(())
}

/// Services may have dots in their names, targets may not.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

/// A service with what it extends.
fn extended(services: &Node, service: &Node, seen: &mut Vec<String>) -> Result<Node, Mistake> {
    let Some(extends) = service.get("extends") else {
        return Ok(service.clone());
    };
    let name = match &extends.kind {
        Kind::Text(name) => name.clone(),
        _ => {
            let name = extends
                .get("service")
                .map(|name| name.text("extends.service"));
            name.transpose()?.flatten().unwrap_or_default()
        }
    };
    if seen.contains(&name) {
        let text = format!(
            "circular reference: {} extends {name}",
            seen.join(" extends ")
        );
        return Err(Mistake::at(extends.at, text));
    }
    let Some(base) = services.get(&name) else {
        let text = format!("cannot extend service {name}: it is not in the file");
        return Err(Mistake::at(extends.at, text));
    };
    seen.push(name);
    let mut base = extended(services, base, seen)?;
    base.merge(service.clone());
    Ok(base)
}

struct Reader<'a> {
    name: &'a str,
    root: &'a Node,
    service: &'a Node,
    build: &'a Node,
    environment: &'a BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    fn path(&self, key: &str) -> String {
        format!("services.{}.build.{key}", self.name)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Mistake> {
        let node = self.build.get(key);
        let text = node.map(|node| node.text(&self.path(key))).transpose()?;
        Ok(text.flatten().filter(|text| !text.is_empty()))
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Mistake> {
        let node = self.build.get(key);
        node.map(|node| node.texts(&self.path(key))).transpose()
    }

    fn pairs(&self, key: &str) -> Result<Vec<(String, Option<String>)>, Mistake> {
        let node = self.build.get(key);
        let pairs = node.map(|node| node.pairs(&self.path(key)));
        Ok(pairs.transpose()?.unwrap_or_default())
    }

    fn said(&self, key: &str) -> Result<Option<bool>, Mistake> {
        let node = self.build.get(key);
        let truth = node.map(|node| node.truth(&self.path(key))).transpose()?;
        Ok(truth.flatten().filter(|truth| *truth))
    }

    fn wrong(&self, key: &str, what: impl std::fmt::Display) -> Mistake {
        let at = self.build.get(key).map_or(self.build.at, |node| node.at);
        Mistake::at(at, format!("{}: {what}", self.path(key)))
    }

    fn target(&self) -> Result<Target, Mistake> {
        let caches = |key: &str| -> Result<Option<Vec<Cache>>, Mistake> {
            let texts = self.texts(key)?;
            let all = texts.map(|texts| Cache::parse_all(&texts));
            all.transpose().map_err(|what| self.wrong(key, what))
        };
        let mut target = Target {
            context: self.text("context")?,
            contexts: contexts(self.pairs("additional_contexts")?),
            dockerfile: self.text("dockerfile")?,
            dockerfile_inline: self.text("dockerfile_inline")?,
            args: self.args()?,
            labels: self.labels()?,
            tags: self.texts("tags")?,
            cache_from: caches("cache_from")?,
            cache_to: caches("cache_to")?,
            target: self.text("target")?,
            secret: self.secrets()?,
            ssh: self.ssh()?,
            platforms: self.texts("platforms")?,
            attest: self.attests()?,
            pull: self.said("pull")?,
            no_cache: self.said("no_cache")?,
            network: self.text("network")?,
            shm_size: self.shm_size()?,
            ulimits: self.ulimits()?,
            entitlements: self.texts("entitlements")?,
            extra_hosts: self.hosts()?,
            ..Target::default()
        };
        if let Some(more) = self.build.get("x-bake") {
            extension(&mut target, more, &self.path("x-bake"))?;
        }
        if target.tags.as_ref().is_none_or(Vec::is_empty)
            && let Some(image) = self.service.get("image")
        {
            let image = image.text(&format!("services.{}.image", self.name))?;
            target.tags = image
                .filter(|image| !image.is_empty())
                .map(|image| vec![image]);
        }
        Ok(target)
    }

    /// A build argument without a value has that of the service's environment, or of ours.
    fn args(&self) -> Result<Pairs, Mistake> {
        let own = self.service.get("environment");
        let what = format!("services.{}.environment", self.name);
        let own = own
            .map(|own| own.pairs(&what))
            .transpose()?
            .unwrap_or_default();
        let args = self.pairs("args")?.into_iter().filter_map(|(name, value)| {
            let value = value.or_else(|| {
                let found = own.iter().rev().find(|(known, _)| *known == name);
                let found = found.and_then(|(_, value)| value.clone());
                found.or_else(|| self.environment.get(&name).cloned())
            });
            Some((name, Some(value?)))
        });
        Ok(args.collect())
    }

    fn labels(&self) -> Result<Pairs, Mistake> {
        let pairs = self.pairs("labels")?.into_iter();
        Ok(pairs
            .map(|(name, value)| (name, Some(value.unwrap_or_default())))
            .collect())
    }

    fn hosts(&self) -> Result<Pairs, Mistake> {
        let Some(node) = self.build.get("extra_hosts") else {
            return Ok(Pairs::new());
        };
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        match &node.kind {
            Kind::List(list) => {
                for one in list {
                    let text = one.text(&self.path("extra_hosts"))?.unwrap_or_default();
                    let Some((name, address)) = text.split_once('=').or(text.split_once(':'))
                    else {
                        return Err(self.wrong("extra_hosts", format!("{text:?} has no address")));
                    };
                    all.entry(name.to_owned())
                        .or_default()
                        .push(address.to_owned());
                }
            }
            _ => {
                for (name, addresses) in node.map(&self.path("extra_hosts"))? {
                    let addresses = addresses.texts(&self.path("extra_hosts"))?;
                    all.entry(name.clone()).or_default().extend(addresses);
                }
            }
        }
        let joined = all
            .into_iter()
            .map(|(name, list)| (name, Some(list.join(","))));
        Ok(joined.collect())
    }

    fn secrets(&self) -> Result<Option<Vec<Secret>>, Mistake> {
        let Some(node) = self.build.get("secrets") else {
            return Ok(None);
        };
        let Kind::List(list) = &node.kind else {
            return Err(self.wrong("secrets", "it must be a list"));
        };
        let mut all = Vec::new();
        for one in list {
            let name = match one.get("source") {
                Some(source) => source.text(&self.path("secrets"))?,
                None => one.text(&self.path("secrets"))?,
            };
            let name = name.unwrap_or_default();
            let known = self.root.get("secrets").and_then(|all| all.get(&name));
            let Some(known) = known else {
                let text = format!("refers to undefined secret {name}");
                return Err(self.wrong("secrets", text));
            };
            let get = |key: &str| -> Result<String, Mistake> {
                let value = known
                    .get(key)
                    .map(|value| value.text(&format!("secrets.{name}.{key}")));
                Ok(value.transpose()?.flatten().unwrap_or_default())
            };
            if known.get("external").is_some() {
                return Err(self.wrong("secrets", format!("unsupported external secret {name}")));
            }
            all.push(Secret::new(&name, &get("file")?, &get("environment")?));
        }
        Ok(Some(all))
    }

    fn ssh(&self) -> Result<Option<Vec<Ssh>>, Mistake> {
        let Some(node) = self.build.get("ssh") else {
            return Ok(None);
        };
        let texts = match &node.kind {
            Kind::Map(entries) => {
                let texts = entries.iter().map(|(id, path)| {
                    let path = path.text(&self.path("ssh"))?;
                    Ok(path.map_or_else(|| id.clone(), |path| format!("{id}={path}")))
                });
                texts.collect::<Result<Vec<_>, _>>()?
            }
            _ => node.texts(&self.path("ssh"))?,
        };
        let all = texts.iter().map(|text| Ssh::parse(text));
        let all: Result<Vec<_>, _> = all.collect();
        let mut all = all.map_err(|what| self.wrong("ssh", what))?;
        all.sort();
        Ok(Some(all))
    }

    fn attests(&self) -> Result<Option<Vec<Attest>>, Mistake> {
        let mut all = Vec::new();
        for kind in ["sbom", "provenance"] {
            if let Some(text) = self.text(kind)? {
                let flag = attest_flag(kind, &text);
                all.push(Attest::parse(&flag).map_err(|what| self.wrong(kind, what))?);
            }
        }
        Ok(Some(all).filter(|all| !all.is_empty()))
    }

    fn shm_size(&self) -> Result<Option<String>, Mistake> {
        let Some(text) = self.text("shm_size")? else {
            return Ok(None);
        };
        let size = golang::size::parse_size(&text)
            .ok_or_else(|| self.wrong("shm_size", format!("invalid size: {text:?}")))?;
        Ok(Some(size).filter(|size| *size > 0).map(in_words))
    }

    fn ulimits(&self) -> Result<Option<Vec<String>>, Mistake> {
        let Some(node) = self.build.get("ulimits") else {
            return Ok(None);
        };
        let path = self.path("ulimits");
        let mut all = Vec::new();
        for (name, limit) in node.map(&path)? {
            let (soft, hard) = match &limit.kind {
                Kind::Map(_) => {
                    let get = |key: &str| match limit.get(key) {
                        Some(one) => Ok(one.text(&path)?.unwrap_or_default()),
                        None => Err(Mistake::at(limit.at, format!("{path}.{name} has no {key}"))),
                    };
                    (get("soft")?, get("hard")?)
                }
                _ => {
                    let single = limit.text(&path)?.unwrap_or_default();
                    (single.clone(), single)
                }
            };
            all.push(format!("{name}={soft}:{hard}"));
        }
        Ok(Some(all))
    }
}

/// `--sbom` and `--provenance` as the value of `--attest`.
pub fn attest_flag(kind: &str, text: &str) -> String {
    match entries::parse_bool(text) {
        Some(wanted) => format!("type={kind},disabled={}", !wanted),
        None => format!("type={kind},{text}"),
    }
}

/// A size as docker writes it: four digits of the largest unit.
fn in_words(size: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut whole, mut rest, mut unit) = (size, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    let places: u32 = match whole {
        0..=9 => 3,
        10..=99 => 2,
        100..=999 => 1,
        _ => 0,
    };
    let scale = 10_u64.pow(places);
    let rounded = whole * scale + (rest * scale + 512) / 1024;
    let (whole, digits) = (rounded / scale, rounded % scale);
    let digits = format!("{digits:0width$}", width = places as usize);
    match digits.trim_end_matches('0') {
        "" => format!("{whole}{name}"),
        digits => format!("{whole}.{digits}{name}"),
    }
}

/// Contexts, of which services are targets here.
fn contexts(pairs: Vec<(String, Option<String>)>) -> BTreeMap<String, String> {
    let contexts = pairs.into_iter().map(|(name, place)| {
        let place = place.unwrap_or_default();
        let service = place
            .strip_prefix("service:")
            .or_else(|| place.strip_prefix("target:"));
        match service {
            Some(service) => (name, format!("target:{}", target_name(service))),
            None => (name, place),
        }
    });
    contexts.collect()
}

/// `x-bake`: what compose has no words for.
fn extension(target: &mut Target, node: &Node, path: &str) -> Result<(), Mistake> {
    fn parsed<E: Entry>(texts: &[String], at: &Node) -> Result<Vec<E>, Mistake> {
        let texts = texts.iter().filter(|text| !text.is_empty());
        let all = texts.map(|text| E::parse(text)).collect::<Result<_, _>>();
        all.map_err(|what| Mistake::at(at.at, what))
    }
    fn more(own: &mut Option<Vec<String>>, given: Vec<String>) {
        let mut all = own.take().unwrap_or_default();
        all.extend(given);
        *own = Some(words_once(all));
    }
    let mut added = Target::default();
    for (key, part) in node.map(path)? {
        let what = format!("{path}.{key}");
        // One string is as many words as it has.
        let texts = || match &part.kind {
            Kind::Text(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
            _ => part.texts(&what),
        };
        match key.as_str() {
            "tags" => more(&mut target.tags, texts()?),
            "platforms" => more(&mut target.platforms, texts()?),
            "no-cache-filter" => more(&mut target.no_cache_filter, texts()?),
            "cache-from" => added.cache_from = Some(caches(&texts()?, part)?),
            "cache-to" => {
                let own = target.cache_to.get_or_insert_default();
                own.extend(caches(&texts()?, part)?);
            }
            "secret" => added.secret = Some(parsed(&texts()?, part)?),
            "ssh" => added.ssh = Some(parsed(&texts()?, part)?),
            "output" => {
                let own = target.output.get_or_insert_default();
                own.extend(parsed::<Export>(&texts()?, part)?);
            }
            "pull" => added.pull = part.truth(&what)?,
            "no-cache" => added.no_cache = part.truth(&what)?,
            "contexts" => {
                for (name, place) in contexts(part.pairs(&what)?) {
                    target.contexts.entry(name).or_insert(place);
                }
            }
            _ => {}
        }
    }
    target.merge(&added);
    if let Some(ssh) = &mut target.ssh {
        ssh.sort();
    }
    Ok(())
}

fn caches(texts: &[String], at: &Node) -> Result<Vec<Cache>, Mistake> {
    Cache::parse_all(texts).map_err(|what| Mistake::at(at.at, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        for (size, words) in [
            (64 << 20, "64MiB"),
            (1, "1B"),
            (1536, "1.5KiB"),
            (1_000_000, "976.6KiB"),
            (128 << 30, "128GiB"),
        ] {
            assert_eq!(in_words(size), words);
        }
    }
}
