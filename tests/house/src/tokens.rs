//! A file as a flat list of words, marks and literals, without comments.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token, with where it stands.
#[derive(Debug, Clone)]
pub struct Token {
    /// As written. A path separator `::` is one token; brackets are tokens too.
    pub text: String,
    /// What kind of token it is.
    pub kind: Kind,
    /// The line of its start, from 1.
    pub line: usize,
    /// The line of its end: another one for literals over several lines.
    pub end: usize,
    /// Whether it belongs to an item that only tests have.
    pub test: bool,
    /// Whether it stands in a `pub use`, which names a thing without using it.
    pub reexport: bool,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or a keyword.
    Word,
    /// Punctuation, also brackets.
    Mark,
    /// A string, character, number.
    Literal,
}

/// The tokens of a file in order, without doc comments.
pub fn flatten(stream: &TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    level(stream, false, &mut tokens);
    mark_reexports(&mut tokens);
    tokens
}

/// Whether `tokens[at]` names the crate `name`: the head of a path, or all of a `use`.
pub fn names_crate(tokens: &[Token], at: usize, name: &str) -> bool {
    let is = |index: Option<usize>, text: &str| {
        index
            .and_then(|index| tokens.get(index))
            .is_some_and(|token| token.text == text)
    };
    let before = at.checked_sub(1);
    // A leading `::` also means a crate; after a word it is the middle of a path.
    let inside = is(before, ".")
        || is(before, "::")
            && at.checked_sub(2).is_some_and(|two| {
                tokens[two].kind == Kind::Word && tokens[two].text != "use"
                    || tokens[two].text == ">"
            });
    tokens[at].kind == Kind::Word
        && tokens[at].text == name
        && !inside
        && (is(Some(at + 1), "::") || is(before, "use") || is(before, "crate"))
}

fn level(stream: &TokenStream, test: bool, out: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut at = 0;
    // Set by an attribute, until the end of the item that it stands before.
    let mut item = false;
    while let Some(tree) = trees.get(at) {
        let test = test || item;
        match tree {
            TokenTree::Punct(hash) if hash.as_char() == '#' => {
                if let Some(TokenTree::Group(group)) = trees.get(at + 1)
                    && group.delimiter() == Delimiter::Bracket
                {
                    if is_doc(&group.stream()) {
                        at += 2;
                        continue;
                    }
                    item |= is_test(&group.stream());
                }
                push(out, "#".to_owned(), Kind::Mark, tree, test);
            }
            TokenTree::Punct(mark) => {
                let double = mark.as_char() == ':'
                    && mark.spacing() == proc_macro2::Spacing::Joint
                    && matches!(trees.get(at + 1),
                        Some(TokenTree::Punct(next)) if next.as_char() == ':');
                let text = if double {
                    "::".to_owned()
                } else {
                    mark.as_char().to_string()
                };
                push(out, text, Kind::Mark, tree, test);
                at += usize::from(double);
                item &= mark.as_char() != ';';
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                push(out, open.to_owned(), Kind::Mark, tree, test);
                level(&group.stream(), test, out);
                push(out, close.to_owned(), Kind::Mark, tree, test);
                item &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Ident(word) => push(out, word.to_string(), Kind::Word, tree, test),
            TokenTree::Literal(literal) => {
                push(out, literal.to_string(), Kind::Literal, tree, test);
            }
        }
        at += 1;
    }
}

fn push(out: &mut Vec<Token>, text: String, kind: Kind, tree: &TokenTree, test: bool) {
    let span = tree.span();
    let (line, end) = (span.start().line, span.end().line);
    out.push(Token {
        text,
        kind,
        line,
        end,
        test,
        reexport: false,
    });
}

fn is_doc(attribute: &TokenStream) -> bool {
    matches!(attribute.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
}

/// `cfg(test)`, `cfg(all(test, …))`, `test` and `tokio::test`.
fn is_test(attribute: &TokenStream) -> bool {
    let text: String = attribute.to_string().split_whitespace().collect();
    text.starts_with("cfg(test)")
        || text.starts_with("cfg(all(test,")
        || text == "test"
        || text.starts_with("tokio::test")
}

fn mark_reexports(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "pub" {
            let mut head = at + 1;
            if tokens.get(head).is_some_and(|token| token.text == "(") {
                while tokens.get(head).is_some_and(|token| token.text != ")") {
                    head += 1;
                }
                head += 1;
            }
            if tokens.get(head).is_some_and(|token| token.text == "use") {
                while at < tokens.len() && tokens[at].text != ";" {
                    tokens[at].reexport = true;
                    at += 1;
                }
            }
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        flatten(&text.parse().unwrap())
    }

    #[test]
    fn what_belongs_to_tests_is_marked_until_its_item_ends() {
        let all = tokens("#[cfg(test)] use a::{b}; fn c() {} #[test] fn d() { e() } fn f() {}");
        let test = |name: &str| all.iter().find(|token| token.text == name).unwrap().test;
        assert_eq!(
            ["b", "c", "d", "e", "f"].map(test),
            [true, false, true, true, false]
        );
    }

    #[test]
    fn a_crate_is_named_at_the_head_of_a_path_only() {
        for (text, named) in [
            ("use hex;", true),
            ("use hex::encode;", true),
            ("use ::hex::encode;", true),
            ("fn f() { hex::encode(a) }", true),
            ("fn f() { Some(::hex::encode(a)) }", true),
            ("use crate::hex::encode;", false),
            ("fn f() { a.hex::<T>() }", false),
            ("fn f() { let hex = 1; }", false),
            ("/// hex::encode\nfn f() {}", false),
        ] {
            let all = tokens(text);
            assert_eq!(
                (0..all.len()).any(|at| names_crate(&all, at, "hex")),
                named,
                "{text}"
            );
        }
    }

    #[test]
    fn a_reexport_names_without_using() {
        let all = tokens("pub(crate) use a::B; use a::C; pub use d::E;");
        let named = |name: &str| {
            all.iter()
                .find(|token| token.text == name)
                .unwrap()
                .reexport
        };
        assert_eq!(["B", "C", "E"].map(named), [true, false, true]);
    }
}
