//! Text to syntax tree: directives, comments, continuation lines and here-documents.
//!
//! What an instruction's arguments mean is not decided here; unknown instructions and flags pass.

mod ast;
mod directive;
mod heredoc;
mod json;
mod line;
mod lines;
mod words;

pub use ast::{Args, Ast, Comment, EmptyContinuation, Node, Pair};
pub use directive::Directives;
use directive::Honoured;

pub(crate) use heredoc::marker;
pub(crate) use words::comment_help;

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{LineRange, Span};
use line::{LogicalLine, split_once_blank};
use lines::Lines;
use words::Trailing;

/// Parses a source into a tree of whatever could be understood, and the mistakes that were found.
pub fn parse(source: &str) -> (Ast, Vec<Diagnostic>) {
    let mut parser = Parser {
        lines: Lines::new(source),
        directives: Some(Directives::default()),
        escape: '\\',
        ast: Ast::default(),
        comments: Vec::new(),
        diagnostics: Vec::new(),
        shebang: false,
        indented: false,
    };
    parser.run();
    if parser.ast.nodes.is_empty() && parser.diagnostics.is_empty() {
        let message = "file with no instructions";
        parser.diagnostics.push(
            Diagnostic::error(Code::NoInstructions, message, Span::at(source.len()))
                .help("begin with a base image: `FROM image`, or `FROM scratch` for an empty one"),
        );
    }
    (parser.ast, parser.diagnostics)
}

/// Parses one instruction, an ONBUILD trigger of a base image.
pub(crate) fn parse_single(source: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let (mut ast, mut diagnostics) = parse(source);
    if ast.nodes.len() > 1 {
        diagnostics.push(Diagnostic::error(
            Code::InvalidArgument,
            "onbuild trigger should be a single expression",
            ast.nodes[1].span,
        ));
    }
    let node = if ast.nodes.is_empty() {
        None
    } else {
        Some(ast.nodes.swap_remove(0))
    };
    (node, diagnostics)
}

struct Parser<'s> {
    lines: Lines<'s>,
    /// The directives as long as more may come.
    directives: Option<Directives>,
    escape: char,
    ast: Ast,
    comments: Vec<Comment>,
    diagnostics: Vec<Diagnostic>,
    /// The file begins with `#!`.
    shebang: bool,
    /// A comment line that began with blanks was seen.
    indented: bool,
}

impl Parser<'_> {
    fn run(&mut self) {
        while let Some(line) = self.lines.next_line() {
            let content = line.content();
            let trimmed = content.trim_start();
            let start = line.start + (content.len() - trimmed.len());
            if trimmed.starts_with('#') {
                self.indented |= trimmed.len() < content.len();
                if !self.directive(trimmed, start) {
                    self.comment(trimmed, start);
                }
                continue;
            }
            self.end_directives();
            if trimmed.is_empty() {
                self.comments.clear();
                continue;
            }
            self.instruction(trimmed, start);
        }
        self.end_directives();
    }

    fn directive(&mut self, line: &str, offset: usize) -> bool {
        let Some(directives) = &mut self.directives else {
            return false;
        };
        if self.lines.number() == 1 && line.starts_with("#!") {
            self.shebang = true;
            return false;
        }
        let honoured = Honoured {
            escape: !self.shebang,
            others: !self.indented,
        };
        if directives.take(line, offset, honoured, &mut self.diagnostics) {
            self.escape = directives.escape_char();
            return true;
        }
        self.end_directives();
        false
    }

    fn end_directives(&mut self) {
        if let Some(directives) = self.directives.take() {
            self.ast.directives = directives;
        }
    }

    fn comment(&mut self, line: &str, offset: usize) {
        let text = line[1..].trim();
        // An empty comment separates, like an empty line.
        if text.is_empty() {
            self.comments.clear();
        } else {
            let span = Span::new(offset, offset + line.trim_end().len());
            self.comments.push(Comment {
                text: text.to_owned(),
                span,
            });
        }
    }

    /// An instruction whose first line is `first`, at `offset`.
    fn instruction(&mut self, first: &str, offset: usize) {
        let start_line = self.lines.number();
        let mut line = LogicalLine::default();
        let mut end = offset + first.trim_end().len();
        let (piece, mut continues) = self.continuation(first);
        line.push(piece, offset);
        let mut empty = None;
        while continues {
            let Some(next) = self.lines.next_line() else {
                break;
            };
            if next.is_comment() {
                continue;
            }
            let content = next.content();
            if content.trim_start().is_empty() {
                empty.get_or_insert(Span::new(next.start, next.start + content.len()));
                continue;
            }
            let (piece, more) = self.continuation(content);
            line.push(piece, next.start);
            end = next.start + content.trim_end().len();
            continues = more;
        }
        if let Some(span) = empty {
            self.ast.empty_continuations.push(EmptyContinuation {
                span,
                line: self.lines.number(),
            });
        }
        let comments = std::mem::take(&mut self.comments);
        let mut trailing = Trailing::default();
        let whole = 0..line.text.len();
        let mut node = match node_from_line(&line, whole, self.escape, &mut trailing) {
            Ok(node) => node,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                return;
            }
        };
        self.diagnostics.append(&mut trailing.warnings);
        node.comments = comments;
        node.span = Span::new(offset, end);
        if takes_heredocs(&node) {
            self.heredocs(&line, &mut node);
        }
        node.lines = LineRange {
            start: start_line,
            end: self.lines.number(),
        };
        if let Args::Child(child) = &mut node.args {
            child.lines = node.lines;
        }
        self.ast.nodes.push(node);
    }

    /// `line` without its continuation character, and whether it had one. An escaped escape
    /// character at the end does not continue the line.
    fn continuation<'l>(&self, line: &'l str) -> (&'l str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (line, false),
        }
    }

    fn heredocs(&mut self, line: &LogicalLine, node: &mut Node) {
        let markers = match heredoc::markers(line) {
            Ok(markers) => markers,
            Err(error) => {
                self.diagnostics.push(
                    Diagnostic::error(Code::InvalidWord, error.to_string(), node.span)
                        .help("close the quote around the here-document's delimiter"),
                );
                return;
            }
        };
        // One that does not end takes the rest of the file: what follows it on the line has no
        // body, and no mistake of its own.
        let mut ended = true;
        for (marker, word) in markers {
            match heredoc::body(marker, word, &mut self.lines) {
                Ok(heredoc) => {
                    node.span.end = self.lines.source()[..self.lines.offset()]
                        .trim_end_matches(['\r', '\n'])
                        .len()
                        .max(node.span.end);
                    node.heredocs.push(heredoc);
                }
                Err(heredoc) => {
                    node.span.end = heredoc.span.end.max(node.span.end);
                    if std::mem::take(&mut ended) {
                        let (code, name) = (Code::UnterminatedHeredoc, &heredoc.name);
                        self.diagnostics.push(
                            Diagnostic::error(code, "unterminated heredoc", word)
                                .help(format!("end it with a line that is exactly `{name}`")),
                        );
                    }
                    node.heredocs.push(heredoc);
                }
            }
        }
    }
}

/// Whether `<<` in the arguments starts a here-document.
fn takes_heredocs(node: &Node) -> bool {
    let node = match &node.args {
        Args::Child(child) => child,
        _ => node,
    };
    !node.is_json() && matches!(node.name().as_str(), "add" | "copy" | "run")
}

/// Splits an instruction's text into keyword, flags and arguments.
fn node_from_line(
    line: &LogicalLine,
    range: std::ops::Range<usize>,
    escape: char,
    trailing: &mut Trailing,
) -> Result<Node, Diagnostic> {
    let range = line.trim(range);
    let (keyword, rest) = split_once_blank(&line.text, range.clone());
    let (flags, args) = match rest {
        Some(rest) => words::split_flags(line, rest),
        None => (Vec::new(), range.end..range.end),
    };
    let args = line.trim(args);
    let keyword = line.slice(keyword);
    let args = match keyword.text.to_lowercase().as_str() {
        "add" | "copy" | "volume" => words::maybe_json_list(line, args, trailing)?,
        "arg" => words::names(line, args, escape),
        "cmd" | "entrypoint" | "run" | "shell" => words::maybe_json(line, args, trailing)?,
        "env" => words::pairs(line, args, escape, "ENV")?,
        "label" => words::pairs(line, args, escape, "LABEL")?,
        "expose" | "from" => words::list(line, args),
        "healthcheck" => words::health(line, args, trailing)?,
        "maintainer" | "stopsignal" | "user" | "workdir" => words::string(line, args),
        "onbuild" if args.is_empty() => Args::None,
        // A chain of ONBUILD is refused later; following it would overflow the stack.
        "onbuild" if starts_with_onbuild(line, &args) => {
            let child = split_once_blank(&line.text, args.clone()).0;
            Args::Child(Box::new(leaf(line, child, args)))
        }
        "onbuild" => Args::Child(Box::new(node_from_line(line, args, escape, trailing)?)),
        _ => Args::Unknown(line.slice(args)),
    };
    // White space at the end stays: ONBUILD hands its text on as it is.
    let end = trailing.start.unwrap_or(line.text.len());
    let mut code = line.text[range.start..end].to_owned();
    if trailing.start.is_some() {
        code.truncate(code.trim_end().len());
    }
    let span = match trailing.start {
        Some(_) => line.span(range.start..range.start + code.len()),
        None => line.span(range),
    };
    let lines = LineRange { start: 0, end: 0 };
    let (heredocs, comments) = (Vec::new(), Vec::new());
    Ok(Node {
        keyword,
        flags,
        args,
        heredocs,
        code,
        span,
        lines,
        comments,
    })
}

fn starts_with_onbuild(line: &LogicalLine, args: &std::ops::Range<usize>) -> bool {
    let keyword = split_once_blank(&line.text, args.clone()).0;
    line.text[keyword].eq_ignore_ascii_case("onbuild")
}

/// A node whose arguments are not looked at.
fn leaf(
    line: &LogicalLine,
    keyword: std::ops::Range<usize>,
    range: std::ops::Range<usize>,
) -> Node {
    let rest = line.trim(keyword.end..range.end);
    Node {
        keyword: line.slice(keyword),
        flags: Vec::new(),
        args: Args::Unknown(line.slice(rest)),
        heredocs: Vec::new(),
        code: line.text[range.clone()].to_owned(),
        span: line.span(range),
        lines: LineRange { start: 0, end: 0 },
        comments: Vec::new(),
    }
}
