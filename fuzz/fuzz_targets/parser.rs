//! Any bytes as a Dockerfile: no panic, places inside the file, checks and messages work, and a
//! file without mistakes survives printing.
#![no_main]

use dockerfile::diagnostic::render;
use dockerfile::lint::{Options, lint};
use dockerfile::print::print;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = dockerfile::parse_bytes(bytes);
    let mut diagnostics = parsed.diagnostics.clone();
    let options = Options { target: Some(""), ..Options::default() };
    diagnostics.extend(lint(&parsed, &Options::default()).diagnostics);
    diagnostics.extend(lint(&parsed, &options).diagnostics);
    for diagnostic in &diagnostics {
        let span = diagnostic.span;
        assert!(parsed.source.get(span.start..span.end).is_some(), "{diagnostic:?}");
    }
    for diagnostic in diagnostics.iter().take(5) {
        render(diagnostic, "Dockerfile", &parsed.source, false);
        diagnostic.to_json("Dockerfile", &parsed.source);
    }
    for node in &parsed.ast.nodes {
        assert!(parsed.source.get(node.span.start..node.span.end).is_some(), "{node:?}");
    }
    let (ast, mistakes) = dockerfile::parser::parse(&parsed.source);
    ast.dump();
    if mistakes.is_empty() {
        let printed = print(&ast);
        let (again, mistakes) = dockerfile::parser::parse(&printed);
        assert!(mistakes.is_empty(), "{printed:?}: {mistakes:?}");
        assert_eq!(again.dump(), ast.dump());
        assert_eq!(print(&again), printed);
    }
});
