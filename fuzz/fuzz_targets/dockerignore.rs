//! Any text as an ignore file, its last line as a path: walking down to the path and asking about
//! it give the same verdict, and no directory is skipped that holds something kept.
#![no_main]

use dockerfile::ignore::{IgnoreMatcher, ParentMatches};
use golang::glob::glob_match;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (patterns, path) = text.rsplit_once('\n').unwrap_or(("", text));
    let _ = glob_match(patterns, path);
    let path = path.trim_matches('/');
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if path.len() > 256 || !path.split('/').all(plain) {
        return;
    }
    let Ok(matcher) = IgnoreMatcher::from_file(patterns) else { return };
    let mut known = ParentMatches::default();
    let mut excluded = false;
    let mut skipped = false;
    for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
        (excluded, known) = matcher.matches_with_parent(&path[..end], &known);
        if end < path.len() && excluded && !matcher.could_match_below(&path[..end]) {
            skipped = true;
        }
    }
    // With re-inclusions the two differ in a corner, see `matches_with_parent`.
    if !matcher.has_exclusions() {
        assert_eq!(excluded, matcher.matches(path), "{patterns:?} {path:?}");
    }
    assert!(!skipped || excluded, "{patterns:?} {path:?}");
});
