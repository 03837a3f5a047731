//! The tree of a definition, with the places of its parts.

use crate::source::Span;
use crate::value::Value;

/// What stands in a file, or between a block's braces.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// `NAME = VALUE`, in the order of the file.
    pub attributes: Vec<Attribute>,
    /// `TYPE "NAME" { … }`, in the order of the file.
    pub blocks: Vec<Block>,
}

impl Body {
    /// The attribute of a name, the last one if there are several.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().rev().find(|one| one.name == name)
    }
}

/// `NAME = VALUE`
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// Where the name is.
    pub at: Span,
    /// The value.
    pub value: Expression,
}

/// `TYPE "NAME" { … }`
#[derive(Clone, Debug)]
pub struct Block {
    /// The first word.
    pub kind: String,
    /// Where that is.
    pub at: Span,
    /// The names.
    pub labels: Vec<Label>,
    /// What is between the braces.
    pub body: Body,
}

/// The name of a block.
#[derive(Clone, Debug)]
pub struct Label {
    /// The name.
    pub text: String,
    /// Where it is.
    pub at: Span,
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expression {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub at: Span,
}

impl Expression {
    /// Goes through the calls of functions in it, outer ones first.
    pub fn calls<'e>(&'e self, see: &mut dyn FnMut(&'e Call)) {
        match &self.kind {
            Kind::Literal(_) | Kind::Variable(_) => {}
            Kind::Template(parts) => parts.iter().for_each(|part| part.calls(see)),
            Kind::Tuple(list) => list.iter().for_each(|one| one.calls(see)),
            Kind::Object(entries) => entries.iter().for_each(|(key, value)| {
                key.calls(see);
                value.calls(see);
            }),
            Kind::Call(call) => {
                see(call);
                call.arguments.iter().for_each(|one| one.calls(see));
            }
            Kind::Conditional(parts) => parts.iter().for_each(|one| one.calls(see)),
            Kind::Unary(_, one) => one.calls(see),
            Kind::Binary(_, sides) => sides.iter().for_each(|one| one.calls(see)),
            Kind::Traversal(root, steps) => {
                root.calls(see);
                for step in steps {
                    if let Step::Index(index) = step {
                        index.calls(see);
                    }
                }
            }
            Kind::For(one) => {
                let parts = [
                    Some(&one.collection),
                    one.result_key.as_ref(),
                    Some(&one.result),
                ];
                let parts = parts.into_iter().flatten().chain(&one.condition);
                parts.for_each(|part| part.calls(see));
            }
        }
    }
}

impl Part {
    fn calls<'e>(&'e self, see: &mut dyn FnMut(&'e Call)) {
        match self {
            Self::Text(_) => {}
            Self::Insert(one) => one.calls(see),
            Self::If {
                condition,
                then,
                otherwise,
            } => {
                condition.calls(see);
                then.iter()
                    .chain(otherwise)
                    .for_each(|part| part.calls(see));
            }
            Self::For {
                collection, body, ..
            } => {
                collection.calls(see);
                body.iter().for_each(|part| part.calls(see));
            }
        }
    }
}

/// The kinds of expressions.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `1`, `true`, `null`, or a string without anything to put in.
    Literal(Value),
    /// A string with parts that are put in.
    Template(Vec<Part>),
    /// `[a, b]`
    Tuple(Vec<Expression>),
    /// `{ a = b }`
    Object(Vec<(Expression, Expression)>),
    /// A name.
    Variable(String),
    /// `NAME(ARGUMENTS)`
    Call(Box<Call>),
    /// `a ? b : c`
    Conditional(Box<[Expression; 3]>),
    /// `!a`, `-a`
    Unary(Unary, Box<Expression>),
    /// `a + b`
    Binary(Binary, Box<[Expression; 2]>),
    /// `a.b`, `a[b]`, `a.*.b`
    Traversal(Box<Expression>, Vec<Step>),
    /// `[for a in b : c]`
    For(Box<For>),
}

/// `NAME(ARGUMENTS)`
#[derive(Clone, Debug)]
pub struct Call {
    /// The function.
    pub name: String,
    /// Where its name is.
    pub name_at: Span,
    /// The arguments.
    pub arguments: Vec<Expression>,
    /// `…` behind the last: it is a list of further ones.
    pub expand: bool,
    /// Where the closing parenthesis is.
    pub close_at: Span,
}

/// What stands before an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-`
    Negate,
    /// `!`
    Not,
}

/// What stands between operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// A step from a value to a part of it.
#[derive(Clone, Debug)]
pub enum Step {
    /// `.name`
    Attribute(String, Span),
    /// `[expression]`
    Index(Expression),
    /// `.*` (attributes alone follow each element) or `[*]`
    Splat {
        /// It is `[*]`.
        full: bool,
    },
}

/// `[for KEY, VALUE in COLLECTION : RESULT if CONDITION]`
#[derive(Clone, Debug)]
pub struct For {
    /// The name of the key.
    pub key: Option<String>,
    /// The name of the value.
    pub value: String,
    /// What is gone through.
    pub collection: Expression,
    /// The key of the result, with `{for …}`.
    pub result_key: Option<Expression>,
    /// The result.
    pub result: Expression,
    /// Which of them are taken.
    pub condition: Option<Expression>,
    /// `...`: values of one key become a list.
    pub grouping: bool,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `${expression}`
    Insert(Expression),
    /// `%{if condition}…%{else}…%{endif}`
    If {
        /// The condition.
        condition: Expression,
        /// What is written when it holds.
        then: Vec<Part>,
        /// What is written else.
        otherwise: Vec<Part>,
    },
    /// `%{for value in collection}…%{endfor}`
    For {
        /// The name of the key.
        key: Option<String>,
        /// The name of the value.
        value: String,
        /// What is gone through.
        collection: Expression,
        /// What is written for each.
        body: Vec<Part>,
    },
}
