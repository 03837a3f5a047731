//! Attributes of targets that are lists of entries with fields: outputs, caches, secrets and so on.
//! An entry is written as the flag of `build` has it, or as an object.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::csv;
use crate::value::Value;

/// An entry.
pub trait Entry: Sized + PartialEq {
    /// From the form of a flag.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;

    /// From the fields of an object.
    ///
    /// # Errors
    /// What is wrong with them.
    fn from_fields(fields: BTreeMap<String, Value>) -> Result<Self, String>;

    /// In the form of a flag.
    fn flag(&self) -> String;

    /// Whether it takes the place of an earlier one.
    fn replaces(&self, other: &Self) -> bool {
        self == other
    }
}

/// The entries of a list: strings, or objects. Empty strings are none.
///
/// # Errors
/// What is wrong with one, or is required instead.
pub fn list<E: Entry>(value: &Value) -> Result<Vec<E>, String> {
    let Value::List(list) = value else {
        return Err("list of map of string required".to_owned());
    };
    let mut entries = Vec::new();
    for one in list {
        match one {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => entries.push(E::parse(text)?),
            Value::Map(fields) => entries.push(E::from_fields(fields.clone())?),
            _ => return Err("object required".to_owned()),
        }
    }
    Ok(entries)
}

/// The entries, each once. Which of two equal ones stays, and where, is as with buildx: the last
/// one moves to where the other was found.
pub fn each_once<E: Entry>(mut entries: Vec<E>) -> Vec<E> {
    for at in (0..entries.len().saturating_sub(1)).rev() {
        let later = entries
            .iter()
            .enumerate()
            .skip(at + 1)
            .find(|(_, other)| entries.get(at) == Some(*other));
        if let Some((later, _)) = later {
            entries.swap_remove(later);
        }
    }
    entries
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let fields = csv::fields(text)?;
    let pairs = fields.iter().map(|field| match field.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("invalid value {field}")),
    });
    pairs.collect()
}

fn texts(fields: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, String> {
    let known = fields
        .into_iter()
        .filter(|(_, value)| *value != Value::Null);
    let texts = known.map(|(name, value)| match value.to_text() {
        Ok(text) => Ok((name, text)),
        Err(what) => Err(format!("{name}: {what}")),
    });
    texts.collect()
}

fn truth(text: &str) -> Result<bool, String> {
    parse_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
}

/// Truth as Go reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn as_map<S: Serializer>(
    serializer: S,
    attributes: &BTreeMap<String, String>,
    more: &[(&str, &str)],
) -> Result<S::Ok, S::Error> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    all.extend(
        attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    all.extend(more.iter().copied());
    serializer.collect_map(all)
}

/// `attest`: a statement about the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attest {
    /// `provenance` or `sbom`.
    pub kind: String,
    /// It is not wanted.
    pub disabled: bool,
    attributes: BTreeMap<String, String>,
}

impl Attest {
    fn finished(self) -> Result<Self, String> {
        match self.kind.is_empty() {
            true => Err("attestation type not specified".to_owned()),
            false => Ok(self),
        }
    }
}

impl Entry for Attest {
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for (key, value) in pairs(text)? {
            match key.trim().to_lowercase().as_str() {
                "type" => found.kind = value,
                "disabled" => found.disabled = truth(&value)?,
                _ => {
                    found.attributes.insert(key, value);
                }
            }
        }
        found.finished()
    }

    fn from_fields(fields: BTreeMap<String, Value>) -> Result<Self, String> {
        let mut fields = texts(fields)?;
        let disabled = fields.remove("disabled");
        let found = Self {
            kind: fields.remove("type").unwrap_or_default(),
            disabled: disabled.map_or(Ok(false), |text| truth(&text))?,
            attributes: fields,
        };
        found.finished()
    }

    fn flag(&self) -> String {
        let mut line = csv::Line::default();
        line.add("type", &self.kind);
        if self.disabled {
            line.add("disabled", "true");
        }
        for (name, value) in &self.attributes {
            line.add(name, value);
        }
        line.finish()
    }

    fn replaces(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Serialize for Attest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
        for (name, value) in &self.attributes {
            all.insert(name, value.as_str().into());
        }
        all.insert("type", self.kind.as_str().into());
        if self.disabled {
            all.insert("disabled", true.into());
        }
        serializer.collect_map(all)
    }
}

/// `cache-from`, `cache-to`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    kind: String,
    attributes: BTreeMap<String, String>,
}

impl Cache {
    /// Entries of the form of a flag; without `=` it is references between commas.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            match text.contains('=') {
                true => all.push(Self::parse(text)?),
                false => {
                    for field in csv::fields(text)? {
                        all.push(Self::parse(&field)?);
                    }
                }
            }
        }
        Ok(all)
    }

    /// The folder that a local cache is in, by the name of its attribute.
    pub fn folder(&self, attribute: &str) -> Option<&str> {
        match self.kind.as_str() {
            "local" => self.attributes.get(attribute).map(String::as_str),
            _ => None,
        }
    }
}

impl Entry for Cache {
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        if let [reference] = csv::fields(text)?.as_slice()
            && !reference.contains('=')
        {
            found.kind = "registry".to_owned();
            found.attributes.insert("ref".to_owned(), reference.clone());
            return Ok(found);
        }
        for (key, value) in pairs(text)? {
            match key.to_lowercase() {
                key if key == "type" => found.kind = value,
                key => {
                    found.attributes.insert(key, value);
                }
            }
        }
        match found.kind.is_empty() {
            true => Err(format!("type required form> {text:?}")),
            false => Ok(found),
        }
    }

    fn from_fields(fields: BTreeMap<String, Value>) -> Result<Self, String> {
        let written = Value::Map(fields.clone()).to_json();
        let mut fields = texts(fields)?;
        match fields.remove("type") {
            Some(kind) if !kind.is_empty() => Ok(Self {
                kind,
                attributes: fields,
            }),
            _ => Err(format!("type required form> {written:?}")),
        }
    }

    fn flag(&self) -> String {
        let mut line = csv::Line::default();
        line.add("type", &self.kind);
        for (name, value) in &self.attributes {
            line.add(name, value);
        }
        line.finish()
    }
}

impl Serialize for Cache {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_map(serializer, &self.attributes, &[("type", &self.kind)])
    }
}

/// `output`: where the result goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// `image`, `docker`, `oci`, `local`, `tar`, `registry` or `cacheonly`.
    pub kind: String,
    /// Its further attributes.
    pub attributes: BTreeMap<String, String>,
    /// The file or folder that is written.
    pub dest: Option<String>,
}

impl Export {
    /// An output of a type.
    pub fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    fn finished(self) -> Result<Self, String> {
        match self.kind.is_empty() {
            true => Err("type is required for output".to_owned()),
            false => Ok(self),
        }
    }
}

impl Entry for Export {
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        if let [only] = csv::fields(text)?.as_slice()
            && only == text
            && !text.starts_with("type=")
        {
            found = Self::of(if text == "-" { "tar" } else { "local" });
            found.dest = Some(text.to_owned());
            return Ok(found);
        }
        for (key, value) in pairs(text)? {
            match key.trim().to_lowercase() {
                key if key == "type" => found.kind = value,
                key if key == "dest" => found.dest = Some(value),
                key => {
                    found.attributes.insert(key, value);
                }
            }
        }
        found.finished()
    }

    fn from_fields(fields: BTreeMap<String, Value>) -> Result<Self, String> {
        let mut fields = texts(fields)?;
        let found = Self {
            kind: fields.remove("type").unwrap_or_default(),
            dest: fields.remove("dest").filter(|dest| !dest.is_empty()),
            attributes: fields,
        };
        found.finished()
    }

    fn flag(&self) -> String {
        let mut line = csv::Line::default();
        line.add("type", &self.kind);
        if let Some(dest) = &self.dest {
            line.add("dest", dest);
        }
        for (name, value) in &self.attributes {
            line.add(name, value);
        }
        line.finish()
    }
}

impl Serialize for Export {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut more = vec![("type", self.kind.as_str())];
        more.extend(self.dest.iter().map(|dest| ("dest", dest.as_str())));
        as_map(serializer, &self.attributes, &more)
    }
}

/// `secret`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    id: String,
    /// The file that it is in.
    pub src: String,
    env: String,
}

impl Secret {
    /// A secret of a file or a variable.
    pub fn new(id: &str, src: &str, env: &str) -> Self {
        Self {
            id: id.to_owned(),
            src: src.to_owned(),
            env: env.to_owned(),
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("id", &self.id), ("src", &self.src), ("env", &self.env)];
        let known = all.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(name, value)| (name, value.as_str()))
    }
}

impl Entry for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let mut kind = String::new();
        for field in csv::fields(text)? {
            let Some((key, value)) = field.split_once('=') else {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            };
            match key.to_lowercase().as_str() {
                "type" if !matches!(value, "file" | "env") => {
                    return Err(format!("unsupported secret type {value:?}"));
                }
                "type" => kind = value.to_owned(),
                "id" => found.id = value.to_owned(),
                "source" | "src" => found.src = value.to_owned(),
                "env" => found.env = value.to_owned(),
                key => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
        if kind == "env" && found.env.is_empty() {
            found.env = std::mem::take(&mut found.src);
        }
        Ok(found)
    }

    fn from_fields(fields: BTreeMap<String, Value>) -> Result<Self, String> {
        let mut fields = texts(fields)?;
        let mut take = |name: &str| fields.remove(name).unwrap_or_default();
        Ok(Self {
            id: take("id"),
            src: take("src"),
            env: take("env"),
        })
    }

    fn flag(&self) -> String {
        let mut line = csv::Line::default();
        for (name, value) in self.fields() {
            line.add(name, value);
        }
        line.finish()
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.fields() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// `ssh`: an agent, or keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Ssh {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    /// The sockets or keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Entry for Ssh {
    fn parse(text: &str) -> Result<Self, String> {
        let (id, paths) = match text.split_once('=') {
            Some((id, paths)) => (id, paths.split(',').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        Ok(Self {
            id: id.to_owned(),
            paths,
        })
    }

    fn from_fields(mut fields: BTreeMap<String, Value>) -> Result<Self, String> {
        let paths = match fields.remove("paths") {
            Some(Value::List(list)) => {
                let paths = list.iter().map(|one| one.to_text().map_err(str::to_owned));
                paths.collect::<Result<_, _>>()?
            }
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err("paths: list of string required".to_owned()),
        };
        let id = fields
            .remove("id")
            .map_or(Ok(String::new()), |id| id.to_text());
        Ok(Self { id: id?, paths })
    }

    fn flag(&self) -> String {
        match self.paths.as_slice() {
            [] => self.id.clone(),
            paths => format!("{}={}", self.id, paths.join(",")),
        }
    }
}
