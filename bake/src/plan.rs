//! What was asked for: targets with all that they inherit, link to and are told on the command
//! line.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Config;
use crate::entries::Export;
use crate::error::Mistake;
use crate::granted::Granted;
use crate::overrides::Overrides;
use crate::target::{Group, Target, words_once};
use golang::path;
use golang::quote::json_escapes;

/// Targets to build, and the groups that led to them.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The groups, by name.
    #[serde(rename = "group", skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
    /// The targets, by name.
    #[serde(rename = "target")]
    pub targets: BTreeMap<String, Target>,
    /// What the command line has granted.
    #[serde(skip)]
    pub granted: Granted,
    /// Where the definitions were fetched from: folders that targets name are there, but those
    /// that begin with `cwd://`.
    #[serde(skip)]
    pub remote: Option<String>,
}

/// Finds what the words mean: targets, groups, wildcards.
///
/// # Errors
/// There is no such target, or one that cannot be built.
pub fn plan(
    config: &Config,
    words: &[String],
    set: &[String],
    (environment, remote): (&BTreeMap<String, String>, Option<&str>),
) -> Result<Plan, Mistake> {
    let mut asked = Vec::new();
    for word in words {
        // Services of compose may have dots in their names, targets may not.
        asked.extend(config.matching(&word.replace('.', "_"))?);
    }
    let asked = words_once(asked);
    let mut resolver = Resolver {
        config,
        overrides: Overrides::read(set, config, environment)?,
        targets: BTreeMap::new(),
        granted: Granted::default(),
    };
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for word in &asked {
        let (targets, found) = members(config, word, &mut BTreeMap::new());
        for name in words_once(targets) {
            let target = resolver.resolve(&name)?;
            resolver.targets.insert(name, target);
        }
        for name in words_once(found) {
            if let Some(group) = config.group(&name) {
                groups.insert(name, group.clone());
            }
        }
    }
    for word in &asked {
        if word == "default" && groups.contains_key("default") {
            continue;
        }
        let group = groups.entry("default".to_owned()).or_default();
        group.targets.push(word.clone());
    }
    if let Some(group) = groups.get_mut("default") {
        group.targets = words_once(std::mem::take(&mut group.targets));
        group.targets.sort();
    }
    let names: Vec<String> = resolver.targets.keys().cloned().collect();
    for name in names {
        resolver.link(&name, &mut Vec::new())?;
    }
    let mut targets = resolver.targets;
    for target in targets.values_mut() {
        place(target, remote)?;
        let epoch = environment.get(EPOCH).filter(|epoch| !epoch.is_empty());
        if let Some(epoch) = epoch
            && !target.args.contains_key(EPOCH)
        {
            target.args.insert(EPOCH.to_owned(), Some(epoch.clone()));
        }
    }
    Ok(Plan {
        groups,
        targets,
        granted: resolver.granted,
        remote: remote.map(str::to_owned),
    })
}

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The targets and groups that a name stands for.
fn members(
    config: &Config,
    name: &str,
    visited: &mut BTreeMap<String, (Vec<String>, Vec<String>)>,
) -> (Vec<String>, Vec<String>) {
    if let Some(known) = visited.get(name) {
        return known.clone();
    }
    let Some(group) = config.group(name) else {
        return (vec![name.to_owned()], Vec::new());
    };
    visited.insert(name.to_owned(), Default::default());
    let (mut targets, mut groups) = (Vec::new(), vec![name.to_owned()]);
    for member in &group.targets {
        let (inner, found) = members(config, member, visited);
        match inner.is_empty() {
            true => targets.push(member.clone()),
            false => targets.extend(inner),
        }
        groups.extend(found);
    }
    let found = (words_once(targets), words_once(groups));
    visited.insert(name.to_owned(), found.clone());
    found
}

struct Resolver<'a> {
    config: &'a Config,
    overrides: Overrides,
    targets: BTreeMap<String, Target>,
    granted: Granted,
}

impl Resolver<'_> {
    fn resolve(&mut self, name: &str) -> Result<Target, Mistake> {
        let target = self.inherited(name, &mut BTreeMap::new())?;
        let mut target = target.unwrap_or_default();
        target.inherits = None;
        target.context.get_or_insert_with(|| ".".to_owned());
        let file = target.dockerfile.take().filter(|file| !file.is_empty());
        target.dockerfile = Some(file.unwrap_or_else(|| "Dockerfile".to_owned()));
        Ok(target)
    }

    /// A target with what it inherits; `None` while it is being found out.
    fn inherited(
        &mut self,
        name: &str,
        visited: &mut BTreeMap<String, Option<Target>>,
    ) -> Result<Option<Target>, Mistake> {
        if let Some(known) = visited.get(name) {
            return Ok(known.clone());
        }
        visited.insert(name.to_owned(), None);
        let config = self.config;
        let Some(own) = config.target(name) else {
            return Err(Mistake::nowhere(format!("failed to find target {name}")));
        };
        let mut target = Target {
            name: name.to_owned(),
            ..Target::default()
        };
        for parent in own.inherits.iter().flatten() {
            if let Some(parent) = self.inherited(parent, visited)? {
                target.merge(&parent);
            }
        }
        target.merge(own);
        self.overrides.apply(&mut target, &mut self.granted)?;
        target.normalize();
        visited.insert(name.to_owned(), Some(target.clone()));
        Ok(Some(target))
    }

    /// Adds the targets that a target's contexts name.
    fn link(&mut self, name: &str, visited: &mut Vec<String>) -> Result<(), Mistake> {
        visited.push(name.to_owned());
        let Some(target) = self.targets.get(name) else {
            return Ok(());
        };
        let links: Vec<String> = links(target).map(str::to_owned).collect();
        for other in links {
            if other == name {
                let text = format!("target {other} cannot link to itself");
                return Err(Mistake::nowhere(text));
            }
            if visited.contains(&other) {
                let text = format!("infinite loop from {name} to {other}");
                return Err(Mistake::nowhere(text));
            }
            if !self.targets.contains_key(&other) {
                let mut linked = self.resolve(&other)?;
                linked.output = Some(vec![Export::of("cacheonly")]);
                linked.linked = true;
                self.targets.insert(other.clone(), linked);
            }
            self.link(&other, visited)?;
            self.take_from(name, &other)?;
        }
        visited.pop();
        Ok(())
    }

    /// What a target has from one that it links to.
    fn take_from(&mut self, name: &str, other: &str) -> Result<(), Mistake> {
        let Some(linked) = self.targets.get(other) else {
            return Ok(());
        };
        let needs = linked.entitlements.clone().unwrap_or_default();
        let theirs = linked.platforms.clone().unwrap_or_default();
        let Some(target) = self.targets.get_mut(name) else {
            return Ok(());
        };
        let own = target.platforms.clone().unwrap_or_default();
        if own.len() > 1 && theirs.len() > 1 && !own.iter().all(|one| theirs.contains(one)) {
            let (own, theirs) = (own.join(" "), theirs.join(" "));
            return Err(Mistake::nowhere(format!(
                "target {other} can't be used by {name} because its platforms [{own}] are not a \
                 subset of [{theirs}]"
            )));
        }
        for need in needs {
            let entitlements = target.entitlements.get_or_insert_default();
            if !entitlements.contains(&need) {
                entitlements.push(need);
            }
        }
        Ok(())
    }
}

/// The targets that a target's contexts name.
pub fn links(target: &Target) -> impl Iterator<Item = &str> {
    let places = target.contexts.values();
    places.filter_map(|place| place.strip_prefix("target:"))
}

/// Whether a context is fetched from somewhere.
pub fn is_remote(place: &str) -> bool {
    let schemes = [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ];
    schemes.iter().any(|scheme| place.starts_with(scheme))
}

/// Cleans the paths of a target.
fn place(target: &mut Target, remote: Option<&str>) -> Result<(), Mistake> {
    let context = target.context.take().unwrap_or_default();
    if context == "-" {
        return Err(Mistake::nowhere("context from stdin not allowed in bake"));
    }
    if target.dockerfile.as_deref() == Some("-") {
        return Err(Mistake::nowhere(
            "dockerfile from stdin not allowed in bake",
        ));
    }
    let local = context.strip_prefix("cwd://");
    target.local = remote.is_none() || local.is_some();
    target.context = Some(match (local, remote) {
        (Some(local), _) => path::clean(local),
        (None, _) if is_remote(&context) => context,
        (None, Some(remote)) if path::clean(&context) == "." => remote.to_owned(),
        (None, _) => path::clean(&context),
    });
    Ok(())
}

impl Plan {
    /// The plan as `--print` shows it, as JSON. What a definition could take for an expression is
    /// written so that it is none.
    ///
    /// # Errors
    /// None that is known.
    pub fn print(&self) -> Result<String, Mistake> {
        let mut shown = self.clone();
        for target in shown.targets.values_mut() {
            let texts = target.annotations.iter_mut().flatten();
            let texts = texts.chain(&mut target.dockerfile_inline);
            let pairs = [
                &mut target.args,
                &mut target.labels,
                &mut target.extra_hosts,
            ];
            let pairs = pairs.into_iter().flat_map(BTreeMap::values_mut).flatten();
            for text in texts.chain(pairs) {
                *text = text.replace("${", "$${").replace("%{", "%%{");
            }
        }
        let json = serde_json::to_string_pretty(&shown).map_err(Mistake::nowhere)?;
        Ok(json_escapes(&json))
    }

    /// The names of the targets, each behind those that it links to.
    pub fn order(&self) -> Vec<String> {
        fn visit(plan: &Plan, name: &str, order: &mut Vec<String>) {
            if order.iter().any(|known| known == name) {
                return;
            }
            if let Some(target) = plan.targets.get(name) {
                for other in links(target) {
                    visit(plan, other, order);
                }
                order.push(name.to_owned());
            }
        }
        let mut order = Vec::new();
        for name in self.targets.keys() {
            visit(self, name, &mut order);
        }
        order
    }
}
