//! What may have been meant, and where to read on.

use dockerfile::suggest::closest;

/// Where to read on.
pub(super) fn see(path: &[&str]) -> String {
    match path.is_empty() {
        true => "Run 'rbuild --help' for more information".to_owned(),
        false => format!(
            "Run 'rbuild {} --help' for more information",
            path.join(" ")
        ),
    }
}

/// The names that can be typed in place of a word, the closest one.
pub(super) fn similar<'c>(word: &str, names: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    closest(word, names, true)
}
