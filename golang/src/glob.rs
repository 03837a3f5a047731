//! Go's `path.Match` and `filepath.Match` on slash-separated paths.

/// A malformed pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether `name` matches `pattern`, all of it: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]`
/// are classes, a backslash escapes. A malformed pattern is an error whether or not the name would
/// have matched up to there.
pub fn glob_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let tokens = parse(pattern)?;
    Ok(matches(&tokens, name))
}

/// Whether Go's `filepath.Match` finds a mistake in `pattern` while it matches `name`. Unlike
/// `path.Match` it stops at the first part between stars that does not match, and what is behind
/// that goes unread.
///
/// # Errors
/// When it does.
pub fn check_while_matching(pattern: &str, name: &str) -> Result<(), BadPattern> {
    let (mut pattern, mut name) = (pattern, name);
    while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        if star && chunk.is_empty() {
            return Ok(());
        }
        let tokens = parse(chunk)?;
        let fits = |left: &&str| left.is_empty() || !rest.is_empty();
        // After a star the chunk may begin at any later place before a slash.
        let ends = name.find('/').unwrap_or(name.len());
        let later = name[..ends].char_indices().map(|(at, c)| at + c.len_utf8());
        let starts = std::iter::once(0).chain(later.filter(|_| star));
        let mut lefts = starts.filter_map(|at| after_prefix(&tokens, &name[at..]));
        let Some(left) = lefts.find(fits) else {
            return Ok(());
        };
        (name, pattern) = (left, rest);
    }
    Ok(())
}

/// The pattern's part up to its next star that is in no class, whether stars came before it, and
/// the rest.
fn next_chunk(pattern: &str) -> (bool, &str, &str) {
    let chunk = pattern.trim_start_matches('*');
    let star = chunk.len() < pattern.len();
    let mut in_class = false;
    let mut chars = chunk.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '*' if !in_class => return (star, &chunk[..at], &chunk[at..]),
            _ => {}
        }
    }
    (star, chunk, "")
}

/// What is left of `name` behind tokens without stars that it begins with.
fn after_prefix<'n>(tokens: &[Token], name: &'n str) -> Option<&'n str> {
    let mut chars = name.chars();
    for token in tokens {
        chars.next().filter(|c| token.accepts(*c))?;
    }
    Some(chars.as_str())
}

enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Literal(own) => *own == c,
            Self::One | Self::Any => c != '/',
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn parse(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next().ok_or(BadPattern)?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = class_char(&mut chars)?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => class_char(&mut chars)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::Literal(c),
        });
    }
    Ok(tokens)
}

/// A character of a class, maybe escaped; the class must go on after it.
fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    let c = match chars.next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern)?,
        Some(c) => c,
    };
    if chars.peek().is_none() {
        Err(BadPattern)
    } else {
        Ok(c)
    }
}

/// Matches by going back to the last star only, which is enough and takes at most pattern times
/// name.
fn matches(tokens: &[Token], name: &str) -> bool {
    let (mut token, mut rest) = (0, name);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        if let Some(Token::Any) = tokens.get(token) {
            token += 1;
            retry = Some((token, rest));
            continue;
        }
        let mut chars = rest.chars();
        let matched = match (tokens.get(token), chars.next()) {
            (None, None) => return true,
            (Some(own), Some(c)) => own.accepts(c),
            _ => false,
        };
        if matched {
            token += 1;
            rest = chars.as_str();
            continue;
        }
        // Let the last star take one character more.
        let Some((after_star, from)) = retry else {
            return false;
        };
        let mut chars = from.chars();
        match chars.next() {
            Some(c) if c != '/' => {
                token = after_star;
                rest = chars.as_str();
                retry = Some((after_star, rest));
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-]", "-", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[\\-x]", "a", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("[-x]", "x", Err(BadPattern)),
            ("\\", "a", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[^", "a", Err(BadPattern)),
            ("[^bc", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
            ("", "a", Ok(false)),
        ] {
            assert_eq!(glob_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn stops_reading_where_filepath_match_does() {
        for (pattern, refused) in [
            ("[", true),
            ("a[", true),
            ("[*", true),
            ("[]a]", true),
            ("[a-]", true),
            ("a\\", true),
            ("*\\", true),
            ("*/[", true),
            // The dot is matched, and reading goes on.
            (".*[", true),
            ("?*[", true),
            ("[^a]*[", true),
            ("*.*[", true),
            ("x*[", false),
            ("**/x**/.*/[", false),
            ("x/*.txt/[/*", false),
            ("foo*/[", false),
            ("[/[a-c]", false),
            ("**", false),
            ("", false),
        ] {
            let found = check_while_matching(pattern, ".").is_err();
            assert_eq!(found, refused, "{pattern}");
        }
    }

    #[test]
    fn tells_wildcards() {}
}
