//! Words to a tree.

use super::funcs;
use super::lex::{Piece, Token, Word};
use super::mistake::Mistake;

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Node {
    /// Text that stays as it is.
    Text(String),
    /// `{{pipeline}}`
    Show(Pipeline),
    /// `{{if}}` and `{{with}}`: what to do with a value, and without.
    Branch {
        /// The value.
        pipeline: Pipeline,
        /// Whether it becomes `.` (`with`).
        rebinds: bool,
        /// With a value.
        then: Vec<Node>,
        /// Without.
        otherwise: Vec<Node>,
    },
    /// `{{range}}`
    Range {
        /// Names for the index or key, and the element.
        names: Vec<String>,
        /// What to go through.
        pipeline: Pipeline,
        /// For each element.
        body: Vec<Node>,
        /// When there is none.
        otherwise: Vec<Node>,
    },
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
}

/// Commands, each of which gets the result of the one before as its last argument.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// `$name :=` or `$name =`: the name, and whether it is declared.
    pub assign: Option<(String, bool)>,
    /// At least one.
    pub commands: Vec<Command>,
}

/// A function with arguments, or one operand.
#[derive(Clone, Debug)]
pub struct Command {
    /// Function, or the only operand, then arguments.
    pub operands: Vec<Operand>,
}

/// One operand, and where it is.
#[derive(Clone, Debug)]
pub struct Operand {
    /// What it begins with.
    pub base: Base,
    /// The fields asked of it.
    pub fields: Vec<(String, usize)>,
    /// Its offset in the template.
    pub at: usize,
}

/// What an operand begins with.
#[derive(Clone, Debug)]
pub enum Base {
    /// `.`
    Dot,
    /// `$name`
    Variable(String),
    /// A function.
    Function(String),
    /// A constant.
    Constant(serde_json::Value),
    /// `(…)`
    Group(Box<Pipeline>),
}

/// Makes a tree of a template's pieces.
pub fn parse(pieces: &[Piece]) -> Result<Vec<Node>, Mistake> {
    let mut parser = Parser {
        pieces,
        at: 0,
        loops: 0,
        variables: vec![String::new()],
    };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some((word, at)) => Err(Mistake::new(format!("unexpected {{{{{word}}}}}"), at)),
    }
}

struct Parser<'p> {
    pieces: &'p [Piece],
    at: usize,
    loops: usize,
    variables: Vec<String>,
}

/// The keyword that ended a list, `end`, `else` or `else if`, and where.
type End = Option<(String, usize)>;

impl<'p> Parser<'p> {
    /// Nodes up to `{{end}}` or `{{else}}`, or the end of all.
    fn list(&mut self) -> Result<(Vec<Node>, End), Mistake> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            let (words, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    continue;
                }
                Piece::Action(words, at) => (words.as_slice(), *at),
            };
            let keyword = match words.first().map(|word| &word.token) {
                Some(Token::Name(name)) => name.as_str(),
                _ => "",
            };
            let rest = words.get(1..).unwrap_or_default();
            match keyword {
                "end" => {
                    nothing_after(rest)?;
                    return Ok((nodes, Some(("end".to_owned(), at))));
                }
                "else" => {
                    if !rest.is_empty() {
                        // `else if` is read again as an action of its own.
                        self.at -= 1;
                    }
                    return Ok((nodes, Some(("else".to_owned(), at))));
                }
                "if" | "with" => nodes.push(self.branch(keyword == "with", rest, at)?),
                "range" => nodes.push(self.range(rest, at)?),
                "break" | "continue" => {
                    nothing_after(rest)?;
                    if self.loops == 0 {
                        let message = format!("{{{{{keyword}}}}} outside {{{{range}}}}");
                        return Err(Mistake::new(message, at));
                    }
                    nodes.push(match keyword {
                        "break" => Node::Break,
                        _ => Node::Continue,
                    });
                }
                "define" | "template" | "block" => {
                    let message = format!("{keyword} is not supported");
                    return Err(Mistake::new(message, at));
                }
                _ => nodes.push(Node::Show(self.pipeline(words, at)?)),
            }
        }
        Ok((nodes, None))
    }

    fn branch(&mut self, rebinds: bool, words: &[Word], at: usize) -> Result<Node, Mistake> {
        let known = self.variables.len();
        let pipeline = self.pipeline(words, at)?;
        let (then, end) = self.list()?;
        let otherwise = self.otherwise(end, at)?;
        self.variables.truncate(known);
        Ok(Node::Branch {
            pipeline,
            rebinds,
            then,
            otherwise,
        })
    }

    /// What follows the keyword that ended the first part.
    fn otherwise(&mut self, end: End, start: usize) -> Result<Vec<Node>, Mistake> {
        let unclosed = || Mistake::new("unexpected EOF: an {{end}} is missing", start);
        match end {
            None => Err(unclosed()),
            Some((word, _)) if word == "end" => Ok(Vec::new()),
            Some((_, at)) => {
                if let Some(Piece::Action(words, _)) = self.pieces.get(self.at)
                    && let [_, next, rest @ ..] = words.as_slice()
                    && matches!(&words[0].token, Token::Name(name) if name == "else")
                    && at == self.offset()
                {
                    self.at += 1;
                    return match &next.token {
                        Token::Name(name) if name == "if" || name == "with" => {
                            Ok(vec![self.branch(name == "with", rest, at)?])
                        }
                        _ => Err(Mistake::new("unexpected text after else", next.at)),
                    };
                }
                let (nodes, end) = self.list()?;
                match end {
                    None => Err(unclosed()),
                    Some((word, _)) if word == "end" => Ok(nodes),
                    Some((_, at)) => Err(Mistake::new("expected end; found {{else}}", at)),
                }
            }
        }
    }

    fn offset(&self) -> usize {
        match self.pieces.get(self.at) {
            Some(Piece::Action(_, at)) => *at,
            _ => usize::MAX,
        }
    }

    fn range(&mut self, words: &[Word], at: usize) -> Result<Node, Mistake> {
        let known = self.variables.len();
        let tokens: Vec<&Token> = words.iter().map(|word| &word.token).collect();
        let (names, used) = match tokens.as_slice() {
            [
                Token::Variable(a),
                Token::Comma,
                Token::Variable(b),
                Token::Declare,
                ..,
            ] => (vec![a.clone(), b.clone()], 4),
            [Token::Variable(a), Token::Declare, ..] => (vec![a.clone()], 2),
            _ => (Vec::new(), 0),
        };
        let pipeline = self.pipeline(words.get(used..).unwrap_or_default(), at)?;
        self.variables.extend(names.iter().cloned());
        self.loops += 1;
        let (body, end) = self.list()?;
        self.loops -= 1;
        let otherwise = self.otherwise(end, at)?;
        self.variables.truncate(known);
        Ok(Node::Range {
            names,
            pipeline,
            body,
            otherwise,
        })
    }

    fn pipeline(&mut self, words: &[Word], at: usize) -> Result<Pipeline, Mistake> {
        let (assign, words) = match words {
            [name, op, rest @ ..] => match (&name.token, &op.token) {
                (Token::Variable(name), Token::Declare) => (Some((name.clone(), true)), rest),
                (Token::Variable(name), Token::Assign) => (Some((name.clone(), false)), rest),
                _ => (None, words),
            },
            _ => (None, words),
        };
        let mut rest = words;
        let commands = self.commands(&mut rest, at)?;
        if let Some(word) = rest.first() {
            return Err(Mistake::new("unexpected )", word.at));
        }
        match &assign {
            Some((name, true)) => self.variables.push(name.clone()),
            Some((name, false)) if !self.variables.contains(name) => {
                return Err(Mistake::new(format!("undefined variable \"${name}\""), at));
            }
            _ => {}
        }
        Ok(Pipeline { assign, commands })
    }

    /// Commands up to the end or a closing parenthesis, which is left.
    fn commands(&mut self, words: &mut &[Word], at: usize) -> Result<Vec<Command>, Mistake> {
        let mut commands = Vec::new();
        loop {
            let mut operands: Vec<Operand> = Vec::new();
            while let Some(word) = words.first() {
                if matches!(word.token, Token::Pipe | Token::Close) {
                    break;
                }
                let operand = self.operand(words)?;
                operands.push(operand);
            }
            let Some(first) = operands.first() else {
                let place = words.first().map_or(at, |word| word.at);
                return Err(Mistake::new("missing value for command", place));
            };
            // A value that nothing is given to is fine; any other call needs a function.
            let takes = operands.len() > 1 || !commands.is_empty();
            // A field may be a method of docker's, which is a function.
            let is_method = !first.fields.is_empty() && operands.len() == 2 && commands.is_empty();
            if takes && !is_method && !matches!(first.base, Base::Function(_)) {
                let message = "can't give argument to non-function";
                return Err(Mistake::new(message, first.at));
            }
            commands.push(Command { operands });
            match words.first().map(|word| &word.token) {
                Some(Token::Pipe) => *words = words.get(1..).unwrap_or_default(),
                _ => return Ok(commands),
            }
        }
    }

    fn operand(&mut self, words: &mut &[Word]) -> Result<Operand, Mistake> {
        let Some((word, mut rest)) = words.split_first() else {
            return Err(Mistake::new("missing value for command", 0));
        };
        let at = word.at;
        let mut fields = Vec::new();
        let constant = |value: serde_json::Value| Ok(Base::Constant(value));
        let base = match &word.token {
            Token::Dot => Ok(Base::Dot),
            Token::Field(name) => {
                fields.push((name.clone(), at));
                Ok(Base::Dot)
            }
            Token::Variable(name) if self.variables.contains(name) => {
                Ok(Base::Variable(name.clone()))
            }
            Token::Variable(name) => Err(format!("undefined variable \"${name}\"")),
            Token::Text(text) => constant(text.clone().into()),
            Token::Int(number) => constant((*number).into()),
            Token::Float(number) => constant((*number).into()),
            Token::Name(name) => match name.as_str() {
                "true" => constant(true.into()),
                "false" => constant(false.into()),
                "nil" => constant(serde_json::Value::Null),
                name if funcs::is_known(name) => Ok(Base::Function(name.to_owned())),
                name => Err(format!("function {name:?} not defined")),
            },
            Token::Open => {
                let commands = self.commands(&mut rest, at)?;
                match rest.split_first() {
                    Some((word, after)) if word.token == Token::Close => rest = after,
                    _ => return Err(Mistake::new("unclosed left paren", at)),
                }
                Ok(Base::Group(Box::new(Pipeline {
                    assign: None,
                    commands,
                })))
            }
            Token::Pipe | Token::Close | Token::Comma | Token::Declare | Token::Assign => {
                Err("unexpected operator".to_owned())
            }
        }
        .map_err(|message| Mistake::new(message, at))?;
        // `.A.B` without a space in between is one operand.
        while let Some((next, after)) = rest.split_first() {
            match &next.token {
                Token::Field(name) if !next.spaced => {
                    fields.push((name.clone(), next.at));
                    rest = after;
                }
                _ => break,
            }
        }
        *words = rest;
        Ok(Operand { base, fields, at })
    }
}

fn nothing_after(words: &[Word]) -> Result<(), Mistake> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(Mistake::new("unexpected text in the action", word.at)),
    }
}
