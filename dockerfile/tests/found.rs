//! Inputs that fuzzing found, kept so that they stay mended.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dockerfile::diagnostic::render;
use dockerfile::lint::{Options, lint};
use dockerfile::parse_bytes;
use dockerfile::print::print;

/// All that may be done with a file, none of which may panic or point outside it.
fn survives(bytes: &[u8]) {
    let parsed = parse_bytes(bytes);
    let mut diagnostics = parsed.diagnostics.clone();
    diagnostics.extend(lint(&parsed, &Options::default()).diagnostics);
    assert!(!diagnostics.is_empty());
    for diagnostic in diagnostics {
        let span = diagnostic.span;
        assert!(
            parsed.source.get(span.start..span.end).is_some(),
            "{diagnostic:?}"
        );
        assert!(!render(&diagnostic, "Dockerfile", &parsed.source, true).is_empty());
    }
}

#[test]
fn a_violation_of_a_continued_instruction_ends_on_a_character() {
    survives("FROM a\nCMD \\\n#é\n#é\n#é\n xxx\nCMD [\"b\"]\n".as_bytes());
}

#[test]
fn a_dangling_continuation_is_printed_as_one() {
    for source in [
        "FROM a \r\\\n\u{a0}",
        "FROM a\nRUN x\\",
        "FROM a\nRUN x \\ \\",
        "FROM a\n\\",
    ] {
        let ast = dockerfile::parser::parse(source).0;
        let again = dockerfile::parser::parse(&print(&ast)).0;
        assert_eq!(again.dump(), ast.dump(), "{source:?}");
        let codes = |ast: &dockerfile::parser::Ast| {
            ast.nodes
                .iter()
                .map(|node| node.code.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(&again), codes(&ast), "{source:?}");
    }
}
