//! `--set TARGET.KEY=VALUE`: what the command line says of targets.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::entries::{self, Cache, Entry, Export, Secret, Ssh, parse_bool};
use crate::error::Mistake;
use crate::granted::Granted;
use crate::target::Target;

/// What is said of one key of one target.
#[derive(Clone, Debug, Default)]
struct Override {
    key: String,
    value: String,
    list: Vec<String>,
    append: bool,
}

/// What is said of targets, by their names.
#[derive(Debug, Default)]
pub struct Overrides(BTreeMap<String, Vec<Override>>);

fn wrong(text: impl std::fmt::Display) -> Mistake {
    Mistake::nowhere(text)
}

/// Keys whose values add up.
const LISTS: &[&str] = &[
    "output",
    "cache-to",
    "cache-from",
    "tags",
    "platform",
    "secrets",
    "ssh",
    "attest",
    "entitlements",
    "annotations",
    "no-cache-filter",
    "ulimits",
];

impl Overrides {
    /// Reads what was typed.
    ///
    /// # Errors
    /// It cannot be read, or means no target.
    pub fn read(
        typed: &[String],
        config: &Config,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Mistake> {
        let mut found = Self::default();
        for text in typed {
            found.add(text, config, environment)?;
        }
        Ok(found)
    }

    fn add(
        &mut self,
        text: &str,
        config: &Config,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), Mistake> {
        let (left, value) = match text.split_once('=') {
            Some((left, value)) => (left, Some(value)),
            None => (text, None),
        };
        let (path, append) = match left.strip_suffix('+') {
            Some(path) => (path, true),
            None => (left, false),
        };
        let mut words = path.splitn(3, '.');
        let pattern = words.next().unwrap_or_default();
        let Some(key) = words.next() else {
            return Err(wrong(format!(
                "invalid override key {path}, expected target.name"
            )));
        };
        let of = words.next();
        if value.is_none() && key != "args" {
            return Err(wrong(format!(
                "invalid override {text}, expected target.name=value"
            )));
        }
        let names = config.targets_matching(pattern)?;
        if matches!(key, "args" | "contexts") && of.is_none() {
            return Err(wrong(format!("invalid key {left}, {key} requires name")));
        }
        let value = match (value, of) {
            (Some(value), _) => value.to_owned(),
            // As with --build-arg: the environment's, or nothing.
            (None, Some(name)) => match environment.get(name) {
                Some(value) => value.clone(),
                None => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        let full = match of {
            Some(of) => format!("{key}.{of}"),
            None => key.to_owned(),
        };
        for name in names {
            let all = self.0.entry(name).or_default();
            let known = all.iter().position(|one| one.key == full);
            let mut one = match known {
                Some(at) => all.remove(at),
                None => Override {
                    key: full.clone(),
                    ..Override::default()
                },
            };
            match LISTS.contains(&key) {
                true => {
                    one.append = append;
                    one.list.push(value.clone());
                }
                false => one.value.clone_from(&value),
            }
            all.push(one);
        }
        Ok(())
    }

    /// Changes a target as it is said of its name. What the command line itself names needs no
    /// further consent.
    ///
    /// # Errors
    /// A key that there is not, or a value that it cannot have.
    pub fn apply(&self, target: &mut Target, granted: &mut Granted) -> Result<(), Mistake> {
        for one in self.0.get(&target.name).into_iter().flatten() {
            one.apply(target, granted)?;
        }
        Ok(())
    }
}

fn parsed<E: Entry>(list: &[String], what: &str) -> Result<Vec<E>, Mistake> {
    let texts = list.iter().filter(|text| !text.is_empty());
    let entries = texts.map(|text| E::parse(text));
    let entries = entries.collect::<Result<_, _>>();
    entries.map_err(|why| wrong(format!("invalid value for {what}: {why}")))
}

fn put<E: Entry>(own: &mut Option<Vec<E>>, given: Vec<E>, append: bool) {
    let mut all = match append {
        true => own.take().unwrap_or_default(),
        false => Vec::new(),
    };
    all.extend(given);
    *own = Some(entries::each_once(all));
}

impl Override {
    fn truth(&self) -> Result<bool, Mistake> {
        let (key, value) = (&self.key, &self.value);
        parse_bool(value)
            .ok_or_else(|| wrong(format!("invalid value {value} for boolean key {key}")))
    }

    fn words(&self, own: &mut Option<Vec<String>>, append: bool) {
        let mut all = match append {
            true => own.take().unwrap_or_default(),
            false => Vec::new(),
        };
        all.extend(self.list.iter().cloned());
        *own = Some(all);
    }

    fn apply(&self, target: &mut Target, granted: &mut Granted) -> Result<(), Mistake> {
        let (key, of) = match self.key.split_once('.') {
            Some((key, of)) => (key, Some(of)),
            None => (self.key.as_str(), None),
        };
        let value = || Some(self.value.clone());
        let named = |form: &str| {
            of.map(str::to_owned)
                .ok_or_else(|| wrong(format!("invalid format for {key}, expecting {key}.{form}")))
        };
        match key {
            "context" => target.context = value(),
            "dockerfile" => target.dockerfile = value(),
            "target" => target.target = value(),
            "call" => target.call = value(),
            "network" => target.network = value(),
            "shm-size" => target.shm_size = value(),
            "args" => drop(target.args.insert(named("<name>=<value>")?, value())),
            "labels" => drop(target.labels.insert(named("<name>=<value>")?, value())),
            "extra-hosts" => drop(
                target
                    .extra_hosts
                    .insert(named("<hostname>=<ip>")?, value()),
            ),
            "contexts" => {
                let name = named("<name>=<value>")?;
                target.contexts.insert(name, self.value.clone());
            }
            "tags" => self.words(&mut target.tags, self.append),
            "platform" => self.words(&mut target.platforms, self.append),
            "no-cache-filter" => self.words(&mut target.no_cache_filter, self.append),
            "ulimits" => self.words(&mut target.ulimits, self.append),
            "annotations" => self.words(&mut target.annotations, true),
            "entitlements" => {
                self.words(&mut target.entitlements, true);
                granted.entitlements.extend(self.list.iter().cloned());
            }
            "no-cache" => target.no_cache = Some(self.truth()?),
            "pull" => target.pull = Some(self.truth()?),
            "push" => push(&mut target.output, self.truth()?),
            "load" => load(&mut target.output, self.truth()?),
            "cache-from" | "cache-to" => self.caches(key, target, granted)?,
            "secrets" => {
                put(
                    &mut target.secret,
                    parsed::<Secret>(&self.list, key)?,
                    self.append,
                );
                let files = target.secret.iter().flatten().map(|one| one.src.clone());
                granted.read.extend(files.filter(|file| !file.is_empty()));
            }
            "ssh" => {
                put(
                    &mut target.ssh,
                    parsed::<Ssh>(&self.list, key)?,
                    self.append,
                );
                let files = target
                    .ssh
                    .iter()
                    .flatten()
                    .flat_map(|one| one.paths.clone());
                granted.read.extend(files);
                // An agent without a path is the one that runs here.
                let mut agents = target.ssh.iter().flatten();
                if agents.any(|one| one.paths.is_empty()) {
                    granted.entitlements.push("ssh".to_owned());
                }
            }
            "output" => {
                put(
                    &mut target.output,
                    parsed::<Export>(&self.list, "outputs")?,
                    self.append,
                );
                let files = target.output.iter().flatten();
                granted
                    .write
                    .extend(files.filter_map(|one| one.dest.clone()));
            }
            "attest" => {
                let given = parsed(&self.list, key)?;
                target.merge(&Target {
                    attest: Some(given),
                    ..Target::default()
                });
            }
            other => return Err(wrong(format!("unknown key: {other}"))),
        }
        Ok(())
    }

    fn caches(&self, key: &str, target: &mut Target, granted: &mut Granted) -> Result<(), Mistake> {
        let given = Cache::parse_all(&self.list).map_err(wrong)?;
        let (own, attribute, paths) = match key {
            "cache-from" => (&mut target.cache_from, "src", &mut granted.read),
            _ => (&mut target.cache_to, "dest", &mut granted.write),
        };
        put(own, given, self.append);
        let folders = own.iter().flatten().filter_map(|one| one.folder(attribute));
        paths.extend(folders.map(str::to_owned));
        Ok(())
    }
}

/// `--push`: an image is pushed, where the outputs are none that says otherwise.
fn push(outputs: &mut Option<Vec<Export>>, wanted: bool) {
    let mut all = outputs.take().unwrap_or_default();
    let images = all.iter_mut().filter(|one| one.kind == "image");
    for image in images {
        let pushed = if wanted { "true" } else { "false" };
        image
            .attributes
            .insert("push".to_owned(), pushed.to_owned());
    }
    if !wanted {
        all.retain(|one| one.kind != "registry");
    } else if all.iter().all(|one| one.kind == "docker") {
        let mut image = Export::of("image");
        image
            .attributes
            .insert("push".to_owned(), "true".to_owned());
        all.push(image);
    }
    *outputs = Some(all);
}

/// `--load`: the image goes to the store, where the outputs are images.
fn load(outputs: &mut Option<Vec<Export>>, wanted: bool) {
    if !wanted {
        return;
    }
    let all = outputs.get_or_insert_default();
    let there = all
        .iter()
        .any(|one| one.kind == "docker" && one.dest.is_none());
    let images = all
        .iter()
        .all(|one| matches!(one.kind.as_str(), "docker" | "image" | "registry" | "oci"));
    if !there && images {
        all.push(Export::of("docker"));
    }
}
