//! What the lines of a stage see.

use std::collections::{HashMap, HashSet};

use crate::shell::Variables;
use crate::stage::DEFAULT_PATH;

/// Arguments that ask for something of the builder, and that no step sees.
pub const UNSEEN: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// The variables of a stage at some line: those of its image, and its arguments that have a value.
/// The later line wins where both have a name, as BuildKit has it.
#[derive(Clone, Debug, Default)]
pub struct StageVariables {
    /// `NAME=value`, each name once.
    seen: Vec<String>,
    /// Where in `seen` a name is: a stage can have thousands of them.
    places: HashMap<String, Place>,
    /// How often one was set.
    times: u64,
    /// Names of the arguments declared in the stage, in order.
    declared: Vec<String>,
    /// The same, to be found.
    is_declared: HashSet<String>,
}

/// Where a variable is.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    /// The number of the time when it was set last.
    set: u64,
}

impl StageVariables {
    /// Those of a stage on an image with the environment `env`, `NAME=value` each. An image
    /// without PATH gets the default one; of a name given twice the later counts.
    pub fn of_image(env: &[String]) -> Self {
        let mut variables = Self::of_environment(env);
        if variables.value("PATH").is_none() {
            variables.see("PATH", DEFAULT_PATH);
        }
        variables
    }

    /// The same without a default PATH: Windows has its own.
    pub fn of_environment(env: &[String]) -> Self {
        let mut variables = Self::default();
        for pair in env {
            if let Some((name, value)) = pair.split_once('=') {
                variables.see(name, value);
            }
        }
        variables
    }

    /// What a stage based on this one starts with: it sees the values of its arguments too
    /// (reference, "ARG", "Scope"), and has declared none.
    pub fn inherited(&self) -> Self {
        Self {
            seen: self.seen.clone(),
            places: self.places.clone(),
            times: self.times,
            declared: Vec::new(),
            is_declared: HashSet::new(),
        }
    }

    /// ENV: sets a variable; one that is there keeps its place.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.see(name, value);
    }

    fn see(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        self.times += 1;
        let set = self.times;
        if let Some(place) = self.places.get_mut(name) {
            place.set = set;
            if let Some(old) = self.seen.get_mut(place.index) {
                *old = pair;
            }
            return;
        }
        let index = self.seen.len();
        self.places.insert(name.to_owned(), Place { index, set });
        self.seen.push(pair);
    }

    /// ARG: declares an argument. With a value it hides an ENV of that name from the lines below.
    pub fn set_arg(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value
            && !UNSEEN.contains(&name)
        {
            self.see(name, value);
        }
        if self.is_declared.insert(name.to_owned()) {
            self.declared.push(name.to_owned());
        }
    }

    /// Whether the stage has declared the argument, with a value or without.
    pub fn is_declared(&self, name: &str) -> bool {
        self.is_declared.contains(name)
    }

    /// The arguments that the stage has declared, in order.
    pub fn declared(&self) -> &[String] {
        &self.declared
    }

    /// All of them as `NAME=value`: the environment of a RUN.
    pub fn pairs(&self) -> &[String] {
        &self.seen
    }

    /// The same in the order in which they were set last, as BuildKit has them.
    pub fn pairs_as_set(&self) -> Vec<String> {
        let mut places: Vec<Place> = self.places.values().copied().collect();
        places.sort_unstable_by_key(|place| place.set);
        let pairs = places.iter().map(|place| self.seen.get(place.index));
        pairs.flatten().cloned().collect()
    }
}

impl Variables for StageVariables {
    fn value(&self, name: &str) -> Option<&str> {
        let pair = self.seen.get(self.places.get(name)?.index)?;
        pair.get(name.len() + 1..)
    }

    fn names(&self) -> Vec<&str> {
        let pairs = self.seen.iter();
        pairs
            .filter_map(|pair| pair.split_once('=').map(|(name, _)| name))
            .collect()
    }
}

/// Whether a `NAME=value` is of this name.
fn is_of(pair: &str, name: &str) -> bool {
    pair.strip_prefix(name)
        .is_some_and(|rest| rest.starts_with('='))
}

/// Sets `name` in a list of `NAME=value`; one that is there keeps its place.
pub fn set(pairs: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    match pairs.iter_mut().find(|old| is_of(old, name)) {
        Some(old) => *old = pair,
        None => pairs.push(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_given_twice_the_later_counts() {
        let env = ["A=1", "PATH=/bin", "A=2"].map(str::to_owned);
        let variables = StageVariables::of_image(&env);
        assert_eq!(variables.pairs(), ["A=2", "PATH=/bin"]);
    }

    #[test]
    fn what_is_for_the_builder_is_declared_and_not_seen() {
        let mut variables = StageVariables::of_image(&[]);
        variables.set_arg(UNSEEN[0], Some("true"));
        assert!(variables.is_declared(UNSEEN[0]));
        assert_eq!(variables.value(UNSEEN[0]), None);
        assert_eq!(variables.pairs(), [format!("PATH={DEFAULT_PATH}")]);
    }

    #[test]
    fn what_is_set_again_is_set_last() {
        let mut variables = StageVariables::of_image(&["A=1".to_owned()]);
        variables.set_arg("B", Some("2"));
        variables.set_env("PATH", "/bin");
        variables.set_env("A", "3");
        assert_eq!(variables.pairs(), ["A=3", "PATH=/bin", "B=2"]);
        assert_eq!(variables.pairs_as_set(), ["B=2", "PATH=/bin", "A=3"]);
        assert_eq!(
            variables.inherited().pairs_as_set(),
            ["B=2", "PATH=/bin", "A=3"]
        );
    }

    #[test]
    fn values_of_arguments_are_inherited_and_declarations_are_not() {
        let mut variables = StageVariables::of_image(&["A=env".to_owned()]);
        variables.set_arg("A", Some("arg"));
        variables.set_arg("B", None);
        let below = variables.inherited();
        assert_eq!(below.value("A"), Some("arg"));
        assert_eq!(below.declared(), [] as [&str; 0]);
        assert!(variables.is_declared("B") && variables.value("B").is_none());
    }
}
