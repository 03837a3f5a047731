//! `--list`: what there is.

use bake::read::Bake;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::term::table::align_by_tabs;

/// What is listed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    variables: bool,
    json: bool,
}

impl List {
    /// `targets`, `variables`, or `type=KIND,format=FORMAT`.
    ///
    /// # Errors
    /// What it cannot be.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let (mut kind, mut format) = ("", "table");
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = value,
                Some(("format", value)) => format = value,
                None if !text.contains(',') => kind = field,
                None => return Err(Failure::new(format!("invalid value {field}"))),
                Some((key, _)) => {
                    let text = format!("unexpected key '{key}' in '{field}'");
                    return Err(Failure::new(text));
                }
            }
        }
        let variables = match kind {
            "targets" => false,
            "variables" => true,
            other => return Err(Failure::new(format!("invalid list type {other:?}"))),
        };
        match format {
            "table" | "json" => Ok(Self {
                variables,
                json: format == "json",
            }),
            other => Err(Failure::new(format!("invalid list format {other:?}"))),
        }
    }

    /// The list, with a line end.
    ///
    /// # Errors
    /// None that is known.
    pub fn write(self, bake: &Bake) -> Result<String, Failure> {
        let (head, rows, json) = match self.variables {
            true => variables(bake),
            false => targets(bake),
        };
        if self.json {
            return Ok(serde_json::to_string_pretty(&json)? + "\n");
        }
        let text = format!("{head}\n{}", rows.concat());
        Ok(align_by_tabs(&text))
    }
}

type Listed = (&'static str, Vec<String>, Vec<Value>);

fn targets(bake: &Bake) -> Listed {
    let targets = bake.targets().iter();
    let mut all: Vec<(&str, String, bool)> = targets
        .map(|target| (target.name.as_str(), target.description.clone(), false))
        .collect();
    for group in bake.groups() {
        let mut names = group.targets.clone();
        names.sort();
        let names = names.join(", ");
        let text = match (group.description.as_str(), names.as_str()) {
            (text, "") => text.to_owned(),
            ("", names) => names.to_owned(),
            (text, names) => format!("{text} ({names})"),
        };
        all.push((&group.name, text, true));
    }
    // A name that begins so is for other targets of the file.
    all.retain(|(name, _, _)| !name.starts_with('_'));
    all.sort();
    let rows = all
        .iter()
        .map(|(name, text, _)| format!("{name}\t{text}\n"));
    let json = all.iter().map(|(name, text, group)| {
        let mut object = Map::from_iter([("name".to_owned(), json!(name))]);
        if !text.is_empty() {
            object.insert("description".to_owned(), json!(text));
        }
        if *group {
            object.insert("group".to_owned(), json!(true));
        }
        Value::Object(object)
    });
    ("TARGET\tDESCRIPTION", rows.collect(), json.collect())
}

fn variables(bake: &Bake) -> Listed {
    let all = bake.variables().iter();
    let rows = all.clone().map(|one| {
        let of = one.of.as_deref().unwrap_or_default();
        let value = one.value.as_deref().unwrap_or("<null>");
        format!("{}\t{of}\t{value}\t{}\n", one.name, one.description)
    });
    let json = all.map(|one| {
        let mut object = Map::from_iter([("name".to_owned(), json!(one.name))]);
        if !one.description.is_empty() {
            object.insert("description".to_owned(), json!(one.description));
        }
        if let Some(of) = &one.of {
            object.insert("type".to_owned(), json!(of));
        }
        if let Some(value) = &one.value {
            object.insert("value".to_owned(), json!(value));
        }
        Value::Object(object)
    });
    (
        "VARIABLE\tTYPE\tVALUE\tDESCRIPTION",
        rows.collect(),
        json.collect(),
    )
}
