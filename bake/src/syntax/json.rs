//! HCL in JSON: objects are blocks where blocks are known, and every string is a template.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::hcl;
use super::tree::{Attribute, Block, Body, Expression, Kind, Label};
use crate::error::Mistake;
use crate::source::Span;
use crate::value::Value;

/// Reads a file.
///
/// # Errors
/// Where the text is no JSON, or its strings are no templates.
pub fn parse(text: &str, file: usize) -> Result<Body, Mistake> {
    let reader = Reader {
        text,
        file,
        depth: 0,
    };
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| reader.unreadable(&error, text))?;
    let mut body = Body::default();
    for (name, value) in reader.members(whole)? {
        match name.as_str() {
            "group" | "target" | "variable" | "function" => {
                reader.blocks(&name, value, &mut body.blocks)?;
            }
            // Where HCL in JSON has its comments.
            "//" => {}
            _ => body.attributes.push(reader.attribute(name, value)?),
        }
    }
    Ok(body)
}

/// How deep objects and lists may lie in each other.
const DEEPEST: usize = 64;

#[derive(Clone, Copy)]
struct Reader<'t> {
    text: &'t str,
    file: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    /// Where a part of the text is.
    fn span(self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let start = start.min(self.text.len());
        Span {
            file: self.file,
            start,
            end: (start + part.len()).min(self.text.len()),
        }
    }

    /// The reader of what lies within.
    fn deeper(self, part: &str) -> Result<Self, Mistake> {
        let depth = self.depth + 1;
        match depth > DEEPEST {
            true => {
                let text = format!("values lie in each other more than {DEEPEST} deep");
                Err(Mistake::at(self.span(part), text))
            }
            false => Ok(Self { depth, ..self }),
        }
    }

    fn unreadable(self, error: &serde_json::Error, part: &str) -> Mistake {
        let start = self.span(part).start;
        let lines = part.split_inclusive('\n');
        let before: usize = lines
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let at = start + before + error.column().saturating_sub(1);
        let at = at.min(self.text.len());
        let span = Span {
            file: self.file,
            start: at,
            end: at,
        };
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what);
        Mistake::at(span, format!("Invalid JSON; {message}"))
    }

    fn members(self, object: &'t RawValue) -> Result<Vec<(String, &'t RawValue)>, Mistake> {
        match serde_json::from_str::<Members<'_>>(object.get()) {
            Ok(members) => Ok(members.0),
            Err(error) if error.is_data() => {
                let at = self.span(object.get());
                Err(Mistake::at(
                    at,
                    "Incorrect JSON value type; an object is required",
                ))
            }
            Err(error) => Err(self.unreadable(&error, object.get())),
        }
    }

    fn list(self, list: &'t RawValue) -> Result<Vec<&'t RawValue>, Mistake> {
        serde_json::from_str(list.get()).map_err(|error| self.unreadable(&error, list.get()))
    }

    /// An object of names, each with a body or a list of bodies; or a list of such objects.
    fn blocks(
        self,
        kind: &str,
        value: &'t RawValue,
        found: &mut Vec<Block>,
    ) -> Result<(), Mistake> {
        if value.get().starts_with('[') {
            let within = self.deeper(value.get())?;
            for one in self.list(value)? {
                within.blocks(kind, one, found)?;
            }
            return Ok(());
        }
        for (name, inner) in self.members(value)? {
            let bodies = match inner.get().starts_with('[') {
                true => self.list(inner)?,
                false => vec![inner],
            };
            for body in bodies {
                let at = self.span(body.get());
                found.push(Block {
                    kind: kind.to_owned(),
                    at,
                    labels: vec![Label {
                        text: name.clone(),
                        at,
                    }],
                    body: self.body(kind, body)?,
                });
            }
        }
        Ok(())
    }

    fn body(self, kind: &str, value: &'t RawValue) -> Result<Body, Mistake> {
        let mut body = Body::default();
        for (name, inner) in self.members(value)? {
            match (kind, name.as_str()) {
                (_, "//") => {}
                ("variable", "validation") => {
                    let bodies = match inner.get().starts_with('[') {
                        true => self.list(inner)?,
                        false => vec![inner],
                    };
                    for one in bodies {
                        body.blocks.push(Block {
                            kind: name.clone(),
                            at: self.span(one.get()),
                            labels: Vec::new(),
                            body: self.body("validation", one)?,
                        });
                    }
                }
                _ => body.attributes.push(self.attribute(name, inner)?),
            }
        }
        Ok(body)
    }

    fn attribute(self, name: String, value: &'t RawValue) -> Result<Attribute, Mistake> {
        Ok(Attribute {
            name,
            at: self.span(value.get()),
            value: self.expression(value)?,
        })
    }

    fn expression(self, value: &'t RawValue) -> Result<Expression, Mistake> {
        let text = value.get();
        let at = self.span(text);
        let within = self.deeper(text)?;
        let kind = match text.chars().next() {
            Some('{') => {
                let mut entries = Vec::new();
                for (name, inner) in self.members(value)? {
                    entries.push((hcl::template(&name, at)?, within.expression(inner)?));
                }
                Kind::Object(entries)
            }
            Some('[') => {
                let list = self.list(value)?;
                let list = list.into_iter().map(|inner| within.expression(inner));
                Kind::Tuple(list.collect::<Result<_, _>>()?)
            }
            Some('"') => {
                let text: String =
                    serde_json::from_str(text).map_err(|error| self.unreadable(&error, text))?;
                return hcl::template(&text, at);
            }
            Some('t') => Kind::Literal(Value::Bool(true)),
            Some('f') => Kind::Literal(Value::Bool(false)),
            Some('n') => Kind::Literal(Value::Null),
            _ => {
                let number = text.parse();
                Kind::Literal(Value::Number(
                    number.map_err(|e: String| Mistake::at(at, e))?,
                ))
            }
        };
        Ok(Expression { kind, at })
    }
}

/// The members of an object in their order, repeated ones too.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
