//! YAML as a tree with the places of its parts.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::error::Mistake;
use crate::source::Span;

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub at: Span,
}

/// The kinds of parts.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing.
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written out.
    Number(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Values by name, in the order of the file.
    Map(Vec<(String, Node)>),
}

/// Reads a file.
///
/// # Errors
/// Where it is no YAML, or more of it than anybody writes.
pub fn parse(text: &str, file: usize) -> Result<Node, Mistake> {
    let options = serde_saphyr::options! {
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Plain>>(text, options) {
        Ok(found) => Ok(node(found, file)),
        Err(error) => {
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            let location = error.location();
            let at = location.map_or_else(
                || Span {
                    file,
                    start: 0,
                    end: 0,
                },
                |location| span(&location, file),
            );
            Err(Mistake::at(at, format!("Invalid YAML; {message}")))
        }
    }
}

fn span(location: &Location, file: usize) -> Span {
    let whole = location.span();
    let start = whole.byte_offset().unwrap_or_default();
    let length = whole.byte_len().unwrap_or_default();
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Span {
        file,
        start: number(start),
        end: number(start).saturating_add(number(length)),
    }
}

fn node(found: Spanned<Plain>, file: usize) -> Node {
    let at = span(&found.referenced, file);
    let kind = match found.value {
        Plain::Null => Kind::Null,
        Plain::Bool(truth) => Kind::Bool(truth),
        Plain::Number(number) => Kind::Number(number),
        Plain::Text(text) => Kind::Text(text),
        Plain::List(list) => Kind::List(list.into_iter().map(|one| node(one, file)).collect()),
        Plain::Map(map) => {
            let entries = map.into_iter().map(|(name, one)| (name, node(one, file)));
            Kind::Map(entries.collect())
        }
    };
    Node { kind, at }
}

/// What YAML comes to before the places are ours.
enum Plain {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Plain>>),
    Map(Vec<(String, Spanned<Plain>)>),
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any YAML")
            }

            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::Null)
            }

            fn visit_none<E>(self) -> Result<Plain, E> {
                Ok(Plain::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Plain, D::Error> {
                Plain::deserialize(inner)
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Plain, E> {
                Ok(Plain::Bool(truth))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Plain, E> {
                Ok(Plain::Number(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
                Ok(Plain::Number(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Plain, E> {
                Ok(Plain::Number(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Plain, E> {
                Ok(Plain::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(Plain::List(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Plain::Map(all))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Node {
    /// The entries of a map; nothing has none.
    ///
    /// # Errors
    /// It is something else; `what` is its name in the message.
    pub fn map(&self, what: &str) -> Result<&[(String, Self)], Mistake> {
        match &self.kind {
            Kind::Map(entries) => Ok(entries),
            Kind::Null => Ok(&[]),
            _ => Err(Mistake::at(self.at, format!("{what} must be a mapping"))),
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => {
                let mut found = entries.iter().filter(|(known, _)| known == name);
                found.next().map(|(_, one)| one)
            }
            _ => None,
        }
    }

    /// The value of a name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let found = self
            .as_entries_mut()
            .iter_mut()
            .find(|(known, _)| known == name);
        found.map(|(_, one)| one)
    }

    /// The entries of the map of a name; whatever is none has none.
    pub fn entries_mut(&mut self, name: &str) -> &mut [(String, Self)] {
        self.get_mut(name).map_or(&mut [], Self::as_entries_mut)
    }

    /// The entries of a map; whatever is none has none.
    pub fn as_entries_mut(&mut self) -> &mut [(String, Self)] {
        match &mut self.kind {
            Kind::Map(entries) => entries,
            _ => &mut [],
        }
    }

    /// A plain value as text; `None` for nothing.
    ///
    /// # Errors
    /// It is a list or a map.
    pub fn text(&self, what: &str) -> Result<Option<String>, Mistake> {
        match &self.kind {
            Kind::Null => Ok(None),
            Kind::Bool(truth) => Ok(Some(truth.to_string())),
            Kind::Number(text) | Kind::Text(text) => Ok(Some(text.clone())),
            Kind::List(_) | Kind::Map(_) => {
                Err(Mistake::at(self.at, format!("{what} must be a string")))
            }
        }
    }

    /// Truth.
    ///
    /// # Errors
    /// It is something else.
    pub fn truth(&self, what: &str) -> Result<Option<bool>, Mistake> {
        let text = self.text(what)?;
        let known = text.map(|text| {
            crate::entries::parse_bool(&text)
                .ok_or_else(|| Mistake::at(self.at, format!("{what} must be a boolean")))
        });
        known.transpose()
    }

    /// A list of strings; one string is a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, what: &str) -> Result<Vec<String>, Mistake> {
        match &self.kind {
            Kind::Null => Ok(Vec::new()),
            Kind::List(list) => {
                let texts = list
                    .iter()
                    .map(|one| Ok(one.text(what)?.unwrap_or_default()));
                texts.collect()
            }
            Kind::Map(_) => Err(Mistake::at(self.at, format!("{what} must be a list"))),
            _ => Ok(self.text(what)?.into_iter().collect()),
        }
    }

    /// Names with values, as a map or as a list of `NAME=VALUE`.
    ///
    /// # Errors
    /// It is something else.
    pub fn pairs(&self, what: &str) -> Result<Vec<(String, Option<String>)>, Mistake> {
        match &self.kind {
            Kind::List(list) => {
                let pairs = list.iter().map(|one| {
                    let text = one.text(what)?.unwrap_or_default();
                    Ok(match text.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    })
                });
                pairs.collect()
            }
            _ => {
                let entries = self.map(what)?.iter();
                let pairs = entries.map(|(name, one)| Ok((name.clone(), one.text(what)?)));
                pairs.collect()
            }
        }
    }

    /// Whether it says the same, wherever it stands.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(a), Kind::Bool(b)) => a == b,
            (Kind::Number(a), Kind::Number(b)) | (Kind::Text(a), Kind::Text(b)) => a == b,
            (Kind::List(a), Kind::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Kind::Map(a), Kind::Map(b)) => {
                let in_other = |name: &str| other.get(name);
                let known =
                    |(name, one): &(String, Self)| in_other(name).is_some_and(|b| one.same(b));
                a.len() == b.len() && a.iter().all(known)
            }
            _ => false,
        }
    }

    /// What a later file says is added, or counts in place of what this one says.
    pub fn merge(&mut self, later: Self) {
        match (&mut self.kind, later.kind) {
            (Kind::Map(own), Kind::Map(entries)) => {
                for (name, one) in entries {
                    match own.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => known.merge(one),
                        None => own.push((name, one)),
                    }
                }
            }
            (Kind::List(own), Kind::List(list)) => own.extend(list),
            (own, kind) => {
                *own = kind;
                self.at = later.at;
            }
        }
    }
}
