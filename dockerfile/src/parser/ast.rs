//! The syntax tree: one node an instruction, its arguments split as its keyword wants them.

use serde::Serialize;

use super::Directives;
use crate::heredoc::Heredoc;
use crate::span::{LineRange, Span, Text};
use golang::quote::{go_quote, go_quote_list};

/// A file's syntax tree. It holds whatever could be parsed, also when there were errors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ast {
    /// The parser directives.
    pub directives: Directives,
    /// The instructions, in order; unknown ones among them.
    pub nodes: Vec<Node>,
    /// Places of the instructions that have empty continuation lines, and of the first such line.
    pub empty_continuations: Vec<EmptyContinuation>,
}

/// An instruction with empty lines between its continuation lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EmptyContinuation {
    /// The first empty line.
    pub span: Span,
    /// Last line of the instruction, heredoc bodies excluded, where BuildKit reports it.
    pub line: usize,
}

/// A comment line above an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comment {
    /// The text after `#`, trimmed.
    pub text: String,
    /// The whole comment.
    pub span: Span,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The keyword as written.
    pub keyword: Text,
    /// `--flag` words before the arguments, quotes removed.
    pub flags: Vec<Text>,
    /// The arguments.
    pub args: Args,
    /// Here-documents whose markers are in the arguments.
    pub heredocs: Vec<Heredoc>,
    /// The instruction on one line; white space at its end is kept.
    pub code: String,
    /// All of it.
    pub span: Span,
    /// Its lines.
    pub lines: LineRange,
    /// The comment lines right above it.
    pub comments: Vec<Comment>,
}

/// Arguments of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Args {
    /// There are none.
    None,
    /// Not looked at: the keyword is unknown.
    Unknown(Text),
    /// Words, or a single string.
    List {
        /// The words.
        words: Vec<Text>,
        /// Whether they came from a JSON array.
        json: bool,
    },
    /// ENV and LABEL.
    Pairs(Vec<Pair>),
    /// HEALTHCHECK: its type, then a command.
    Health {
        /// `NONE`, `CMD` or something else.
        kind: Text,
        /// The command.
        words: Vec<Text>,
        /// Whether the command came from a JSON array.
        json: bool,
    },
    /// ONBUILD: an instruction.
    Child(Box<Node>),
}

/// A key and value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The key.
    pub key: Text,
    /// The value.
    pub value: Text,
    /// Whether a `=` was between them.
    pub equals: bool,
}

impl Node {
    /// The keyword in lower case.
    pub fn name(&self) -> String {
        self.keyword.text.to_lowercase()
    }

    /// Whether the arguments (of the trigger, for ONBUILD) are a JSON array.
    pub(super) fn is_json(&self) -> bool {
        match &self.args {
            Args::List { json, .. } | Args::Health { json, .. } => *json,
            _ => false,
        }
    }

    fn dump(&self, out: &mut String) {
        out.push_str(&self.name());
        if !self.flags.is_empty() {
            let flags: Vec<&str> = self.flags.iter().map(Text::as_str).collect();
            out.push(' ');
            out.push_str(&go_quote_list(&flags));
        }
        let mut word = |text: &str| {
            out.push(' ');
            out.push_str(&go_quote(text));
        };
        match &self.args {
            Args::None => {}
            Args::Unknown(_) => word(""),
            Args::List { words, .. } => words.iter().for_each(|w| word(&w.text)),
            Args::Pairs(pairs) => {
                for pair in pairs {
                    word(&pair.key.text);
                    word(&pair.value.text);
                    word(if pair.equals { "=" } else { "" });
                }
            }
            Args::Health { kind, words, .. } => {
                word(&kind.text);
                words.iter().for_each(|w| word(&w.text));
            }
            Args::Child(child) => {
                out.push_str(" (");
                child.dump(out);
                out.push(')');
            }
        }
    }
}

impl Ast {
    /// The tree as BuildKit's dumper writes it: one S-expression a line, no newline at the end.
    pub fn dump(&self) -> String {
        let mut out = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.push('(');
            node.dump(&mut out);
            out.push(')');
        }
        out
    }
}
