//! What files in HCL define: variables, functions, groups and targets, each evaluated when it is
//! first asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::config::{self, Config};
use crate::error::Mistake;
use crate::eval::evaluate;
use crate::eval::scope::{Names, Scope};
use crate::functions::{self, World};
use crate::own_functions::OwnFunctions;
use crate::source::Span;
use crate::syntax::tree::{Attribute, Block, Body, Call, Expression};
use crate::target::{self, Group, Target};
use crate::types;
use crate::value::Value;
use crate::variables;

/// What definitions are evaluated with.
pub struct Given {
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Variables that no definition can change.
    pub builtin: BTreeMap<String, String>,
    /// What functions know.
    pub world: World,
}

/// A variable as lists of them show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type, where it has one.
    pub of: Option<String>,
    /// Its value; `None` is null.
    pub value: Option<String>,
    /// What it is for.
    pub description: String,
}

/// A value that is known, or is being found out.
#[derive(Clone)]
enum Known {
    Soon,
    Value(Value),
}

#[derive(Default)]
struct Memory {
    values: BTreeMap<String, Known>,
    parts: BTreeMap<(usize, String), Known>,
    depth: usize,
}

/// A block under one of its names, with what its matrix says.
struct Named<'a> {
    block: &'a Block,
    name: String,
    own: Vec<(String, Value)>,
}

/// How far one value may depend on another by others.
const DEEPEST: usize = 100;

/// What files define.
pub struct Definitions<'a> {
    given: &'a Given,
    variables: BTreeMap<&'a str, &'a Block>,
    attributes: BTreeMap<&'a str, &'a Attribute>,
    functions: OwnFunctions<'a>,
    named: Vec<Named<'a>>,
    memory: RefCell<Memory>,
    /// What is written and means nothing.
    warnings: Vec<Mistake>,
}

fn unsuitable(at: Span, what: &str) -> Mistake {
    Mistake::at(
        at,
        format!("Unsuitable value type; Unsuitable value: {what}"),
    )
}

fn label(block: &Block) -> Result<(&str, Span), Mistake> {
    match block.labels.as_slice() {
        [only] => Ok((&only.text, only.at)),
        _ => {
            let kind = &block.kind;
            let text =
                format!("Missing name for {kind}; All {kind} blocks must have 1 labels (name).");
            Err(Mistake::at(block.at, text))
        }
    }
}

fn wanted<'b>(block: &'b Block, name: &str) -> Result<&'b Attribute, Mistake> {
    block.body.attribute(name).ok_or_else(|| {
        let text = format!(
            "Missing required argument; The argument {name:?} is required, but no definition was \
             found."
        );
        Mistake::at(block.at, text)
    })
}

impl<'a> Definitions<'a> {
    /// Takes what stands in the files, later ones counting before earlier ones.
    ///
    /// # Errors
    /// A block has no name, or one that it cannot have.
    pub fn new(bodies: &'a [Body], given: &'a Given) -> Result<Self, Mistake> {
        let mut found = Self {
            given,
            variables: BTreeMap::new(),
            attributes: BTreeMap::new(),
            functions: OwnFunctions::default(),
            named: Vec::new(),
            memory: RefCell::default(),
            warnings: Vec::new(),
        };
        let reserved =
            |name: &str| matches!(name, "target" | "group") || given.builtin.contains_key(name);
        let mut blocks = Vec::new();
        for body in bodies {
            for attribute in &body.attributes {
                if !reserved(&attribute.name) {
                    found.attributes.insert(&attribute.name, attribute);
                }
            }
            for block in &body.blocks {
                match block.kind.as_str() {
                    "variable" | "function" => {
                        let (name, _) = label(block)?;
                        match block.kind.as_str() {
                            _ if reserved(name) => {}
                            "variable" => drop(found.variables.insert(name, block)),
                            _ => found.functions.insert(name, block),
                        }
                    }
                    "target" | "group" => {
                        label(block)?;
                        blocks.push(block);
                    }
                    kind => found.warnings.push(Mistake::at(
                        block.at,
                        format!("{kind:?} is no block of a bake file, and is ignored"),
                    )),
                }
            }
        }
        // Names are told before anything can refer to a block by its own.
        let mut named = Vec::new();
        for block in blocks {
            named.extend(found.names(block)?);
        }
        found.named = named;
        Ok(found)
    }

    /// A block under all its names.
    fn names(&self, block: &'a Block) -> Result<Vec<Named<'a>>, Mistake> {
        let (plain, at) = label(block)?;
        let invalid = |what: String| Mistake::at(at, format!("Invalid name; {what}"));
        config::check_name(plain).map_err(invalid)?;
        let (matrix, name) = (block.body.attribute("matrix"), block.body.attribute("name"));
        if block.kind == "group" && (matrix.is_some() || name.is_some()) {
            let what = if name.is_some() { "name" } else { "matrix" };
            return Err(invalid(format!("{what} is not supported for groups")));
        }
        if name.is_some() && matrix.is_none() {
            return Err(invalid("name requires matrix".to_owned()));
        }
        let mut found: Vec<Named<'a>> = Vec::new();
        for own in self.matrix(matrix).map_err(|mistake| mistake.or_at(at))? {
            let name = match name {
                None => plain.to_owned(),
                Some(name) => {
                    let value = self.with(&own, &name.value)?;
                    value
                        .to_text()
                        .map_err(|what| unsuitable(name.value.at, what))?
                }
            };
            config::check_name(&name).map_err(invalid)?;
            if found.iter().any(|other| other.name == name) {
                return Err(invalid(format!("duplicate name {name:?}")));
            }
            found.push(Named { block, name, own });
        }
        Ok(found)
    }

    /// What each target of a matrix has as names of its own.
    fn matrix(&self, matrix: Option<&Attribute>) -> Result<Vec<Vec<(String, Value)>>, Mistake> {
        let mut all = vec![Vec::new()];
        let Some(matrix) = matrix else {
            return Ok(all);
        };
        let Value::Map(axes) = self.with(&[], &matrix.value)? else {
            return Err(Mistake::nowhere("Invalid name; matrix must be a map"));
        };
        for (name, values) in axes {
            let Some(values) = values.entries() else {
                return Err(Mistake::nowhere(
                    "Invalid name; matrix values must be a list",
                ));
            };
            let mut longer = Vec::new();
            for (_, value) in values {
                for begun in &all {
                    let mut own: Vec<(String, Value)> = begun.clone();
                    own.push((name.clone(), value.clone()));
                    longer.push(own);
                }
            }
            if longer.len() > MOST_TARGETS {
                let text = format!("the matrix makes more than {MOST_TARGETS} targets");
                return Err(Mistake::at(matrix.at, text));
            }
            all = longer;
        }
        Ok(all)
    }

    fn with(&self, own: &[(String, Value)], expression: &Expression) -> Result<Value, Mistake> {
        Scope::new(self).with(own, |scope| evaluate(expression, scope))
    }

    /// Evaluates everything, and gives what was written that means nothing.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn config(&self, config: &mut Config) -> Result<Vec<Mistake>, Mistake> {
        let mut warnings = self.warnings.clone();
        self.check_variables()?;
        self.functions.check()?;
        let mut renamed: Vec<(&str, Vec<String>)> = Vec::new();
        for (at, named) in self.named.iter().enumerate() {
            let plain = label(named.block)?.0;
            match named.block.kind.as_str() {
                "group" => config.set_group(self.group(at, named)?),
                _ => {
                    config.add_target(self.target(at, named, &mut warnings)?);
                    match renamed.iter_mut().find(|(name, _)| *name == plain) {
                        Some((_, names)) => names.push(named.name.clone()),
                        None => renamed.push((plain, vec![named.name.clone()])),
                    }
                }
            }
        }
        for (plain, names) in renamed {
            let names = target::words_once(names);
            if names.len() == 1 && names.iter().all(|name| name == plain) {
                continue;
            }
            config.groups.push(Group {
                name: plain.to_owned(),
                description: String::new(),
                targets: names,
            });
        }
        for name in self.attributes.keys() {
            self.value(name)?;
        }
        Ok(warnings)
    }

    fn group(&self, at: usize, named: &Named<'_>) -> Result<Group, Mistake> {
        wanted(named.block, "targets")?;
        let mut group = Group {
            name: named.name.clone(),
            ..Group::default()
        };
        for attribute in &named.block.body.attributes {
            let value = self.part(at, attribute)?;
            let wrong = |what: &str| unsuitable(attribute.value.at, what);
            match attribute.name.as_str() {
                "targets" => {
                    group.targets = target::strings(&value).map_err(|what| wrong(&what))?;
                }
                "description" => group.description = value.to_text().map_err(wrong)?,
                _ => {}
            }
        }
        Ok(group)
    }

    fn target(
        &self,
        at: usize,
        named: &Named<'_>,
        warnings: &mut Vec<Mistake>,
    ) -> Result<Target, Mistake> {
        let mut target = Target {
            name: named.name.clone(),
            ..Target::default()
        };
        for attribute in &named.block.body.attributes {
            let name = attribute.name.as_str();
            if target::ATTRIBUTES.contains(&name) {
                let value = self.part(at, attribute)?;
                let set = target.set(name, &value);
                set.map_err(|what| unsuitable(attribute.value.at, &what))?;
            } else if !matches!(name, "matrix" | "name") {
                let text = format!("{name:?} is no attribute of a target, and is ignored");
                let warning = Mistake::at(attribute.at, text);
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        Ok(target)
    }

    /// The value of an attribute of a block.
    fn part(&self, at: usize, attribute: &Attribute) -> Result<Value, Mistake> {
        let Some(named) = self.named.get(at) else {
            return Ok(Value::Null);
        };
        let key = (at, attribute.name.clone());
        let known = self.memory.borrow().parts.get(&key).cloned();
        match known {
            Some(Known::Value(value)) => return Ok(value),
            Some(Known::Soon) => {
                let (kind, name) = (&named.block.kind, &named.name);
                let text = format!(
                    "Invalid expression; reference cycle not allowed for {kind}.{name}.{}",
                    attribute.name
                );
                return Err(Mistake::at(attribute.value.at, text));
            }
            None => {}
        }
        let parts = |known| {
            let mut memory = self.memory.borrow_mut();
            match known {
                Some(known) => memory.parts.insert(key.clone(), known),
                None => memory.parts.remove(&key),
            };
        };
        parts(Some(Known::Soon));
        let found = self.deeper(attribute.at, || self.with(&named.own, &attribute.value));
        parts(found.as_ref().ok().cloned().map(Known::Value));
        found
    }

    /// Does something that a value depends on.
    fn deeper<T>(&self, at: Span, then: impl FnOnce() -> Result<T, Mistake>) -> Result<T, Mistake> {
        let depth = {
            let mut memory = self.memory.borrow_mut();
            memory.depth += 1;
            memory.depth
        };
        let found = match depth > DEEPEST {
            true => Err(Mistake::at(
                at,
                format!("it depends on others more than {DEEPEST} deep"),
            )),
            false => then(),
        };
        self.memory.borrow_mut().depth -= 1;
        found
    }

    /// What `target.NAME` stands for, or `target.NAME.ATTRIBUTE`.
    fn reflected(
        &self,
        kind: &str,
        name: &str,
        attribute: Option<&str>,
    ) -> Option<Result<Value, Mistake>> {
        let all = self.named.iter().enumerate();
        let mut fit = all.filter(|(_, one)| one.block.kind == kind && one.name == name);
        let (at, named) = fit.next_back()?;
        Some(match (kind, attribute) {
            ("group", _) => self.group(at, named).and_then(|group| json_of(&group)),
            (_, Some(attribute)) => {
                let mut target = Target::default();
                let written = named.block.body.attribute(attribute);
                let set = written.map_or(Ok(()), |written| {
                    let value = self.part(at, written)?;
                    let set = target.set(attribute, &value);
                    set.map_err(|what| unsuitable(written.value.at, &what))
                });
                set.and_then(|()| json_of(&target))
            }
            (_, None) => self
                .target(at, named, &mut Vec::new())
                .and_then(|target| json_of(&target)),
        })
    }

    /// The value of a variable, or of an attribute outside of blocks.
    fn value(&self, name: &str) -> Result<Value, Mistake> {
        if let Some(text) = self.given.builtin.get(name) {
            return Ok(Value::text(text));
        }
        let known = self.memory.borrow().values.get(name).cloned();
        match known {
            Some(Known::Value(value)) => return Ok(value),
            Some(Known::Soon) => {
                let text = format!("Invalid expression; variable cycle not allowed for {name}");
                return Err(Mistake::nowhere(text));
            }
            None => {}
        }
        let values = |known| {
            let mut memory = self.memory.borrow_mut();
            match known {
                Some(known) => memory.values.insert(name.to_owned(), known),
                None => memory.values.remove(name),
            };
        };
        values(Some(Known::Soon));
        let found = self.find_value(name);
        values(found.as_ref().ok().cloned().map(Known::Value));
        found
    }

    fn find_value(&self, name: &str) -> Result<Value, Mistake> {
        let attribute = self.attributes.get(name);
        let variable = self.variables.get(name);
        if attribute.is_none() && variable.is_none() {
            let text = format!("Unknown variable; There is no variable named {name:?}.");
            return Err(Mistake::nowhere(text));
        }
        let written = match (attribute, variable) {
            (Some(attribute), _) => Some(*attribute),
            (None, Some(variable)) => variable.body.attribute("default"),
            (None, None) => None,
        };
        let default = match written {
            Some(written) => {
                let value = self.deeper(written.at, || self.with(&[], &written.value));
                Some(value.map_err(|mistake| mistake.or_at(written.value.at))?)
            }
            None => None,
        };
        let Some(block) = variable else {
            return Ok(default.unwrap_or(Value::Null));
        };
        let environment = &self.given.environment;
        let of = block
            .body
            .attribute("type")
            .map(|of| types::read(&of.value));
        let value = match of.transpose()? {
            Some(of) => variables::typed(name, &of, default.as_ref(), environment),
            None => variables::untyped(name, default.as_ref(), environment),
        };
        let at = label(block)?.1;
        value.map_err(|what| Mistake::at(at, format!("Invalid value; {what}")))
    }

    /// All variables, by name.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn variables(&self) -> Result<Vec<Variable>, Mistake> {
        let all = self.variables.iter().map(|(name, block)| {
            let value = self.value(name)?;
            let text = |attribute: &str| {
                let written = block.body.attribute(attribute);
                let value = written
                    .map(|written| self.with(&[], &written.value))
                    .transpose()?;
                Ok(value.and_then(|value| value.to_text().ok()))
            };
            let of = block
                .body
                .attribute("type")
                .map(|of| types::read(&of.value));
            Ok(Variable {
                name: (*name).to_owned(),
                of: of.transpose()?.map(|of| of.name()),
                value: match &value {
                    Value::Null => None,
                    value => Some(value.to_text().unwrap_or_else(|_| value.to_json())),
                },
                description: text("description")?.unwrap_or_default(),
            })
        });
        all.collect()
    }

    fn check_variables(&self) -> Result<(), Mistake> {
        for name in self.variables.keys() {
            self.value(name)?;
        }
        let blocks = self.variables.values().flat_map(|block| &block.body.blocks);
        for check in blocks.filter(|block| block.kind == "validation") {
            let condition = &wanted(check, "condition")?.value;
            let message = &wanted(check, "error_message")?.value;
            let holds = self.with(&[], condition)?;
            let holds = holds.to_bool().map_err(|_| {
                let given = match holds {
                    Value::Null => "null",
                    _ => holds.kind(),
                };
                let text = format!(
                    "Invalid condition result; Condition expression must return either true or \
                     false, not {given}."
                );
                Mistake::at(condition.at, text)
            })?;
            if !holds {
                let told = self.with(&[], message)?;
                let told = told
                    .to_text()
                    .map_err(|what| unsuitable(message.at, what))?;
                return Err(Mistake::at(
                    condition.at,
                    format!("Validation failed; {told}"),
                ));
            }
        }
        Ok(())
    }

    /// Calls a function of the definition.
    fn own_call(
        &self,
        call: &Call,
        arguments: Vec<(Value, Span)>,
    ) -> Option<Result<Value, Mistake>> {
        let bound = self.functions.bind(call, arguments)?;
        Some(bound.and_then(|(own, result)| self.deeper(call.name_at, || self.with(&own, result))))
    }
}

/// The most targets that a matrix makes.
const MOST_TARGETS: usize = 4096;

/// What something that is printed reads as.
fn json_of(what: &impl serde::Serialize) -> Result<Value, Mistake> {
    let json = serde_json::to_value(what).map_err(Mistake::nowhere)?;
    Value::from_json(&json).map_err(Mistake::nowhere)
}

impl Names for Definitions<'_> {
    fn variable(&self, name: &str, at: Span) -> Result<Value, Mistake> {
        self.value(name).map_err(|mistake| mistake.or_at(at))
    }

    fn block(
        &self,
        root: &str,
        words: &[&str],
        at: Span,
    ) -> Option<Result<(Value, usize), Mistake>> {
        if !matches!(root, "target" | "group") {
            return None;
        }
        let Some(name) = words.first() else {
            let text = format!("Invalid expression; cannot access {root} as a variable");
            return Some(Err(Mistake::at(at, text)));
        };
        let attribute = words.get(1).filter(|one| target::ATTRIBUTES.contains(one));
        let attribute = attribute.filter(|_| root == "target").copied();
        let Some(value) = self.reflected(root, name, attribute) else {
            let text = format!(
                "Missing map element; This map does not have an element with the key {name:?}."
            );
            return Some(Err(Mistake::at(at, text)));
        };
        Some(
            value
                .map_err(|mistake| mistake.or_at(at))
                .map(|value| match (attribute, value) {
                    (Some(attribute), Value::Map(mut map)) => {
                        (map.remove(attribute).unwrap_or(Value::Null), 2)
                    }
                    (_, value) => (value, 1),
                }),
        )
    }

    fn call(&self, call: &Call, arguments: Vec<(Value, Span)>) -> Result<Value, Mistake> {
        if functions::exists(&call.name) {
            return functions::call(call, &arguments, &self.given.world);
        }
        match self.own_call(call, arguments) {
            Some(found) => found,
            None => functions::call(call, &[], &self.given.world),
        }
    }
}
