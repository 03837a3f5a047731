//! Words that may not stand in the code: `unsafe` but for system calls, and what is not done yet.

use crate::finding::Finding;
use crate::workspace::{Workspace, within};

/// The one room with `unsafe`.
const UNSAFE: &str = "runtime/src/sys";

/// `unsafe` elsewhere than in the room of system calls.
pub fn unsafe_code(workspace: &Workspace) -> Vec<Finding> {
    words(workspace, |path, words| {
        (words[0] == "unsafe" && !within(path, UNSAFE)).then_some("`unsafe`")
    })
}

/// `todo!`, `unimplemented!` and `#[ignore]`.
pub fn unfinished(workspace: &Workspace) -> Vec<Finding> {
    words(workspace, |_, words| match words {
        ["todo", "!", ..] => Some("`todo!`"),
        ["unimplemented", "!", ..] => Some("`unimplemented!`"),
        ["#", "[", "ignore"] => Some("`#[ignore]`"),
        _ => None,
    })
}

/// Looks at every token with the two after it.
fn words(
    workspace: &Workspace,
    wrong: impl Fn(&str, &[&str]) -> Option<&'static str>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &workspace.sources {
        for at in 0..source.tokens.len() {
            let next = source.tokens[at..].iter().take(3);
            let next: Vec<&str> = next.map(|token| token.text.as_str()).collect();
            if let Some(what) = wrong(&source.path, &next) {
                findings.push(Finding::new(&source.path, source.tokens[at].line, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn unsafe_has_one_room() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nfn f() { unsafe { g() } }";
        assert_eq!(
            unsafe_code(&fixture::of(&[("runtime/src/sys/a.rs", text)])),
            []
        );
        let findings = unsafe_code(&fixture::of(&[("runtime/src/a.rs", text)]));
        assert_eq!(findings, [Finding::new("runtime/src/a.rs", 3, "`unsafe`")]);
    }

    #[test]
    fn what_is_not_done_is_seen_in_tests_too() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() { todo!() }\nfn b() { unimplemented!() }";
        assert_eq!(unfinished(&fixture::of(&[("a.rs", text)])).len(), 3);
        let fine = "fn ignore() { let todo = \"todo!\"; a(!todo) } #[must_use] fn b() {}";
        assert_eq!(unfinished(&fixture::of(&[("a.rs", fine)])), []);
    }
}
