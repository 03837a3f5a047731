//! Types of variables: `type = list(string)`.

use std::collections::BTreeMap;

use crate::error::Mistake;
use crate::source::Span;
use crate::syntax::hcl;
use crate::syntax::tree::{Expression, Kind};
use crate::value::Value;

/// What a variable must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `any`
    Any,
    /// `string`
    Text,
    /// `number`
    Number,
    /// `bool`
    Truth,
    /// `list(T)`
    List(Box<Type>),
    /// `set(T)`
    Set(Box<Type>),
    /// `map(T)`
    Map(Box<Type>),
    /// `tuple([T, U])`
    Tuple(Vec<Type>),
    /// `object({ a = T })`
    Object(BTreeMap<String, Member>),
}

/// A member of an object type.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    of: Type,
    /// It may be missing, and is null then.
    optional: bool,
}

/// Reads a type, which in JSON stands in a string.
///
/// # Errors
/// Where it is none.
pub fn read(expression: &Expression) -> Result<Type, Mistake> {
    if let Kind::Literal(Value::String(text)) = &expression.kind {
        return written(&hcl::expression(text, expression.at)?);
    }
    written(expression)
}

fn wrong(at: Span, text: &str) -> Mistake {
    Mistake::at(at, format!("Invalid type specification; {text}"))
}

/// Reads a type that is written as an expression.
///
/// # Errors
/// Where it is none.
pub fn written(expression: &Expression) -> Result<Type, Mistake> {
    let at = expression.at;
    match &expression.kind {
        Kind::Variable(name) => match name.as_str() {
            "any" => Ok(Type::Any),
            "string" => Ok(Type::Text),
            "number" => Ok(Type::Number),
            "bool" => Ok(Type::Truth),
            "list" | "set" | "map" => Err(wrong(
                at,
                &format!(
                    "The {name} type constructor requires one argument specifying the element \
                     type."
                ),
            )),
            "object" | "tuple" => Err(wrong(
                at,
                &format!("The {name} type constructor requires one argument."),
            )),
            name => Err(wrong(
                at,
                &format!("The keyword {name:?} is not a valid type specification."),
            )),
        },
        Kind::Call(call) => {
            let name = call.name.as_str();
            let [inner] = call.arguments.as_slice() else {
                let text = format!("The {name} type constructor requires one argument.");
                return Err(wrong(call.name_at, &text));
            };
            match name {
                "list" => Ok(Type::List(Box::new(written(inner)?))),
                "set" => Ok(Type::Set(Box::new(written(inner)?))),
                "map" => Ok(Type::Map(Box::new(written(inner)?))),
                "tuple" => match &inner.kind {
                    Kind::Tuple(list) => {
                        let list = list.iter().map(written);
                        Ok(Type::Tuple(list.collect::<Result<_, _>>()?))
                    }
                    _ => Err(wrong(
                        inner.at,
                        "Tuple type constructor requires a list of types.",
                    )),
                },
                "object" => match &inner.kind {
                    Kind::Object(entries) => object(entries),
                    _ => Err(wrong(inner.at, "Object type constructor requires a map.")),
                },
                name => Err(wrong(
                    call.name_at,
                    &format!("Keyword {name:?} is not a valid type constructor."),
                )),
            }
        }
        _ => Err(wrong(
            at,
            "A type specification is either a primitive type keyword (bool, number, string) or a \
             complex type constructor call, like list(string).",
        )),
    }
}

fn object(entries: &[(Expression, Expression)]) -> Result<Type, Mistake> {
    let mut members = BTreeMap::new();
    for (key, value) in entries {
        let Kind::Literal(Value::String(name)) = &key.kind else {
            return Err(wrong(
                key.at,
                "Object constructor map keys must be attribute names.",
            ));
        };
        let member = match &value.kind {
            Kind::Call(call) if call.name == "optional" => {
                let [of] = call.arguments.as_slice() else {
                    return Err(wrong(
                        call.name_at,
                        "Optional attribute modifier expects only one argument: the attribute \
                         type.",
                    ));
                };
                Member {
                    of: written(of)?,
                    optional: true,
                }
            }
            _ => Member {
                of: written(value)?,
                optional: false,
            },
        };
        members.insert(name.clone(), member);
    }
    Ok(Type::Object(members))
}

impl Type {
    /// What messages and lists call it.
    pub fn name(&self) -> String {
        match self {
            Self::Any => "dynamic".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Truth => "bool".to_owned(),
            Self::List(of) => format!("list of {}", of.name()),
            Self::Set(of) => format!("set of {}", of.name()),
            Self::Map(of) => format!("map of {}", of.name()),
            Self::Tuple(_) => "tuple".to_owned(),
            Self::Object(_) => "object".to_owned(),
        }
    }

    /// Whether values of it are written as words between commas in the environment.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Tuple(_))
    }

    /// The value as this type has it.
    ///
    /// # Errors
    /// What is required.
    pub fn convert(&self, value: &Value) -> Result<Value, String> {
        let required = |what: &str| format!("{what} required");
        let known = |what: &'static str| what.to_owned();
        Ok(match (self, value) {
            (Self::Any, value) => value.clone(),
            (_, Value::Null) => Value::Null,
            (Self::Text, value) => Value::String(value.to_text().map_err(known)?),
            (Self::Number, value) => Value::Number(value.to_number().map_err(known)?),
            (Self::Truth, value) => Value::Bool(value.to_bool().map_err(known)?),
            (Self::List(of), Value::List(list)) => Value::List(elements(of, list)?),
            (Self::Set(of), Value::List(list)) => {
                let mut all = elements(of, list)?;
                all.sort_by_key(Value::to_json);
                all.dedup();
                Value::List(all)
            }
            (Self::Map(of), Value::Map(map)) => {
                let of = common(of, map.values());
                let map = map.iter().map(|(name, one)| {
                    let one = of.convert(one);
                    let one = one.map_err(|what| format!("element {name:?}: {what}"))?;
                    Ok((name.clone(), one))
                });
                Value::Map(map.collect::<Result<_, String>>()?)
            }
            (Self::Tuple(of), Value::List(list)) => {
                if of.len() != list.len() {
                    return Err(format!("a tuple of {} elements is required", of.len()));
                }
                let list = of.iter().zip(list).map(|(of, one)| of.convert(one));
                Value::List(list.collect::<Result<_, _>>()?)
            }
            (Self::Object(members), Value::Map(map)) => {
                let mut found = BTreeMap::new();
                for (name, member) in members {
                    let one = match (map.get(name), member.optional) {
                        (Some(one), _) => member
                            .of
                            .convert(one)
                            .map_err(|what| format!("attribute {name:?}: {what}"))?,
                        (None, true) => Value::Null,
                        (None, false) => {
                            return Err(format!("attribute {name:?} is required"));
                        }
                    };
                    found.insert(name.clone(), one);
                }
                Value::Map(found)
            }
            (of, _) => return Err(required(&of.name())),
        })
    }
}

/// What elements become: of `any` they still are of one type, strings where some are.
fn common<'a>(of: &'a Type, elements: impl Iterator<Item = &'a Value>) -> &'a Type {
    let (mut texts, mut others) = (false, false);
    for one in elements {
        match one {
            Value::String(_) => texts = true,
            Value::Number(_) | Value::Bool(_) => others = true,
            Value::Null => {}
            Value::List(_) | Value::Map(_) => return of,
        }
    }
    match *of == Type::Any && texts && others {
        true => &Type::Text,
        false => of,
    }
}

fn elements(of: &Type, list: &[Value]) -> Result<Vec<Value>, String> {
    let of = common(of, list.iter());
    let converted = list.iter().enumerate().map(|(at, one)| {
        let one = of.convert(one);
        one.map_err(|what| format!("element {at}: {what}"))
    });
    converted.collect()
}
