//! The JSON form of arguments: an array of strings, with the place of each.

use std::ops::Range;

/// What a text is as a JSON array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonArray {
    /// Strings, each with its range (quotes included) in the text.
    Strings(Vec<(String, Range<usize>)>),
    /// Strings, and behind the array what was meant to be a comment, with its range.
    Commented(Vec<(String, Range<usize>)>, Range<usize>),
    /// An array of strings with other text behind it: how many strings, where the array ends, and
    /// the range of the text.
    Followed(usize, usize, Range<usize>),
    /// An array with something else in it.
    NotStrings,
    /// Not an array, or not JSON.
    NotJson,
}

/// Reads `text`, all of it.
pub(super) fn parse_array(text: &str) -> JsonArray {
    if !text.starts_with('[') {
        return JsonArray::NotJson;
    }
    if let Some((strings, end)) = strings(text) {
        let behind = text[end..].trim_start();
        let rest = text.len() - behind.len()..text.len();
        return match behind.chars().next() {
            None => JsonArray::Strings(strings),
            Some('#') => JsonArray::Commented(strings, rest),
            Some(_) => JsonArray::Followed(strings.len(), end, rest),
        };
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Vec<serde_json::Value>>();
    let array = matches!(values.next(), Some(Ok(_)));
    let behind = text[values.byte_offset()..].trim_start();
    match array && (behind.is_empty() || behind.starts_with('#')) {
        true => JsonArray::NotStrings,
        false => JsonArray::NotJson,
    }
}

/// A string with its place in the text.
type Placed = (String, Range<usize>);

/// The strings of the array that `text` begins with, and where it ends.
fn strings(text: &str) -> Option<(Vec<Placed>, usize)> {
    let mut at = skip_space(text, 1);
    let mut words = Vec::new();
    if text[at..].starts_with(']') {
        return Some((words, at + 1));
    }
    loop {
        let (word, end) = string(text, at)?;
        words.push((word, at..end));
        at = skip_space(text, end);
        match text.as_bytes().get(at)? {
            b',' => at = skip_space(text, at + 1),
            b']' => return Some((words, at + 1)),
            _ => return None,
        }
    }
}

/// JSON's white space, which is less than Unicode's.
fn skip_space(text: &str, from: usize) -> usize {
    let rest = &text[from..];
    from + rest
        .find(|c| !matches!(c, ' ' | '\t' | '\n' | '\r'))
        .unwrap_or(rest.len())
}

/// The string that starts at `from`, and where it ends.
fn string(text: &str, from: usize) -> Option<(String, usize)> {
    let body = text.get(from..)?.strip_prefix('"')?;
    let mut word = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((word, from + 1 + at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => word.push('\n'),
                't' => word.push('\t'),
                'r' => word.push('\r'),
                'b' => word.push('\u{8}'),
                'f' => word.push('\u{c}'),
                c @ ('"' | '\\' | '/') => word.push(c),
                'u' => {
                    let (c, used) = unicode(chars.as_str())?;
                    word.push(c);
                    for _ in 0..used {
                        chars.next();
                    }
                }
                _ => return None,
            },
            c if c < ' ' => return None,
            c => word.push(c),
        }
    }
    None
}

/// The character after `\u`, and how many characters of `rest` it took. Like Go, an unpaired
/// surrogate becomes U+FFFD.
fn unicode(rest: &str) -> Option<(char, usize)> {
    let first = hex4(rest)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 4));
    }
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = rest
            .get(4..)
            .and_then(|rest| rest.strip_prefix("\\u"))
            .and_then(hex4)
        && (0xdc00..0xe000).contains(&second)
        && let Some(c) = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    {
        return Some((c, 10));
    }
    Some((char::REPLACEMENT_CHARACTER, 4))
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        match parse_array(text) {
            JsonArray::Strings(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_arrays_of_strings() {
        assert_eq!(words(r#"["a", "b"]"#), ["a", "b"]);
        assert_eq!(words("[ ]"), Vec::<String>::new());
        assert_eq!(words(r#"["\u00e9\n\"\\\/", "日"]"#), ["é\n\"\\/", "日"]);
        assert_eq!(words(r#"["\ud83d\ude00\ud83dx"]"#), ["😀\u{fffd}x"]);
        assert_eq!(
            parse_array(r#"["a", "bc"]"#),
            JsonArray::Strings(vec![("a".to_owned(), 1..4), ("bc".to_owned(), 6..10)])
        );
    }

    #[test]
    fn tells_what_is_behind_an_array() {
        let a = vec![("a".to_owned(), 1..4)];
        for (text, array) in [
            (r#"["a"] # c"#, JsonArray::Commented(a.clone(), 6..9)),
            (r#"["a"]#"#, JsonArray::Commented(a, 5..6)),
            ("[] # c", JsonArray::Commented(Vec::new(), 3..6)),
            (r#"["a"] x # c"#, JsonArray::Followed(1, 5, 6..11)),
            (r#"["a","b"]]"#, JsonArray::Followed(2, 9, 9..10)),
        ] {
            assert_eq!(parse_array(text), array, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not() {
        for text in [r#"["a" "b"]"#, "['a']", r#"["a\q"]"#, r#"["a",]"#, "[", "x"] {
            assert_eq!(parse_array(text), JsonArray::NotJson, "{text}");
        }
        for text in [
            r#"["a", 1]"#,
            "[null]",
            r#"[["a"]]"#,
            r#"["a", {}]"#,
            "[1] # c",
        ] {
            assert_eq!(parse_array(text), JsonArray::NotStrings, "{text}");
        }
    }
}
