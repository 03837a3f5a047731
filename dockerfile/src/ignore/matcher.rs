//! A list of patterns against paths.

use golang::path::clean;

use super::pattern::Pattern;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A lone `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
    /// A malformed pattern.
    #[error("syntax error in pattern {0:?}")]
    BadPattern(String),
}

/// The patterns of an ignore file's text: comments (`#` in the first column) and empty lines
/// dropped, paths cleaned, leading slashes removed.
fn parse_ignore_file(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut patterns = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.trim();
        let (invert, pattern) = match line.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", line),
        };
        if line.is_empty() {
            continue;
        }
        let mut pattern = if pattern.is_empty() {
            String::new()
        } else {
            clean(pattern)
        };
        if pattern.len() > 1 && pattern.starts_with('/') {
            pattern.remove(0);
        }
        patterns.push(format!("{invert}{pattern}"));
    }
    patterns
}

/// Decides which paths of a context are excluded; the last pattern that matches a path or one of
/// its parent directories counts.
///
/// Paths are relative to the context, with slashes, without `./` in front.
#[derive(Debug, Clone, Default)]
pub struct IgnoreMatcher {
    patterns: Vec<Pattern>,
    exclusions: bool,
}

/// Which patterns matched a directory or one above it; handed on from directory to entry by
/// [`IgnoreMatcher::matches_with_parent`]. The default knows nothing and has parents looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParentMatches(Vec<bool>);

impl IgnoreMatcher {
    /// Compiles patterns, as [`parse_ignore_file`] gives them.
    pub fn new<I>(patterns: I) -> Result<Self, IgnoreError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut matcher = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let cleaned = clean(pattern);
            let (text, exclusion) = match cleaned.strip_prefix('!') {
                Some("") => return Err(IgnoreError::LoneExclamation),
                Some(rest) => (rest, true),
                None => (cleaned.as_str(), false),
            };
            let compiled = Pattern::new(text, exclusion)
                .map_err(|_| IgnoreError::BadPattern(pattern.to_owned()))?;
            matcher.exclusions |= exclusion;
            matcher.patterns.push(compiled);
        }
        Ok(matcher)
    }

    /// Compiles the text of an ignore file.
    pub fn from_file(text: &str) -> Result<Self, IgnoreError> {
        Self::new(parse_ignore_file(text))
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether any pattern re-includes (`!`).
    pub fn has_exclusions(&self) -> bool {
        self.exclusions
    }

    /// The patterns, cleaned and without `!`, and whether each re-includes.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, bool)> {
        self.patterns
            .iter()
            .map(|pattern| (pattern.text.as_str(), pattern.exclusion))
    }

    /// Whether `path` is excluded, looking at its parent directories as well. The context itself
    /// (`.`) never is.
    pub fn matches(&self, path: &str) -> bool {
        if path == "." || path.is_empty() {
            return false;
        }
        let mut matched = false;
        for pattern in &self.patterns {
            // Only a pattern that would change the verdict needs a look.
            if pattern.exclusion == matched && pattern.matches_path_or_parent(path) {
                matched = !pattern.exclusion;
            }
        }
        matched
    }

    /// Like [`IgnoreMatcher::matches`], with what is known of the parent directory, so that a walk
    /// looks at every path once. The second result is to be handed to the entries of `path`.
    ///
    /// This is what docker and BuildKit decide a context by. It differs from
    /// [`IgnoreMatcher::matches`] in one corner, as moby's two functions do: a `!` pattern that
    /// matches a directory which nothing has excluded so far is not remembered for its entries, so
    /// `*/*` followed by `!*` excludes `a/b` here and includes it there.
    pub fn matches_with_parent(&self, path: &str, parent: &ParentMatches) -> (bool, ParentMatches) {
        let known = parent.0.len() == self.patterns.len();
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let mut hit = known && parent.0[index];
            if !hit {
                if pattern.exclusion != matched {
                    continue;
                }
                hit = if known {
                    pattern.matches(path)
                } else {
                    pattern.matches_path_or_parent(path)
                };
            }
            own[index] = hit;
            if hit {
                matched = !pattern.exclusion;
            }
        }
        (matched, ParentMatches(own))
    }

    /// Whether anything below the excluded directory `dir` could be re-included, so that it has to
    /// be walked all the same. May say yes in vain, never no.
    pub fn could_match_below(&self, dir: &str) -> bool {
        self.exclusions
            && self
                .patterns
                .iter()
                .any(|pattern| pattern.exclusion && pattern.could_match_below(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(text: &str) -> IgnoreMatcher {
        IgnoreMatcher::from_file(text).unwrap()
    }

    #[test]
    fn reads_ignore_files() {
        let text = "\u{feff}# comment\r\n a/b/ \r\n\n#x\n # y\n!  /c//d/../e\n/\n/f\n!\n";
        assert_eq!(
            parse_ignore_file(text),
            ["a/b", "# y", "!c/e", "/", "f", "!"]
        );
    }

    #[test]
    fn cleans_paths() {
        for (path, cleaned) in [
            ("", "."),
            ("a//b/./c/..", "a/b"),
            ("../a", "../a"),
            ("/../a", "/a"),
            ("a/../..", ".."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn last_match_wins() {
        let m = matcher("*.md\n!README*.md\nREADME-secret.md\nnode_modules\n**/*.tmp");
        for (path, excluded) in [
            ("a.md", true),
            ("d/a.md", false),
            ("README.md", false),
            ("README-secret.md", true),
            ("node_modules/x/y", true),
            ("x/node_modules", false),
            ("x/y/z.tmp", true),
            ("z.tmp", true),
            (".", false),
        ] {
            assert_eq!(m.matches(path), excluded, "{path}");
        }
    }

    #[test]
    fn walking_gives_the_same_as_asking() {
        let paths = [
            "a", "a/b", "a/b/c", "a/keep", "a/keep/x", "d", "d/e.txt", "d/f",
        ];
        for text in [
            "a\n!a/keep",
            "*\n!d",
            "**\n!a/b/c",
            "a\n!a/keep\na/keep/x",
            "a/*\n!a/k*",
            "**/e*",
            "d/**",
        ] {
            let m = matcher(text);
            for path in paths {
                let mut known = ParentMatches::default();
                let mut verdict = false;
                for end in path
                    .match_indices('/')
                    .map(|(at, _)| at)
                    .chain([path.len()])
                {
                    (verdict, known) = m.matches_with_parent(&path[..end], &known);
                }
                assert_eq!(verdict, m.matches(path), "{text:?} {path}");
            }
        }
    }

    #[test]
    fn a_reinclusion_of_what_is_not_excluded_is_not_remembered() {
        let m = matcher("*/*\n!*");
        let (_, known) = m.matches_with_parent("a", &ParentMatches::default());
        assert!(m.matches_with_parent("a/b", &known).0);
        assert!(!m.matches("a/b"));
    }

    #[test]
    fn tells_where_something_may_be_reincluded() {
        let m = matcher("*\n!a/b/*.c\n!x?/y");
        assert!(m.could_match_below("a") && m.could_match_below("a/b"));
        assert!(m.could_match_below("xz") && m.could_match_below("xz/y"));
        assert!(!m.could_match_below("b") && !m.could_match_below("a/c"));
        assert!(!m.could_match_below("x") && !m.could_match_below("a/b/d"));
        assert!(matcher("*\n!**/k").could_match_below("any/where"));
        assert!(!matcher("*").could_match_below("a"));
    }

    /// What the newest BuildKit makes of classes: moby's expression gets `[^/]` for a wildcard
    /// within brackets too, so that `z[*]` is neither `z*` nor `z1`.
    #[test]
    fn classes_and_escapes_mean_what_buildkit_makes_of_them() {
        for (pattern, matched, other) in [
            ("z[*]", "z[]", "z*|z1|zx|z"),
            ("a[*]b", "a]b|a[^]b", "a*b|axb|ab"),
            ("a[?]", "a[]|a/]|a^]", "a?|a1|a"),
            ("[?]", "[]", "a|?|q"),
            ("d[12]", "d1|d2", "d3|d"),
            ("d[1-3]", "d1|d3", "d4|d-"),
            ("d[^1]", "d2|dx", "d1|d"),
            ("[a-c]", "a|b|c", "d|-"),
            ("[a&&b]", "a|&|b", "c"),
            ("[[:alpha:]]", "x", "1|:"),
            ("[[a]", "[|a", "b"),
            ("x[.]y", "x.y", "xzy"),
            ("back\\s", "back ", "backs|back\\s"),
            ("z\\*", "z*", "z1|z"),
            ("\\[q\\]", "[q]", "q"),
            ("a\\<b", "a<b", "ab"),
            ("{a,b}", "{a,b}", "a|b"),
            ("a|b", "a|b", ""),
            ("^a*", "ab", "^ab"),
        ] {
            let m = IgnoreMatcher::new([pattern]).unwrap();
            let paths = |list: &'static str| list.split('|').filter(|p| !p.is_empty());
            if pattern == "a|b" {
                assert!(m.matches(matched));
                continue;
            }
            for path in paths(matched) {
                assert!(m.matches(path), "{pattern} {path}");
            }
            for path in paths(other) {
                assert!(!m.matches(path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn refuses_malformed_patterns() {
        assert_eq!(
            IgnoreMatcher::new(["!"]).unwrap_err(),
            IgnoreError::LoneExclamation
        );
        for pattern in [
            "[a", "[*", "[]a]", "[-]", "[a-]", "x/[/b", "[b-a]", "a[", "a\\", "*\\", "*\\q", "![a",
            "foo*/[", "!a*/[",
        ] {
            assert!(IgnoreMatcher::new([pattern]).is_err(), "{pattern}");
        }
        // As long as the class ends somewhere, BuildKit takes it.
        assert!(IgnoreMatcher::new(["x/*.txt/[/*"]).is_ok());
    }
}
