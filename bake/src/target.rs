//! Targets: what is built, and how.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::entries::{self, Attest, Cache, Entry, Export, Secret, Ssh};
use crate::value::Value;

/// Names with values; a value may be missing, and then says nothing.
pub type Pairs = BTreeMap<String, Option<String>>;

/// Several targets under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its targets, and groups.
    pub targets: Vec<String>,
}

/// A target. What a file does not say is `None`, so that a target that inherits from others can
/// tell what it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The targets that it begins with.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub inherits: Option<Vec<String>>,
    /// Annotations, `TYPE:KEY=VALUE`.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub annotations: Option<Vec<String>>,
    /// Statements about the image.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub attest: Option<Vec<Attest>>,
    /// The build context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Further contexts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The Dockerfile, below the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The Dockerfile's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: Pairs,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Pairs,
    /// Names of the image.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub tags: Option<Vec<String>>,
    /// Caches that are read.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub cache_from: Option<Vec<Cache>>,
    /// Caches that are written.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub cache_to: Option<Vec<Cache>>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Secrets.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub secret: Option<Vec<Secret>>,
    /// SSH agents and keys.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub ssh: Option<Vec<Ssh>>,
    /// The platforms to build for.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub platforms: Option<Vec<String>>,
    /// Where the result goes.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub output: Option<Vec<Export>>,
    /// Base images are asked for anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<bool>,
    /// The cache is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cache: Option<bool>,
    /// The network of RUN steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Stages for which the cache is not used.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub no_cache_filter: Option<Vec<String>>,
    /// The size of /dev/shm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// Process limits.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub ulimits: Option<Vec<String>>,
    /// What is done with the Dockerfile in place of building it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What the build needs consent for.
    #[serde(skip_serializing_if = "none_or_empty")]
    pub entitlements: Option<Vec<String>>,
    /// Lines of /etc/hosts in RUN steps.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: Pairs,
    /// It is built for others that link to it alone.
    #[serde(skip)]
    pub linked: bool,
    /// Its context, if it is a folder, is one of this machine.
    #[serde(skip)]
    pub local: bool,
}

fn none_or_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// The attributes of a target block.
pub const ATTRIBUTES: &[&str] = &[
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "contexts",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "entitlements",
    "extra-hosts",
    "inherits",
    "labels",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "secret",
    "shm-size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

impl Target {
    /// Gives an attribute of a block its value.
    ///
    /// # Errors
    /// What is required instead.
    pub fn set(&mut self, attribute: &str, value: &Value) -> Result<(), String> {
        if attribute == "description" {
            self.description = value.to_text().map_err(required)?;
            return Ok(());
        }
        if *value == Value::Null {
            return Ok(());
        }
        match attribute {
            "annotations" => self.annotations = Some(strings(value)?),
            "args" => self.args = pairs(value)?,
            "attest" => self.attest = Some(entries::list(value)?),
            "cache-from" => self.cache_from = Some(entries::list(value)?),
            "cache-to" => self.cache_to = Some(entries::list(value)?),
            "call" => self.call = Some(string(value)?),
            "context" => self.context = Some(string(value)?),
            "contexts" => {
                let given = pairs(value)?.into_iter();
                let given = given.map(|(name, value)| match value {
                    Some(value) => Ok((name, value)),
                    None => Err(NULL.to_owned()),
                });
                self.contexts = given.collect::<Result<_, String>>()?;
            }
            "dockerfile" => self.dockerfile = Some(string(value)?),
            "dockerfile-inline" => self.dockerfile_inline = Some(string(value)?),
            "entitlements" => self.entitlements = Some(strings(value)?),
            "extra-hosts" => self.extra_hosts = pairs(value)?,
            "inherits" => self.inherits = Some(strings(value)?),
            "labels" => self.labels = pairs(value)?,
            "network" => self.network = Some(string(value)?),
            "no-cache" => self.no_cache = Some(value.to_bool().map_err(required)?),
            "no-cache-filter" => self.no_cache_filter = Some(strings(value)?),
            "output" => self.output = Some(entries::list(value)?),
            "platforms" => self.platforms = Some(strings(value)?),
            "pull" => self.pull = Some(value.to_bool().map_err(required)?),
            "secret" => self.secret = Some(entries::list(value)?),
            "shm-size" => self.shm_size = Some(string(value)?),
            "ssh" => self.ssh = Some(entries::list(value)?),
            "tags" => self.tags = Some(strings(value)?),
            "target" => self.target = Some(string(value)?),
            "ulimits" => self.ulimits = Some(strings(value)?),
            _ => {}
        }
        Ok(())
    }

    /// What another target says is added, or counts in place of what this one says.
    pub fn merge(&mut self, other: &Self) {
        fn over<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                own.clone_from(other);
            }
        }
        fn more<T: Clone>(own: &mut Option<Vec<T>>, other: &Option<Vec<T>>) {
            if let Some(other) = other {
                own.get_or_insert_default().extend(other.iter().cloned());
            }
        }
        fn known(own: &mut Pairs, other: &Pairs) {
            let known = other.iter().filter(|(_, value)| value.is_some());
            own.extend(known.map(|(name, value)| (name.clone(), value.clone())));
        }
        if !other.description.is_empty() {
            self.description.clone_from(&other.description);
        }
        more(&mut self.inherits, &other.inherits);
        more(&mut self.annotations, &other.annotations);
        more(&mut self.attest, &other.attest);
        over(&mut self.context, &other.context);
        let contexts = other.contexts.clone();
        self.contexts.extend(contexts);
        over(&mut self.dockerfile, &other.dockerfile);
        over(&mut self.dockerfile_inline, &other.dockerfile_inline);
        known(&mut self.args, &other.args);
        known(&mut self.labels, &other.labels);
        over(&mut self.tags, &other.tags);
        more(&mut self.cache_from, &other.cache_from);
        over(&mut self.cache_to, &other.cache_to);
        over(&mut self.target, &other.target);
        more(&mut self.secret, &other.secret);
        more(&mut self.ssh, &other.ssh);
        over(&mut self.platforms, &other.platforms);
        over(&mut self.output, &other.output);
        over(&mut self.pull, &other.pull);
        over(&mut self.no_cache, &other.no_cache);
        over(&mut self.network, &other.network);
        more(&mut self.no_cache_filter, &other.no_cache_filter);
        over(&mut self.shm_size, &other.shm_size);
        more(&mut self.ulimits, &other.ulimits);
        over(&mut self.call, &other.call);
        more(&mut self.entitlements, &other.entitlements);
        known(&mut self.extra_hosts, &other.extra_hosts);
        // Of entries that say the same, one is enough at every step of a chain.
        self.entries_once();
    }

    fn entries_once(&mut self) {
        fn once<E: Entry>(list: &mut Option<Vec<E>>) {
            *list = list.take().map(entries::each_once);
        }
        if let Some(attest) = self.attest.take() {
            self.attest = Some(last_of_each(attest));
        }
        once(&mut self.cache_from);
        once(&mut self.cache_to);
        once(&mut self.secret);
        once(&mut self.ssh);
        once(&mut self.output);
    }

    /// Takes away what is there twice, and what is empty.
    pub fn normalize(&mut self) {
        self.entries_once();
        if self.network.as_deref() == Some("host") {
            let entitlements = self.entitlements.get_or_insert_default();
            entitlements.push("network.host".to_owned());
        }
        for list in [
            &mut self.annotations,
            &mut self.tags,
            &mut self.platforms,
            &mut self.no_cache_filter,
            &mut self.ulimits,
            &mut self.entitlements,
        ] {
            *list = list.take().map(words_once);
        }
        self.contexts.retain(|_, place| !place.is_empty());
    }
}

/// Of several statements of a type the last counts, in the place of the first.
fn last_of_each(list: Vec<Attest>) -> Vec<Attest> {
    let mut found: Vec<Attest> = Vec::new();
    for one in list {
        match found.iter_mut().find(|known| one.replaces(known)) {
            Some(known) => *known = one,
            None => found.push(one),
        }
    }
    found
}

/// The words, each once and in their order, without empty ones.
pub fn words_once(words: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in words {
        if !word.is_empty() && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

const NULL: &str = "null value is not allowed";

fn required(what: &str) -> String {
    match what {
        "argument must not be null" => NULL.to_owned(),
        what => what.to_owned(),
    }
}

fn string(value: &Value) -> Result<String, String> {
    value.to_text().map_err(required)
}

/// A list of strings.
///
/// # Errors
/// What is required instead.
pub fn strings(value: &Value) -> Result<Vec<String>, String> {
    let Value::List(list) = value else {
        return Err("list of string required".to_owned());
    };
    let texts = list.iter().enumerate().map(|(at, one)| match one {
        Value::Null => Err(NULL.to_owned()),
        one => one
            .to_text()
            .map_err(|what| format!("element {at}: {what}")),
    });
    texts.collect()
}

fn pairs(value: &Value) -> Result<Pairs, String> {
    let Value::Map(map) = value else {
        return Err("map of string required".to_owned());
    };
    let pairs = map.iter().map(|(name, one)| match one {
        Value::Null => Ok((name.clone(), None)),
        one => match one.to_text() {
            Ok(text) => Ok((name.clone(), Some(text))),
            Err(what) => Err(format!("element {name:?}: {what}")),
        },
    });
    pairs.collect()
}
