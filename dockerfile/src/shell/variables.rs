//! Where the lexer looks variables up.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

/// The variables in force at some point of a stage.
pub trait Variables {
    /// The value of `name`, or `None` when it is not set (set but empty is `Some("")`).
    fn value(&self, name: &str) -> Option<&str>;

    /// All names, for suggestions.
    fn names(&self) -> Vec<&str>;
}

/// No variable is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn value(&self, _name: &str) -> Option<&str> {
        None
    }

    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl<S: BuildHasher> Variables for HashMap<String, String, S> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

impl Variables for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

/// An ordered list; the last pair of a name counts.
impl<K: AsRef<str>, V: AsRef<str>> Variables for [(K, V)] {
    fn value(&self, name: &str) -> Option<&str> {
        self.iter()
            .rev()
            .find(|(key, _)| key.as_ref() == name)
            .map(|(_, value)| value.as_ref())
    }

    fn names(&self) -> Vec<&str> {
        self.iter().map(|(key, _)| key.as_ref()).collect()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Variables for Vec<(K, V)> {
    fn value(&self, name: &str) -> Option<&str> {
        self.as_slice().value(name)
    }

    fn names(&self) -> Vec<&str> {
        self.as_slice().names()
    }
}

impl<T: Variables + ?Sized> Variables for &T {
    fn value(&self, name: &str) -> Option<&str> {
        (**self).value(name)
    }

    fn names(&self) -> Vec<&str> {
        (**self).names()
    }
}
