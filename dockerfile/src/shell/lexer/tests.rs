use super::*;
use crate::shell::NoVariables;

fn word(word: &str) -> Result<String, String> {
    let vars = [("a", "foobarbaz"), ("e", ""), ("s", "x y"), ("q", "\"")];
    Lexer::new('\\')
        .process_word(word, &vars.as_slice())
        .map_err(|error| error.to_string())
}

#[test]
fn expands_every_form() {
    for (text, expected) in [
        ("$a-$u", "foobarbaz-"),
        ("${a:-x}${e:-x}${u:-x}${e-x}${u-x}", "foobarbazxxx"),
        ("${a:+x}${e:+x}${u:+x}${e+x}${u+x}", "xx"),
        ("${a:?m}${e?m}", "foobarbaz"),
        ("${a#f*b}${a##f*b}", "arbazaz"),
        ("${a%b*}/${a%%b*}", "foobar/foo"),
        ("${a/ba/X}${a//ba/X}", "fooXrbazfooXrXz"),
        ("${u#x}${u/x/y}", ""),
        ("${a#\\*}", "foobarbaz"),
        ("'$a'\"$a\"\\$a", "$afoobarbaz$a"),
        ("${u:-'a b'\"c\"}", "a bc"),
        ("${a/\\//x}", "foobarbaz"),
        ("$q", "\""),
        ("a\\", "a"),
    ] {
        assert_eq!(word(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn explains_what_is_wrong() {
    for (text, message) in [
        ("${u:?}", "u: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("${u?set $a}", "u: set foobarbaz"),
        ("${a", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${a=b}", "unsupported modifier (=) in substitution"),
        ("${a:=b}", "unsupported modifier (:=) in substitution"),
        ("${a/b}", "syntax error: missing '/' in ${}"),
        (
            "${a#\\b}",
            "invalid pattern (\\b) in substitution: invalid escape '\\b'",
        ),
        (
            "'a",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"a",
            "unexpected end of statement while looking for matching double-quote",
        ),
    ] {
        assert_eq!(word(text).unwrap_err(), message, "{text}");
    }
    let deep = format!("{}{}", "${a:+".repeat(500), "}".repeat(500));
    assert_eq!(word(&deep).unwrap_err(), ExpandError::TooDeep.to_string());
}

#[test]
fn tells_which_variables_were_used() {
    let vars = [("a", "1")];
    let expansion = Lexer::new('\\')
        .expand("$a${b:-$c}'$d'", &vars.as_slice())
        .unwrap();
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(expansion.unset.into_keys().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn growth_is_bounded() {
    let mut value = "x".repeat(1000);
    let outcome = (0..40).try_for_each(|_| {
        let vars = [("a", value.clone())];
        value = Lexer::new('\\').process_word("$a\"$a\"", &vars.as_slice())?;
        Ok::<(), ExpandError>(())
    });
    assert_eq!(outcome, Err(ExpandError::TooLong));
    let vars = [("a", "x".repeat(100_000))];
    let word = "${a//x/0123456789}";
    let outcome = Lexer::new('\\').process_word(word, &vars.as_slice());
    assert_eq!(outcome, Err(ExpandError::TooLong));
}

#[test]
fn keeps_what_it_is_told_to_keep() {
    let keep = Lexer::new('\\').keep_unset();
    for text in ["$a", "${a}", "${a:-b}", "${a#b}", "${a/b/c}"] {
        assert_eq!(keep.process_word(text, &NoVariables).unwrap(), text);
    }
    let raw = Lexer::new('`').raw_quotes().raw_escapes();
    assert_eq!(
        raw.process_word("'a' \"b\" `c", &NoVariables).unwrap(),
        "'a' \"b\" `c"
    );
}

#[test]
fn tells_where_a_word_is_wrong_and_where_variables_are_unset() {
    for (word, part) in [
        ("ab${c!}d", "${c!"),
        ("x${a:-${u!}}", "${u!"),
        ("a \"b", "\"b"),
        ("語${", "${"),
        ("\"x$q${u:?no}\"", "${u:?no}"),
    ] {
        let error = Lexer::new('\\')
            .expand_placed(word, &NoVariables)
            .unwrap_err();
        assert_eq!(&word[error.at], part, "{word}");
    }
    let expanded = Lexer::new('\\')
        .expand("a$b-${c:-$d}", &NoVariables)
        .unwrap();
    let unset: Vec<_> = expanded.unset.into_iter().collect();
    let expected = [("b", 1..3), ("c", 4..12), ("d", 9..11)];
    assert_eq!(unset, expected.map(|(name, at)| (name.to_owned(), at)));
}
