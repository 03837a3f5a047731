//! What the system says of an error.

use std::io;

/// An error in Go's words for what the system says: `no such file or directory`, without a number.
pub fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    // Some have names in them, which stay as they are.
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gos() {
        let of = |number| said(&io::Error::from_raw_os_error(number));
        assert_eq!(of(2), "no such file or directory");
        assert_eq!(of(13), "permission denied");
        assert_eq!(
            said(&io::Error::other("not a device node")),
            "not a device node"
        );
    }
}
