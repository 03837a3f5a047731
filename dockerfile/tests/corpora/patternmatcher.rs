//! moby/patternmatcher's table.

use dockerfile::ignore::IgnoreMatcher;

use crate::corpus;

#[test]
fn patterns_match_as_mobys() {
    let Some(folder) = corpus("patternmatcher") else {
        return;
    };
    let rows = std::fs::read_to_string(folder.join("rows.json")).unwrap();
    let rows: Vec<(String, String, String)> = serde_json::from_str(&rows).unwrap();
    for (pattern, path, expected) in &rows {
        let matcher = IgnoreMatcher::new([pattern]).unwrap();
        assert_eq!(
            matcher.matches(path).to_string(),
            *expected,
            "{pattern} {path}"
        );
        let (verdict, _) = matcher.matches_with_parent(path, &Default::default());
        assert_eq!(verdict.to_string(), *expected, "{pattern} {path}");
    }
    println!("{} rows agree", rows.len());
    assert!(!rows.is_empty());
}
