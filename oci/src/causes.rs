//! Errors of others with what caused them.
//!
//! An error of ours tells its cause itself, in its text, and does not name it as its source:
//! whoever prints one prints it all. Errors of libraries may keep their causes apart.

use std::error::Error;

/// An error's text, and the texts of its causes, joined by ": ".
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The innermost cause, where that is the one that says something.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn every_cause_is_told_once() {
        let layer = |text, source: Option<Layer>| Layer {
            text,
            source: source.map(Box::new),
        };
        let error = layer("a", Some(layer("b", Some(layer("c", None)))));
        assert_eq!(with_causes(&error), "a: b: c");
        assert_eq!(innermost(&error), "c");
        assert_eq!(with_causes(&layer("a", None)), "a");
    }
}
