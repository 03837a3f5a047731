//! Foreign text on a terminal: images, Dockerfiles and registries may hold escape sequences, which
//! must not move the cursor, change the title or answer for the user.

use dockerfile::diagnostic::{Diagnostic, render_all};

/// Whether a character does something else on a terminal than to be seen: controls, and marks that
/// turn the direction of the text around them.
fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

/// Text in which every such character is written out, `\x1b` or `\u{202e}`.
pub fn escape(text: &str) -> String {
    if !text.contains(acts) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        escape_into(&mut out, c);
    }
    out
}

fn escape_into(out: &mut String, c: char) {
    match c {
        c if !acts(c) => out.push(c),
        '\r' => out.push_str("\\r"),
        c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
    }
}

/// The same, but colours and other ways to write stay: our own are in it.
pub fn escape_but_style(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let style = style_len(rest);
        let (now, later) = rest.split_at(style.unwrap_or(c.len_utf8()));
        match style {
            Some(_) => out.push_str(now),
            None => escape_into(&mut out, c),
        }
        rest = later;
    }
    out
}

/// How long the sequence is that sets a style at the beginning of a text, in bytes.
fn style_len(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters
        .get(end..)?
        .starts_with('m')
        .then_some(2 + end + 1)
}

/// Diagnostics with the source lines that they are about. Where these would act on a terminal they
/// are written out, and without colours: there would be no telling whose they are.
pub fn render(found: &[Diagnostic], name: &str, source: &str, color: bool) -> String {
    let plain = render_all(found, name, source, false);
    match plain.contains(acts) {
        true if color => escape(&plain),
        false if color => render_all(found, name, source, true),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_written_out() {
        assert_eq!(escape("plain é 漢\ttab\n"), "plain é 漢\ttab\n");
        assert_eq!(
            escape("\x1b]0;t\x07\r\u{9b}x\u{7f}"),
            "\\x1b]0;t\\x07\\r\\x9bx\\x7f"
        );
        assert_eq!(escape("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
    }

    #[test]
    fn styles_stay_where_ours_are() {
        assert_eq!(
            escape_but_style("\x1b[1;31mred\x1b[0m"),
            "\x1b[1;31mred\x1b[0m"
        );
        assert_eq!(escape_but_style("\x1b[2J\x1b[3"), "\\x1b[2J\\x1b[3");
        assert_eq!(escape_but_style("\x1b[1A"), "\\x1b[1A");
    }
}
