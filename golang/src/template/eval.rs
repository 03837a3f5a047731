//! A tree and a value to text.

use serde_json::Value;

use super::funcs::{self, Call};
use super::mistake::Mistake;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::show;
use super::types::Types;
use super::val::{Shape, Val};

/// What is known while a template runs.
pub struct Scope<'r> {
    root: &'r Val,
    types: &'r Types,
    header: bool,
    variables: Vec<(String, Val)>,
    out: String,
}

/// How a list of nodes was left.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'r> Scope<'r> {
    /// Runs a template.
    pub fn run(
        nodes: &[Node],
        root: &'r Val,
        types: &'r Types,
        header: bool,
    ) -> Result<String, Mistake> {
        let mut scope = Self {
            root,
            types,
            header,
            variables: Vec::new(),
            out: String::new(),
        };
        scope.list(nodes, root)?;
        Ok(scope.out)
    }

    fn list(&mut self, nodes: &[Node], dot: &Val) -> Result<Flow, Mistake> {
        let known = self.variables.len();
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                self.variables.truncate(known);
                return Ok(flow);
            }
        }
        self.variables.truncate(known);
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &Node, dot: &Val) -> Result<Flow, Mistake> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Show(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.assign.is_none() {
                    self.out.push_str(&show::plain(&value));
                }
            }
            Node::Branch {
                pipeline,
                rebinds,
                then,
                otherwise,
            } => {
                let known = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let flow = match (value.is_true(), rebinds) {
                    (true, true) => self.list(then, &value),
                    (true, false) => self.list(then, dot),
                    (false, _) => self.list(otherwise, dot),
                };
                self.variables.truncate(known);
                return flow;
            }
            Node::Range {
                names,
                pipeline,
                body,
                otherwise,
            } => {
                let value = self.pipeline(pipeline, dot)?;
                let elements = elements(&value, pipeline)?;
                if elements.is_empty() {
                    return self.list(otherwise, dot);
                }
                for (key, element) in elements {
                    let known = self.variables.len();
                    match names.as_slice() {
                        [one] => self.variables.push((one.clone(), element.clone())),
                        [index, one] => {
                            self.variables.push((index.clone(), key));
                            self.variables.push((one.clone(), element.clone()));
                        }
                        _ => {}
                    }
                    let flow = self.list(body, &element)?;
                    self.variables.truncate(known);
                    if flow == Flow::Break {
                        break;
                    }
                }
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Val) -> Result<Val, Mistake> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or_else(|| Val::new(Value::Null));
        match &pipeline.assign {
            Some((name, true)) => self.variables.push((name.clone(), value.clone())),
            Some((name, false)) => {
                let known = self.variables.iter_mut().rev();
                if let Some((_, place)) = known.into_iter().find(|(known, _)| known == name) {
                    *place = value.clone();
                }
            }
            None => {}
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Val, last: Option<Val>) -> Result<Val, Mistake> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Val::new(Value::Null));
        };
        let Base::Function(name) = &first.base else {
            return match rest {
                [argument] => self.method(first, argument, dot),
                _ => self.operand(first, dot),
            };
        };
        // These two look no further than they must.
        if name == "and" || name == "or" {
            let mut value = None;
            for operand in rest {
                let found = self.operand(operand, dot)?;
                if found.is_true() == (name == "or") {
                    return Ok(found);
                }
                value = Some(found);
            }
            return last
                .or(value)
                .ok_or_else(|| Mistake::new(format!("wrong number of args for {name}"), first.at));
        }
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push((self.operand(operand, dot)?, operand.at));
        }
        arguments.extend(last.map(|value| (value, first.at)));
        let call = Call {
            name,
            at: first.at,
            arguments,
            header: self.header,
        };
        let value = funcs::call(call)?;
        self.fields(&value, &first.fields)
    }

    /// `.Label "KEY"`, which docker has as a method: what `.Label` has under that key, or nothing.
    /// In a header it is the key's last part.
    fn method(&mut self, of: &Operand, argument: &Operand, dot: &Val) -> Result<Val, Mistake> {
        let key = self.operand(argument, dot)?;
        let Some(key) = key.value().as_str() else {
            return Err(Mistake::new("wrong type of argument", argument.at));
        };
        if self.header {
            let last = key.rsplit('.').next().unwrap_or(key);
            return Ok(Val::new(last.replace(['-', '_'], " ")));
        }
        match self.operand(of, dot)?.value() {
            Value::Object(map) if of.fields.last().is_some_and(|(name, _)| name == "Label") => {
                let found = map.get(key).cloned();
                Ok(Val::new(found.unwrap_or_else(|| Value::from(""))))
            }
            _ => {
                let message = "can't give argument to non-function";
                Err(Mistake::new(message, of.at))
            }
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Val) -> Result<Val, Mistake> {
        let base = match &operand.base {
            // Only what is wanted of these is copied: they may be large, and asked for often.
            Base::Dot => return self.fields(dot, &operand.fields),
            Base::Variable(name) if name.is_empty() => {
                return self.fields(self.root, &operand.fields);
            }
            Base::Variable(name) => {
                let mut known = self.variables.iter().rev();
                match known.find(|(known, _)| known == name) {
                    Some((_, value)) => return self.fields(value, &operand.fields),
                    None => Val::new(Value::Null),
                }
            }
            Base::Constant(value) => Val::new(value.clone()),
            Base::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Function(name) => funcs::call(Call {
                name,
                at: operand.at,
                arguments: Vec::new(),
                header: self.header,
            })?,
        };
        self.fields(&base, &operand.fields)
    }

    fn fields(&self, value: &Val, fields: &[(String, usize)]) -> Result<Val, Mistake> {
        let mut json = value.json.as_ref();
        let mut shape = value.shape;
        for (name, at) in fields {
            let found = match json {
                Some(Value::Object(map)) => map.get(name),
                None | Some(Value::Null) if shape == Shape::Map => None,
                None | Some(Value::Null) => {
                    let message = format!("nil pointer evaluating field .{name}");
                    return Err(Mistake::new(message, *at));
                }
                Some(other) => {
                    let kind = show::kind(other);
                    let message = format!("can't evaluate field {name} in type {kind}");
                    return Err(Mistake::new(message, *at));
                }
            };
            // What JSON leaves out is there all the same, unless any key may be missing.
            let found = match found {
                None if shape != Shape::Map => self.left_out(name),
                found => found,
            };
            if found.is_none() && shape != Shape::Map && !self.header {
                let message = format!("can't evaluate field {name}: there is no such field");
                return Err(Mistake::new(message, *at));
            }
            json = found;
            shape = self.shape(name);
        }
        Ok(Val {
            json: json.cloned(),
            shape,
        })
    }

    fn left_out(&self, name: &str) -> Option<&'static Value> {
        static EMPTY: Value = Value::String(String::new());
        static NULL: Value = Value::Null;
        let nil = [self.types.maps, self.types.lists, self.types.pointers];
        if self.types.texts.contains(&name) {
            Some(&EMPTY)
        } else if nil.iter().any(|names| names.contains(&name)) {
            Some(&NULL)
        } else {
            None
        }
    }

    fn shape(&self, name: &str) -> Shape {
        if self.types.maps.contains(&name) {
            Shape::Map
        } else if self.types.lists.contains(&name) {
            Shape::List
        } else if self.types.durations.contains(&name) {
            Shape::Duration
        } else {
            Shape::Any
        }
    }
}

fn elements(value: &Val, pipeline: &Pipeline) -> Result<Vec<(Val, Val)>, Mistake> {
    match value.value() {
        Value::Array(list) => Ok(list
            .iter()
            .enumerate()
            .map(|(i, element)| (Val::new(i), Val::new(element.clone())))
            .collect()),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            // Go goes through maps in the order of their keys.
            pairs.sort_by_key(|(key, _)| key.as_str());
            Ok(pairs
                .into_iter()
                .map(|(key, element)| (Val::new(key.as_str()), Val::new(element.clone())))
                .collect())
        }
        Value::Null => Ok(Vec::new()),
        Value::Number(n) if n.is_u64() => Ok((0..n.as_u64().unwrap_or(0).min(1 << 20))
            .map(|i| (Val::new(i), Val::new(i)))
            .collect()),
        other => {
            let at = pipeline.commands.first().and_then(|c| c.operands.first());
            let kind = show::kind(other);
            let message = format!("range can't iterate over {kind}");
            Err(Mistake::new(message, at.map_or(0, |operand| operand.at)))
        }
    }
}
