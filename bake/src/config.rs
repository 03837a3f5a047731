//! All targets and groups of a definition, before any of them is asked for.

use golang::glob::glob_match;

use crate::error::Mistake;
use crate::target::{Group, Target, words_once};

/// Targets and groups, in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The groups.
    pub groups: Vec<Group>,
    /// The targets.
    pub targets: Vec<Target>,
}

impl Config {
    /// The target of a name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|one| one.name == name)
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|one| one.name == name)
    }

    /// Adds a target; one that is there already is changed by it.
    pub fn add_target(&mut self, target: Target) {
        match self.targets.iter_mut().find(|one| one.name == target.name) {
            Some(known) => known.merge(&target),
            None => self.targets.push(target),
        }
    }

    /// Adds a group in place of one that is there already.
    pub fn set_group(&mut self, mut group: Group) {
        group.targets = words_once(group.targets);
        match self.groups.iter_mut().find(|one| one.name == group.name) {
            Some(known) => *known = group,
            None => self.groups.push(group),
        }
    }

    /// The names of targets and groups that a word means: itself, or what fits its wildcards.
    ///
    /// # Errors
    /// Nothing fits.
    pub fn matching(&self, word: &str) -> Result<Vec<String>, Mistake> {
        if !word.contains(['*', '?', '[', ']']) {
            return Ok(vec![word.to_owned()]);
        }
        let groups = self.groups.iter().map(|group| &group.name);
        let names = groups.chain(self.targets.iter().map(|target| &target.name));
        let fit = names.filter(|name| glob_match(word, name).unwrap_or(false));
        let fit: Vec<String> = fit.cloned().collect();
        match fit.is_empty() {
            true => Err(Mistake::nowhere(format!(
                "could not find any target matching {word:?}"
            ))),
            false => Ok(fit),
        }
    }

    /// The names of targets that a pattern of `--set` means.
    ///
    /// # Errors
    /// Nothing fits.
    pub fn targets_matching(&self, pattern: &str) -> Result<Vec<String>, Mistake> {
        if self.target(pattern).is_some() {
            return Ok(vec![pattern.to_owned()]);
        }
        let names = self.targets.iter().map(|target| &target.name);
        let fit = names.filter(|name| glob_match(pattern, name).unwrap_or(false));
        let fit: Vec<String> = fit.cloned().collect();
        match fit.is_empty() {
            true => Err(Mistake::nowhere(format!(
                "could not find any target matching '{pattern}'"
            ))),
            false => Ok(fit),
        }
    }
}

/// Whether a target may be called that.
///
/// # Errors
/// What may be in its name.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(()),
        false => Err("only \"[a-zA-Z0-9_-]+\" are allowed".to_owned()),
    }
}
