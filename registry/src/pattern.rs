//! Patterns for names of repositories and tags, as access rules, policies, quotas and webhooks
//! have them: `*` stands for anything within a part of a name, `**` for anything across parts.

/// Whether a pattern matches a whole name. Each `*` is tried at one place at a time, remembering
/// only the last one of each kind, so that no pattern takes more than polynomial time.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    // Row by row over the pattern: where in the name can it be by now?
    let name = name.as_bytes();
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    let mut rest = pattern.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let mut next = vec![false; name.len() + 1];
        if first == b'*' {
            let (across, tail) = match tail.split_first() {
                Some((b'*', tail)) => (true, tail),
                _ => (false, tail),
            };
            let mut open = false;
            for at in 0..=name.len() {
                if at > 0 && !across && name[at - 1] == b'/' {
                    open = false;
                }
                open |= reachable[at];
                next[at] = open;
            }
            rest = tail;
        } else {
            for at in 0..name.len() {
                next[at + 1] = reachable[at] && name[at] == first;
            }
            rest = tail;
        }
        reachable = next;
    }
    reachable[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, yes, no) in [
            ("**", &["a", "a/b/c"][..], &[][..]),
            ("*", &["a", "abc"], &["a/b"]),
            ("team/*", &["team/a"], &["team", "team/a/b", "steam/a"]),
            ("team/**", &["team/a", "team/a/b"], &["team", "other/a"]),
            ("*/app", &["x/app"], &["app", "x/y/app"]),
            ("**/app", &["x/app", "x/y/app"], &["app"]),
            ("a*c", &["ac", "abc"], &["a/c", "ab"]),
            ("app", &["app"], &["apps", "ap", ""]),
            ("a**z", &["az", "a/b/z"], &["a/b"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
        // Exponential for a naive matcher.
        assert!(!matches(
            &"*a".repeat(60),
            &"a".repeat(250).replace("aa", "ab")
        ));
    }
}
