//! `--filter KEY=VALUE`, and patterns in them.

use crate::failure::Failure;
use crate::usage::wrong_value;

/// Filters that were understood: each key one that the command knows.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads filters, of which only those in `known` are taken.
    ///
    /// # Errors
    /// In docker's words.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self, Failure> {
        Self::named("-f, --filter", texts, known)
    }

    /// The same of a command whose `-f` is another flag.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_long(texts: &[String], known: &[&str]) -> Result<Self, Failure> {
        Self::named("--filter", texts, known)
    }

    fn named(flag: &str, texts: &[String], known: &[&str]) -> Result<Self, Failure> {
        let mut filters = Self::default();
        for text in texts {
            let Some((key, value)) = text.split_once('=') else {
                let why = "bad format of filter (expected name=value)";
                return Err(Failure::with_code(wrong_value(flag, text, why), 125));
            };
            let key = key.trim().to_lowercase();
            if !known.contains(&key.as_str()) {
                let known = known.join(", ");
                return Err(Failure::new(format!(
                    "invalid filter '{key}'; there are: {known}"
                )));
            }
            filters.0.push((key, value.trim().to_owned()));
        }
        Ok(filters)
    }

    /// Adds a filter.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.push((key.to_owned(), value.to_owned()));
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        let of = self.0.iter().filter(move |(found, _)| found == key);
        of.map(|(_, value)| value.as_str())
    }

    /// The value of a key that is either true or false.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Failure> {
        let mut found = None;
        for value in self.all(key) {
            let read = golang::boolean::parse_bool(value).ok_or_else(|| {
                let text = format!("invalid filter '{key}={value}': write true or false");
                Failure::new(text)
            });
            found = Some(read?);
        }
        Ok(found)
    }
}

/// Whether a pattern matches the whole of a name, by the rules of Go's `path.Match`. A pattern that
/// is none matches nothing.
pub fn matches_path(pattern: &str, name: &str) -> bool {
    golang::glob::glob_match(pattern, name).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, fits) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d", "axbxcxd", true),
            ("a*b*c*d", "axbxcxdx", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[a", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches_path(pattern, name), fits, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn unknown_filters_are_refused() {
        let parse = |text: &str| Filters::parse(&[text.to_owned()], &["dangling"]);
        assert!(parse("dangling").is_err());
        assert!(parse("nope=1").is_err());
        assert_eq!(
            parse("dangling=true").unwrap().boolean("dangling").unwrap(),
            Some(true)
        );
        assert!(
            parse("dangling=maybe")
                .unwrap()
                .boolean("dangling")
                .is_err()
        );
    }
}
