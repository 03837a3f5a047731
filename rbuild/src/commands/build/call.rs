//! `--call`: what is to be done with the Dockerfile, and the answers that are not an image.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::frontend::report::location;
use crate::term::table::align_by;
use builder::plan::outline::{Outline, Target, Wanted};

/// What is done with the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It is built.
    Build,
    /// It is checked.
    Check,
    /// What it takes from outside is listed.
    Outline,
    /// Its stages are listed.
    Targets,
}

/// `--call=METHOD[,format=FORMAT][,ignorestatus=BOOL]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The answer is for programs.
    pub json: bool,
    /// Violations are no failure.
    pub ignore_status: bool,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.split(',');
        let method = match fields.next().unwrap_or_default() {
            "" | "build" => Method::Build,
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            other => {
                return Err(format!(
                    "there is no method {other:?}; write build, check, outline or targets"
                ));
            }
        };
        let mut call = Self {
            method,
            json: false,
            ignore_status: false,
        };
        for field in fields {
            match field.split_once('=').unwrap_or((field, "true")) {
                ("format", "json") => call.json = true,
                ("format", "text") => call.json = false,
                ("ignorestatus", "true" | "1") => call.ignore_status = true,
                ("ignorestatus", "false" | "0") => call.ignore_status = false,
                _ => {
                    return Err(format!(
                        "{field:?} is no option; write format=json or ignorestatus=true"
                    ));
                }
            }
        }
        Ok(call)
    }
}

/// The outline as BuildKit prints it.
pub fn outline_text(outline: &Outline) -> String {
    let mut out = String::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.as_deref().unwrap_or("(default)");
        let mut head = format!("TARGET:\t{name}\n");
        if let Some(text) = &outline.description {
            head.push_str(&format!("DESCRIPTION:\t{text}\n"));
        }
        out.push_str(&align_by(&head, 0, 1));
        out.push('\n');
    }
    let mut table = |head: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            let text = format!("{head}\n{}\n", rows.join("\n"));
            out.push_str(&align_by(&text, 0, 3));
            out.push('\n');
        }
    };
    let args = outline.args.iter().map(|arg| {
        let value = arg.value.as_deref().unwrap_or_default();
        let text = arg.description.as_deref().unwrap_or_default();
        format!("{}\t{value}\t{text}", arg.name)
    });
    table("BUILD ARG\tVALUE\tDESCRIPTION", args.collect());
    let wanted = |list: &[Wanted]| {
        let rows = list.iter().map(|wanted| {
            let required = if wanted.required { "true" } else { "" };
            format!("{}\t{required}", wanted.name)
        });
        rows.collect()
    };
    table("SECRET\tREQUIRED", wanted(&outline.secrets));
    table("SSH\tREQUIRED", wanted(&outline.ssh));
    out
}

/// The outline in BuildKit's JSON.
pub fn outline_json(outline: &Outline, source: &str) -> Value {
    let args = outline.args.iter().map(|arg| {
        object([
            ("name", Some(json!(arg.name))),
            ("description", arg.description.as_ref().map(|t| json!(t))),
            (
                "value",
                arg.value
                    .as_ref()
                    .filter(|value| !value.is_empty())
                    .map(|v| json!(v)),
            ),
            ("location", Some(location(arg.lines.start, arg.lines.end))),
        ])
    });
    let wanted = |list: &[Wanted]| {
        let shown: Vec<Value> = list
            .iter()
            .map(|wanted| {
                object([
                    ("name", Some(json!(wanted.name))),
                    ("required", wanted.required.then_some(json!(true))),
                    (
                        "location",
                        Some(location(wanted.lines.start, wanted.lines.end)),
                    ),
                ])
            })
            .collect();
        (!shown.is_empty()).then_some(json!(shown))
    };
    let args: Vec<Value> = args.collect();
    object([
        ("name", outline.name.as_ref().map(|n| json!(n))),
        (
            "description",
            outline.description.as_ref().map(|t| json!(t)),
        ),
        ("args", (!args.is_empty()).then_some(json!(args))),
        ("secrets", wanted(&outline.secrets)),
        ("ssh", wanted(&outline.ssh)),
        ("sources", Some(json!([STANDARD.encode(source)]))),
    ])
}

/// The targets as BuildKit prints them.
pub fn targets_text(targets: &[Target]) -> String {
    let mut text = String::from("TARGET\tDESCRIPTION\n");
    for target in targets {
        let name = match (&target.name, target.default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
        };
        let description = target.description.as_deref().unwrap_or_default();
        text.push_str(&format!("{name}\t{description}\n"));
    }
    align_by(&text, 0, 1)
}

/// The targets in BuildKit's JSON.
pub fn targets_json(targets: &[Target], source: &str) -> Value {
    let shown = targets.iter().map(|target| {
        object([
            ("name", target.name.as_ref().map(|n| json!(n))),
            ("default", target.default.then_some(json!(true))),
            ("description", target.description.as_ref().map(|t| json!(t))),
            ("base", Some(json!(target.base))),
            ("platform", target.platform.as_ref().map(|p| json!(p))),
            (
                "location",
                Some(location(target.lines.start, target.lines.end)),
            ),
        ])
    });
    let shown: Vec<Value> = shown.collect();
    json!({"targets": shown, "sources": [STANDARD.encode(source)]})
}

/// An object of the fields that there are.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_methods_with_options() {
        let call = |text: &str| {
            text.parse::<Call>()
                .map(|c| (c.method, c.json, c.ignore_status))
        };
        assert_eq!(call("build"), Ok((Method::Build, false, false)));
        assert_eq!(call("check,format=json"), Ok((Method::Check, true, false)));
        assert_eq!(call("lint,ignorestatus"), Ok((Method::Check, false, true)));
        assert_eq!(call("outline"), Ok((Method::Outline, false, false)));
        assert_eq!(
            call("targets,format=text"),
            Ok((Method::Targets, false, false))
        );
        for text in ["outlines", "outline,json", "check,format=yaml"] {
            assert!(call(text).is_err(), "{text}");
        }
    }
}
