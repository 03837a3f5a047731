//! HCL's native syntax.

use std::ops::Range;

use hcl_edit::expr::{self, BinaryOperator, ObjectKey, TraversalOperator, UnaryOperator};
use hcl_edit::structure::{self, BlockLabel};
use hcl_edit::template::{self, Directive, Element, Strip};
use hcl_edit::{Span as _, parser};

use super::tree::{
    Attribute, Binary, Block, Body, Call, Expression, For, Kind, Label, Part, Step, Unary,
};
use crate::error::Mistake;
use crate::source::Span;
use crate::value::Value;

/// Reads a file.
///
/// # Errors
/// Where the text is no HCL.
pub fn parse(text: &str, file: usize) -> Result<Body, Mistake> {
    let whole = Span {
        file,
        start: 0,
        end: text.len(),
    };
    let parsed = parser::parse_body(text).map_err(|error| unreadable(&error, whole, text))?;
    Reader { whole, fixed: None }.body(&parsed)
}

/// Reads an expression that stands in a string of JSON, at `at`.
///
/// # Errors
/// Where the text is no expression.
pub fn expression(text: &str, at: Span) -> Result<Expression, Mistake> {
    let parsed = parser::parse_expr(text).map_err(|error| inner(&error, at))?;
    let reader = Reader {
        whole: at,
        fixed: Some(at),
    };
    reader.expression(&parsed)
}

/// Reads a template that stands in a string of JSON, at `at`.
///
/// # Errors
/// Where the text is no template.
pub fn template(text: &str, at: Span) -> Result<Expression, Mistake> {
    if !text.contains("${") && !text.contains("%{") {
        let kind = Kind::Literal(Value::text(text));
        return Ok(Expression { kind, at });
    }
    let parsed = parser::parse_template(text).map_err(|error| inner(&error, at))?;
    let reader = Reader {
        whole: at,
        fixed: Some(at),
    };
    let kind = reader.wrapped(&parsed)?;
    Ok(Expression { kind, at })
}

fn inner(error: &parser::Error, at: Span) -> Mistake {
    Mistake::at(at, format!("Invalid expression; {}", error.message()))
}

fn unreadable(error: &parser::Error, whole: Span, text: &str) -> Mistake {
    let start = error.location().offset().min(text.len());
    let end = text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .filter(|c| *c != '\n')
        .map_or(start, |c| start + c.len_utf8());
    let at = whole.within(start, end);
    Mistake::at(at, format!("Invalid HCL; {}", error.message()))
}

/// Makes our tree of the crate's.
#[derive(Clone, Copy)]
struct Reader {
    /// The place of all of it.
    whole: Span,
    /// The one place of everything, where places in the text are none of the file.
    fixed: Option<Span>,
}

impl Reader {
    fn span(&self, range: Option<Range<usize>>) -> Span {
        match (self.fixed, range) {
            (Some(fixed), _) => fixed,
            (None, Some(range)) => self.whole.within(range.start, range.end),
            (None, None) => self.whole,
        }
    }

    fn body(self, body: &structure::Body) -> Result<Body, Mistake> {
        let mut found = Body::default();
        for attribute in body.attributes() {
            found.attributes.push(Attribute {
                name: attribute.key.to_string(),
                at: self.span(attribute.key.span()),
                value: self.expression(&attribute.value)?,
            });
        }
        for block in body.blocks() {
            let labels = block.labels.iter().map(|label| Label {
                text: label.as_str().to_owned(),
                at: self.span(match label {
                    BlockLabel::Ident(name) => name.span(),
                    BlockLabel::String(name) => name.span(),
                }),
            });
            found.blocks.push(Block {
                kind: block.ident.to_string(),
                at: self.span(block.ident.span()),
                labels: labels.collect(),
                body: self.body(&block.body)?,
            });
        }
        Ok(found)
    }

    fn all<'e>(
        self,
        list: impl Iterator<Item = &'e expr::Expression>,
    ) -> Result<Vec<Expression>, Mistake> {
        list.map(|one| self.expression(one)).collect()
    }

    fn boxed(self, expression: &expr::Expression) -> Result<Box<Expression>, Mistake> {
        Ok(Box::new(self.expression(expression)?))
    }

    fn expression(self, expression: &expr::Expression) -> Result<Expression, Mistake> {
        let at = self.span(expression.span());
        let kind = match expression {
            expr::Expression::Null(_) => Kind::Literal(Value::Null),
            expr::Expression::Bool(truth) => Kind::Literal(Value::Bool(*truth.value())),
            expr::Expression::Number(number) => {
                let written = number.as_repr().map(|raw| raw.to_owned().to_string());
                let text = written.unwrap_or_else(|| number.value().to_string());
                let number = text.trim().parse();
                Kind::Literal(Value::Number(
                    number.map_err(|e: String| Mistake::at(at, e))?,
                ))
            }
            expr::Expression::String(text) => Kind::Literal(Value::text(text.value())),
            expr::Expression::Array(list) => Kind::Tuple(self.all(list.iter())?),
            expr::Expression::Object(object) => self.object(object)?,
            expr::Expression::StringTemplate(parts) => {
                let parts: Vec<&Element> = parts.iter().collect();
                self.elements(&parts)?
            }
            expr::Expression::HeredocTemplate(heredoc) => {
                Kind::Template(self.template(&heredoc.template)?)
            }
            expr::Expression::Parenthesis(inner) => return self.expression(inner.inner()),
            expr::Expression::Variable(name) => Kind::Variable(name.to_string()),
            expr::Expression::Conditional(one) => Kind::Conditional(Box::new([
                self.expression(&one.cond_expr)?,
                self.expression(&one.true_expr)?,
                self.expression(&one.false_expr)?,
            ])),
            expr::Expression::FuncCall(call) => self.call(call)?,
            expr::Expression::Traversal(traversal) => {
                let steps = traversal
                    .operators
                    .iter()
                    .map(|step| self.step(step.value()));
                let steps = steps.collect::<Result<_, _>>()?;
                Kind::Traversal(self.boxed(&traversal.expr)?, steps)
            }
            expr::Expression::UnaryOp(one) => {
                let operator = match one.operator.value() {
                    UnaryOperator::Neg => Unary::Negate,
                    UnaryOperator::Not => Unary::Not,
                };
                Kind::Unary(operator, self.boxed(&one.expr)?)
            }
            expr::Expression::BinaryOp(one) => Kind::Binary(
                binary(*one.operator.value()),
                Box::new([
                    self.expression(&one.lhs_expr)?,
                    self.expression(&one.rhs_expr)?,
                ]),
            ),
            expr::Expression::ForExpr(one) => self.comprehension(one)?,
        };
        Ok(Expression { kind, at })
    }

    fn object(self, object: &expr::Object) -> Result<Kind, Mistake> {
        let mut entries = Vec::new();
        for (key, value) in object.iter() {
            let key = match key {
                ObjectKey::Ident(name) => Expression {
                    kind: Kind::Literal(Value::text(name.as_str())),
                    at: self.span(name.span()),
                },
                // A bare name is a name here, and a variable only within parentheses.
                ObjectKey::Expression(expr::Expression::Variable(name)) => Expression {
                    kind: Kind::Literal(Value::text(name.as_str())),
                    at: self.span(name.span()),
                },
                ObjectKey::Expression(key) => self.expression(key)?,
            };
            entries.push((key, self.expression(value.expr())?));
        }
        Ok(Kind::Object(entries))
    }

    fn call(self, call: &expr::FuncCall) -> Result<Kind, Mistake> {
        let mut name = String::new();
        for part in &call.name.namespace {
            name.push_str(part.as_str());
            name.push_str("::");
        }
        name.push_str(call.name.name.as_str());
        let whole = self.span(call.span());
        let close_at = match self.fixed {
            Some(fixed) => fixed,
            None => whole.within(whole.end.saturating_sub(1), whole.end),
        };
        Ok(Kind::Call(Box::new(Call {
            name,
            name_at: self.span(call.name.name.span()),
            arguments: self.all(call.args.iter())?,
            expand: call.args.expand_final(),
            close_at,
        })))
    }

    fn step(self, step: &TraversalOperator) -> Result<Step, Mistake> {
        Ok(match step {
            TraversalOperator::AttrSplat(_) => Step::Splat { full: false },
            TraversalOperator::FullSplat(_) => Step::Splat { full: true },
            TraversalOperator::GetAttr(name) => {
                Step::Attribute(name.to_string(), self.span(name.span()))
            }
            TraversalOperator::Index(index) => Step::Index(self.expression(index)?),
            TraversalOperator::LegacyIndex(index) => {
                let number = index.value().to_string().parse();
                let at = self.span(index.span());
                let number = number.map_err(|e: String| Mistake::at(at, e))?;
                let kind = Kind::Literal(Value::Number(number));
                Step::Index(Expression { kind, at })
            }
        })
    }

    fn comprehension(self, one: &expr::ForExpr) -> Result<Kind, Mistake> {
        let optional = |expression: Option<&expr::Expression>| {
            expression.map(|one| self.expression(one)).transpose()
        };
        Ok(Kind::For(Box::new(For {
            key: one.intro.key_var.as_ref().map(|name| name.to_string()),
            value: one.intro.value_var.to_string(),
            collection: self.expression(&one.intro.collection_expr)?,
            result_key: optional(one.key_expr.as_ref())?,
            result: self.expression(&one.value_expr)?,
            condition: optional(one.cond.as_ref().map(|cond| &cond.expr))?,
            grouping: one.grouping,
        })))
    }

    /// A template; one that is nothing but one expression is that expression.
    fn wrapped(self, template: &template::Template) -> Result<Kind, Mistake> {
        let parts: Vec<&Element> = template.iter().collect();
        self.elements(&parts)
    }

    fn elements(self, parts: &[&Element]) -> Result<Kind, Mistake> {
        match parts {
            [Element::Interpolation(only)] => {
                let inner = self.expression(&only.expr)?;
                Ok(inner.kind)
            }
            parts => {
                let parts = self.parts(parts, Edges::default())?;
                Ok(match parts.as_slice() {
                    [] => Kind::Literal(Value::text("")),
                    [Part::Text(text)] => Kind::Literal(Value::text(text)),
                    _ => Kind::Template(parts),
                })
            }
        }
    }

    fn template(self, template: &template::Template) -> Result<Vec<Part>, Mistake> {
        self.stripped(template, Edges::default())
    }

    fn stripped(self, template: &template::Template, edges: Edges) -> Result<Vec<Part>, Mistake> {
        let parts: Vec<&Element> = template.iter().collect();
        self.parts(&parts, edges)
    }

    /// `~` of a neighbour takes the blanks away that are next to it.
    fn parts(self, parts: &[&Element], edges: Edges) -> Result<Vec<Part>, Mistake> {
        let mut found = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| parts.get(at));
            let after = parts.get(at + 1);
            found.push(match part {
                Element::Literal(text) => {
                    let mut text = text.value().as_str();
                    if before.map_or(edges.start, |part| strips(part).1) {
                        text = text.trim_start();
                    }
                    if after.map_or(edges.end, |part| strips(part).0) {
                        text = text.trim_end();
                    }
                    Part::Text(text.to_owned())
                }
                Element::Interpolation(one) => Part::Insert(self.expression(&one.expr)?),
                Element::Directive(directive) => self.directive(directive)?,
            });
        }
        Ok(found)
    }

    fn directive(self, directive: &Directive) -> Result<Part, Mistake> {
        match directive {
            Directive::If(one) => {
                let end = one.endif_expr.strip;
                let (middle, otherwise) = match &one.else_expr {
                    Some(other) => {
                        let edges = Edges::between(other.strip, end);
                        (other.strip, self.stripped(&other.template, edges)?)
                    }
                    None => (end, Vec::new()),
                };
                let edges = Edges::between(one.if_expr.strip, middle);
                Ok(Part::If {
                    condition: self.expression(&one.if_expr.cond_expr)?,
                    then: self.stripped(&one.if_expr.template, edges)?,
                    otherwise,
                })
            }
            Directive::For(one) => {
                let head = &one.for_expr;
                let edges = Edges::between(head.strip, one.endfor_expr.strip);
                Ok(Part::For {
                    key: head.key_var.as_ref().map(|name| name.to_string()),
                    value: head.value_var.to_string(),
                    collection: self.expression(&head.collection_expr)?,
                    body: self.stripped(&head.template, edges)?,
                })
            }
        }
    }
}

/// Whether blanks go at the beginning and at the end of a template.
#[derive(Clone, Copy, Default)]
struct Edges {
    start: bool,
    end: bool,
}

impl Edges {
    fn between(first: Strip, last: Strip) -> Self {
        Self {
            start: first.strip_end(),
            end: last.strip_start(),
        }
    }
}

/// Whether a part takes the blanks away before and behind it.
fn strips(part: &Element) -> (bool, bool) {
    let of = |first: Strip, last: Strip| (first.strip_start(), last.strip_end());
    match part {
        Element::Literal(_) => (false, false),
        Element::Interpolation(one) => of(one.strip, one.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(one) => of(one.if_expr.strip, one.endif_expr.strip),
            Directive::For(one) => of(one.for_expr.strip, one.endfor_expr.strip),
        },
    }
}

fn binary(operator: BinaryOperator) -> Binary {
    match operator {
        BinaryOperator::Eq => Binary::Equal,
        BinaryOperator::NotEq => Binary::NotEqual,
        BinaryOperator::LessEq => Binary::LessOrEqual,
        BinaryOperator::GreaterEq => Binary::GreaterOrEqual,
        BinaryOperator::Less => Binary::Less,
        BinaryOperator::Greater => Binary::Greater,
        BinaryOperator::Plus => Binary::Add,
        BinaryOperator::Minus => Binary::Subtract,
        BinaryOperator::Mul => Binary::Multiply,
        BinaryOperator::Div => Binary::Divide,
        BinaryOperator::Mod => Binary::Modulo,
        BinaryOperator::And => Binary::And,
        BinaryOperator::Or => Binary::Or,
    }
}
