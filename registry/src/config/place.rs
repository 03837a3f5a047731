//! Where settings stand, for whoever has to mend them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::error::ConfigError;
use super::keys::all_lists;

/// What each setting came from: a line of a file, or a variable.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(BTreeMap<String, String>);

impl Places {
    /// The lines of a file, by key; entries of lists by each text in them, as errors name them.
    pub(super) fn of(text: &str, path: &Path) -> Self {
        let mut places = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            let line = |at: usize| {
                let before = text.as_bytes().get(..at).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                format!("{}:{line}", path.display())
            };
            places.add("", table.get_ref(), &line);
        }
        places
    }

    fn add(&mut self, prefix: &str, table: &DeTable<'_>, line: &impl Fn(usize) -> String) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            self.put(&name, line(key.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => self.add(&format!("{name}."), inner, line),
                DeValue::Array(entries) => {
                    let tables = entries
                        .iter()
                        .filter_map(|entry| entry.get_ref().as_table());
                    for (key, text) in tables.flatten() {
                        if let Some(text) = text.get_ref().as_str() {
                            let place = line(key.span().start);
                            self.0.entry(format!("{name} = {text}")).or_insert(place);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes where a key is from.
    pub(super) fn put(&mut self, key: &str, place: String) {
        self.0.insert(key.to_owned(), place);
    }

    /// Where a key is from, as far as that is known.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Forgets where a key is from.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The same error with its place, where that is known.
    pub(super) fn with(&self, error: ConfigError) -> ConfigError {
        let place = match &error {
            ConfigError::Value { key, value, .. } => {
                let entry = self.0.get(&format!("{key} = {value}"));
                let is_list = all_lists().any(|list| list.name == *key);
                entry.or_else(|| self.0.get(*key).filter(|_| !is_list))
            }
            ConfigError::Unknown { key, .. } => self.0.get(key),
            _ => None,
        };
        match (place, error) {
            // It has the file by itself.
            (Some(place), ConfigError::Unknown { key, similar, .. }) => ConfigError::Unknown {
                path: place.into(),
                key,
                similar,
            },
            (Some(place), error) => ConfigError::Placed {
                place: place.clone(),
                cause: Box::new(error),
            },
            (None, error) => error,
        }
    }
}

/// The lists of a file. Errors show the line that is wrong.
pub(super) fn lists<L: DeserializeOwned>(text: &str) -> Result<L, Error> {
    let mut table = DeTable::parse(text)?.into_inner();
    let mut lists = DeTable::new();
    for list in all_lists() {
        let value = match list.name.split_once('.') {
            None => table.remove(list.name),
            Some((outer, name)) => match table.get_mut(outer).map(Spanned::get_mut) {
                Some(DeValue::Table(outer)) => outer.remove(name),
                _ => None,
            },
        };
        if let Some(value) = value {
            let key = Spanned::new(value.span(), Cow::Borrowed(list.name));
            lists.insert(key, value);
        }
    }
    let all = Spanned::new(0..text.len(), lists);
    L::deserialize(Deserializer::from(all)).map_err(|mut error| {
        error.set_input(Some(text));
        error
    })
}
