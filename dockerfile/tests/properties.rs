//! What holds for any input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dockerfile::diagnostic::{Diagnostic, render};
use dockerfile::ignore::{IgnoreMatcher, ParentMatches};
use dockerfile::lint::{Options, lint};
use dockerfile::parser::{self, Args, Ast, Node};
use dockerfile::print::print;
use dockerfile::shell::Lexer;
use dockerfile::span::Span;
use golang::glob::glob_match;
use proptest::prelude::*;

/// Text that looks somewhat like a Dockerfile.
fn dockerfile() -> impl Strategy<Value = String> {
    let keyword = prop_oneof![
        prop::sample::select(vec![
            "FROM",
            "RUN",
            "COPY",
            "ADD",
            "ENV",
            "LABEL",
            "ARG",
            "CMD",
            "ENTRYPOINT",
            "EXPOSE",
            "HEALTHCHECK",
            "ONBUILD",
            "SHELL",
            "USER",
            "VOLUME",
            "WORKDIR",
            "STOPSIGNAL",
            "MAINTAINER",
            "run",
            "FORM",
            "#",
            "# escape=`",
            "# syntax=x",
            "# check=skip=all",
            "\u{feff}FROM",
            "",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    let piece = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b=c",
            "--from=x",
            "--mount=type=cache,target=/x",
            "[\"a\", \"b\"]",
            "['a']",
            "<<EOF",
            "<<-'E F'",
            "EOF",
            "\\",
            "`",
            "\"q q\"",
            "'",
            "\"",
            "$x",
            "${x:-$y}",
            "${x/a/b}",
            "AS",
            "name",
            "CMD",
            "NONE",
            "--",
            "--interval=5s",
            "80/tcp",
            "é",
            "\u{a0}",
            "\r",
            "#",
            "=",
            "x=",
            "\\ ",
            "{}",
            "RUN",
            "ONBUILD",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    let space = prop::sample::select(vec![
        " ",
        " ",
        "\t",
        " \\\n",
        "\\\n",
        " \\\n# é\n",
        "\n",
        "\r\n",
        "",
        "\u{c}",
    ]);
    let line =
        (keyword, prop::collection::vec((space, piece), 0..6)).prop_map(|(keyword, pieces)| {
            let mut line = keyword;
            for (space, piece) in pieces {
                line.push_str(space);
                line.push_str(&piece);
            }
            line
        });
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

fn spans(diagnostics: &[Diagnostic], nodes: &[Node]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for diagnostic in diagnostics {
        spans.push(diagnostic.span);
        spans.extend(diagnostic.notes.iter().map(|note| note.span));
    }
    nodes.iter().for_each(|node| node_spans(node, &mut spans));
    spans
}

fn node_spans(node: &Node, spans: &mut Vec<Span>) {
    spans.extend([node.span, node.keyword.span]);
    spans.extend(node.flags.iter().map(|flag| flag.span));
    spans.extend(node.comments.iter().map(|comment| comment.span));
    spans.extend(
        node.heredocs
            .iter()
            .flat_map(|heredoc| [heredoc.span, heredoc.word]),
    );
    match &node.args {
        Args::None => {}
        Args::Unknown(text) => spans.push(text.span),
        Args::List { words, .. } => spans.extend(words.iter().map(|word| word.span)),
        Args::Pairs(pairs) => {
            spans.extend(
                pairs
                    .iter()
                    .flat_map(|pair| [pair.key.span, pair.value.span]),
            );
        }
        Args::Health { kind, words, .. } => {
            spans.push(kind.span);
            spans.extend(words.iter().map(|word| word.span));
        }
        Args::Child(child) => node_spans(child, spans),
    }
}

/// The tree without its places.
fn placeless(mut ast: Ast) -> serde_json::Value {
    ast.empty_continuations.clear();
    let mut value = serde_json::to_value(&ast).unwrap();
    drop_places(&mut value);
    value
}

fn drop_places(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for place in ["span", "lines", "word"] {
                fields.remove(place);
            }
            fields.values_mut().for_each(drop_places);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_places),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn parsing_places_everything_inside_the_file(source in dockerfile()) {
        let parsed = dockerfile::parse(&source);
        let mut diagnostics = parsed.diagnostics.clone();
        diagnostics.extend(lint(&parsed, &Options::default()).diagnostics);
        for span in spans(&diagnostics, &parsed.ast.nodes) {
            prop_assert!(source.get(span.start..span.end).is_some(), "{span:?} of {source:?}");
        }
        for diagnostic in &diagnostics {
            prop_assert!(!render(diagnostic, "Dockerfile", &source, false).is_empty());
            diagnostic.to_json("Dockerfile", &source);
        }
        for node in &parsed.ast.nodes {
            prop_assert!(node.lines.start >= 1 && node.lines.start <= node.lines.end);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed = dockerfile::parse_bytes(&bytes);
        for span in spans(&parsed.diagnostics, &parsed.ast.nodes) {
            prop_assert!(parsed.source.get(span.start..span.end).is_some());
        }
    }

    #[test]
    fn printing_keeps_the_tree(source in dockerfile()) {
        let (ast, diagnostics) = parser::parse(&source);
        // What was refused is not in the tree, and may have ended in the middle of something.
        prop_assume!(diagnostics.is_empty());
        let printed = print(&ast);
        let (again, diagnostics) = parser::parse(&printed);
        prop_assert!(diagnostics.is_empty(), "{printed:?}: {diagnostics:?}");
        prop_assert_eq!(placeless(again.clone()), placeless(ast), "{:?} -> {:?}", source, printed);
        prop_assert_eq!(print(&again), printed);
    }

    #[test]
    fn words_expand_without_panic(word in "[\\PC${}'\"\\\\`:/%#?*+-]{0,24}") {
        let vars = [("x", "a b"), ("y", ""), ("é", "*")];
        for lexer in [Lexer::new('\\'), Lexer::new('`'), Lexer::heredoc()] {
            if let Ok(expansion) = lexer.expand(&word, &vars.as_slice()) {
                prop_assert!(expansion.words.iter().all(|word| !word.is_empty()));
            }
            let _ = lexer.raw_quotes().raw_escapes().keep_unset().expand(&word, &vars.as_slice());
        }
    }

    #[test]
    fn walking_agrees_with_asking(
        patterns in prop::collection::vec("!?[ab*?/.\\[\\]-]{1,6}", 1..5),
        path in "[ab](/[ab.]{1,2}){0,4}",
    ) {
        let Ok(matcher) = IgnoreMatcher::new(&patterns) else { return Ok(()) };
        let path = path.trim_matches('/');
        let mut known = ParentMatches::default();
        let mut excluded = false;
        let mut skipped = false;
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            (excluded, known) = matcher.matches_with_parent(&path[..end], &known);
            if end < path.len() && excluded && !matcher.could_match_below(&path[..end]) {
                skipped = true;
            }
        }
        // With re-inclusions the two differ in a corner, see `matches_with_parent`.
        if !matcher.has_exclusions() {
            prop_assert_eq!(excluded, matcher.matches(path), "{:?} {}", &patterns, path);
        }
        if skipped {
            prop_assert!(excluded, "{patterns:?} skips a directory that holds {path}");
        }
    }

    #[test]
    fn wildcards_match_themselves_when_escaped(name in "[a-z*?\\[\\]é-]{0,8}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert_eq!(glob_match(&escaped, &name), Ok(true));
    }
}
