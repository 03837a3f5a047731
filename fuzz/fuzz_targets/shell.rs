//! Any text as a word: no panic, no empty word, and time that does not explode.
#![no_main]

use dockerfile::shell::Lexer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|word: &str| {
    let vars = [("a", "foo bar/baz"), ("e", ""), ("x", "*?\\"), ("PATH", "/bin:/usr/bin")];
    let vars = vars.as_slice();
    for lexer in [Lexer::new('\\'), Lexer::new('`'), Lexer::heredoc()] {
        if let Ok(expansion) = lexer.expand(word, &vars) {
            assert!(expansion.words.iter().all(|word| !word.is_empty()));
            assert!(expansion.used.iter().all(|name| !expansion.unset.contains_key(name)));
        }
        let _ = lexer.raw_quotes().raw_escapes().keep_unset().expand(word, &vars);
    }
});
