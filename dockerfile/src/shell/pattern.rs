//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and backslash escapes.
//!
//! Matching simulates all branches at once, so it takes time proportional to pattern times text
//! however many stars a pattern has. As in BuildKit, wildcards do not match a newline.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any run of characters.
    Any,
    /// `?`: one character.
    One,
    Literal(char),
}

impl Token {
    fn accepts(self, c: char) -> bool {
        match self {
            Self::Any | Self::One => c != '\n',
            Self::Literal(own) => own == c,
        }
    }
}

impl Pattern {
    /// Parses `text`; the error is the character after a backslash that must not be escaped.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    // Escaped only because of the ${} around the pattern.
                    Some(c @ ('}' | '/' | '*' | '?' | '\\')) => Token::Literal(c),
                    Some(c) => return Err(format!("invalid escape '\\{c}'")),
                    None => return Err("escape at the end".to_owned()),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self { tokens })
    }

    /// `value` without its shortest or longest prefix that matches.
    pub(super) fn strip_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        match self.prefix(&chars, longest) {
            Some(end) => chars[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    /// `value` without its shortest or longest suffix that matches.
    pub(super) fn strip_suffix(&self, value: &str, longest: bool) -> String {
        let reversed = Self {
            tokens: self.tokens.iter().rev().copied().collect(),
        };
        let chars: Vec<char> = value.chars().rev().collect();
        match reversed.prefix(&chars, longest) {
            Some(end) => chars[end..].iter().rev().collect(),
            None => value.to_owned(),
        }
    }

    /// `value` with the first match, or all of them, replaced; `None` when the result is longer
    /// than `limit` bytes.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        limit: usize,
    ) -> Option<String> {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::with_capacity(value.len());
        let mut at = 0;
        let mut last_end = None;
        while let Some((start, end)) = self.find(&chars, at) {
            // An empty match right after the previous one would match for ever.
            if start == end && last_end == Some(end) {
                let Some(c) = chars.get(at) else { break };
                out.push(*c);
                at += 1;
                last_end = None;
                continue;
            }
            out.extend(&chars[at..start]);
            out.push_str(replacement);
            if out.len() > limit {
                return None;
            }
            at = end;
            last_end = Some(end);
            if !all {
                break;
            }
        }
        out.extend(&chars[at.min(chars.len())..]);
        (out.len() <= limit).then_some(out)
    }

    /// Where the shortest or longest match from the first character on ends.
    fn prefix(&self, chars: &[char], longest: bool) -> Option<usize> {
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        let mut best = None;
        for at in 0..=chars.len() {
            for index in 0..self.tokens.len() {
                if states[index] && self.tokens[index] == Token::Any {
                    states[index + 1] = true;
                }
            }
            if states[self.tokens.len()] {
                best = Some(at);
                if !longest {
                    break;
                }
            }
            let Some(c) = chars.get(at) else { break };
            let mut next = vec![false; states.len()];
            let mut alive = false;
            for (index, token) in self.tokens.iter().enumerate() {
                if states[index] && token.accepts(*c) {
                    next[if *token == Token::Any {
                        index
                    } else {
                        index + 1
                    }] = true;
                    alive = true;
                }
            }
            if !alive {
                break;
            }
            states = next;
        }
        best
    }

    /// The leftmost, then longest, match that starts at `from` or later.
    fn find(&self, chars: &[char], from: usize) -> Option<(usize, usize)> {
        let end_state = self.tokens.len();
        // For each state the leftmost start of a branch that is in it.
        let mut states: Vec<Option<usize>> = vec![None; end_state + 1];
        let mut best: Option<(usize, usize)> = None;
        for at in from..=chars.len() {
            if best.is_none() {
                states[0] = states[0].or(Some(at));
            }
            for index in 0..end_state {
                if self.tokens[index] == Token::Any {
                    states[index + 1] = leftmost(states[index + 1], states[index]);
                }
            }
            if let Some(start) = states[end_state]
                && best.is_none_or(|(best_start, _)| start <= best_start)
            {
                best = Some((start, at));
            }
            let Some(c) = chars.get(at) else { break };
            let mut next = vec![None; states.len()];
            let mut alive = false;
            for (index, token) in self.tokens.iter().enumerate() {
                let Some(start) = states[index] else { continue };
                if token.accepts(*c) && best.is_none_or(|(best_start, _)| start <= best_start) {
                    let to = if *token == Token::Any {
                        index
                    } else {
                        index + 1
                    };
                    next[to] = leftmost(next[to], Some(start));
                    alive = true;
                }
            }
            if !alive && best.is_some() {
                break;
            }
            states = next;
        }
        best
    }
}

fn leftmost(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn replaced(p: &str, value: &str, replacement: &str, all: bool) -> String {
        pattern(p).replace(value, replacement, all, 100).unwrap()
    }

    #[test]
    fn results_have_a_limit() {
        assert_eq!(pattern("a").replace("aaaa", "0123456789", true, 39), None);
        assert!(
            pattern("a")
                .replace("aaaa", "0123456789", true, 40)
                .is_some()
        );
    }

    #[test]
    fn strips_prefixes_and_suffixes() {
        for (p, value, shortest, longest) in [
            ("f*b", "foobarbaz", "arbaz", "az"),
            ("*", "abc", "abc", ""),
            ("x", "abc", "abc", "abc"),
            ("?", "日本", "本", "本"),
            ("\\*", "*a", "a", "a"),
            ("", "abc", "abc", "abc"),
        ] {
            assert_eq!(
                pattern(p).strip_prefix(value, false),
                shortest,
                "{value}#{p}"
            );
            assert_eq!(
                pattern(p).strip_prefix(value, true),
                longest,
                "{value}##{p}"
            );
        }
        assert_eq!(pattern("b*").strip_suffix("foobarbaz", false), "foobar");
        assert_eq!(pattern("b*").strip_suffix("foobarbaz", true), "foo");
        assert!(Pattern::parse("\\a").is_err());
        assert!(Pattern::parse("a\\").is_err());
    }

    #[test]
    fn replaces() {
        assert_eq!(replaced("ba", "foobarbaz", "fo", false), "fooforbaz");
        assert_eq!(replaced("ba", "foobarbaz", "fo", true), "fooforfoz");
        assert_eq!(replaced("b*", "foobarbaz", "x", false), "foox");
        assert_eq!(replaced("", "ab", "-", true), "-a-b-");
        assert_eq!(replaced("*", "ab", "-", true), "-");
        assert_eq!(replaced("a\\/b", "xa/by", "-", true), "x-y");
    }

    #[test]
    fn many_stars_stay_fast() {
        let p = pattern(&format!("{}b", "*a".repeat(40)));
        let value = "a".repeat(20_000);
        assert_eq!(p.strip_prefix(&value, true), value);
        assert_eq!(
            p.replace(&value, "x", true, value.len()).as_deref(),
            Some(value.as_str())
        );
    }
}
