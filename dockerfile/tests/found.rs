//! Inputs that fuzzing found, kept so that they stay mended.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dockerfile::diagnostic::render;
use dockerfile::lint::{Options, lint};
use dockerfile::parse_bytes;

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
