//! BuildKit's own parser and shell lexer tables.

use dockerfile::parser;
use dockerfile::shell::Lexer;

use crate::{corpus, entries};

#[test]
fn trees_are_buildkits() {
    let Some(folder) = corpus("buildkit-parser/testfiles") else {
        return;
    };
    let mut failed = Vec::new();
    let mut total = 0;
    for case in entries(&folder) {
        let source = std::fs::read(case.join("Dockerfile")).unwrap();
        let source = String::from_utf8(source).unwrap();
        let expected = std::fs::read_to_string(case.join("result")).unwrap();
        let (ast, diagnostics) = parser::parse(&source);
        total += 1;
        if !diagnostics.is_empty() || format!("{}\n", ast.dump()) != expected {
            failed.push(format!(
                "{}\n{diagnostics:?}\n{}",
                case.display(),
                ast.dump()
            ));
        }
    }
    println!("{} of {total} trees agree", total - failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(total > 0);
}

#[test]
fn bad_files_are_refused() {
    let Some(folder) = corpus("buildkit-parser/testfiles-negative") else {
        return;
    };
    for case in entries(&folder) {
        let source = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let (_, diagnostics) = parser::parse(&source);
        assert!(
            diagnostics.iter().any(|d| d.is_error()),
            "{}",
            case.display()
        );
        assert!(
            dockerfile::parse(&source).has_errors(),
            "{}",
            case.display()
        );
    }
}

#[test]
fn line_ranges_are_buildkits() {
    let Some(folder) = corpus("buildkit-parser/testfile-line") else {
        return;
    };
    let source = std::fs::read_to_string(folder.join("Dockerfile")).unwrap();
    let (ast, _) = parser::parse(&source);
    let lines: Vec<_> = ast
        .nodes
        .iter()
        .map(|node| (node.lines.start, node.lines.end))
        .collect();
    assert_eq!(lines, [(5, 5), (11, 12), (17, 31)]);
}

#[test]
fn words_expand_as_in_env_var_test() {
    let Some(file) = corpus("buildkit-parser/envVarTest") else {
        return;
    };
    let vars = [
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("KOREAN", "한국어"),
        ("NULL", ""),
    ];
    let mut total = 0;
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [platform, word, expected] = fields[..] else {
            panic!("{line}")
        };
        if platform == "W" {
            continue;
        }
        total += 1;
        match Lexer::new('\\').process_word(word, &vars.as_slice()) {
            Ok(text) => assert_eq!(text, expected, "{line}"),
            Err(error) => assert_eq!(expected, "error", "{line}: {error}"),
        }
    }
    println!("{total} rows of envVarTest agree");
    assert!(total > 0);
}

#[test]
fn words_split_as_in_words_test() {
    let Some(file) = corpus("buildkit-parser/wordsTest") else {
        return;
    };
    let mut vars: Vec<(String, String)> = Vec::new();
    let mut total = 0;
    for line in std::fs::read_to_string(file).unwrap().lines() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(pair) = line.strip_prefix("ENV ") {
            let (name, value) = pair.trim_start().split_once('=').unwrap();
            vars.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (word, expected) = line.split_once('|').unwrap();
        total += 1;
        let words = Lexer::new('\\')
            .process_words(word.trim(), &vars)
            .unwrap_or_else(|_| vec!["error".to_owned()]);
        let expected: Vec<&str> = expected.trim_start_matches(' ').split(',').collect();
        assert_eq!(words, expected, "{line}");
    }
    println!("{total} rows of wordsTest agree");
    assert!(total > 0);
}
