//! `.env`: values for compose files, where the environment has none.

use std::collections::BTreeMap;

/// Adds what the file says to the environment, which counts before it.
///
/// # Errors
/// A line that is none.
pub fn add(environment: &mut BTreeMap<String, String>, text: &str) -> Result<(), String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("unexpected line {line:?} in .env"));
        }
        found.push((name.to_owned(), read(value.trim())?));
    }
    for (name, value) in found {
        environment.entry(name).or_insert(value);
    }
    Ok(())
}

fn read(value: &str) -> Result<String, String> {
    let unterminated = || format!("unterminated quoted value {value:?} in .env");
    if let Some(quoted) = value.strip_prefix('\'') {
        let end = quoted.find('\'').ok_or_else(unterminated)?;
        return Ok(quoted.get(..end).unwrap_or_default().to_owned());
    }
    if let Some(quoted) = value.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().ok_or_else(unterminated)? {
                '"' => return Ok(out),
                '\\' => match chars.next().ok_or_else(unterminated)? {
                    'n' => out.push('\n'),
                    'r' => out.push('\r'),
                    't' => out.push('\t'),
                    other => out.push(other),
                },
                c => out.push(c),
            }
        }
    }
    let end = value.find(" #").unwrap_or(value.len());
    Ok(value.get(..end).unwrap_or(value).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_shells_have_them() {
        let mut environment = BTreeMap::from([("A".to_owned(), "own".to_owned())]);
        let text = "# c\nA=x\nexport B=b # why\nC='x # y'\nD=\"a\\nb\"\n\nE=\n";
        add(&mut environment, text).unwrap();
        let told: Vec<_> = environment.values().map(String::as_str).collect();
        assert_eq!(told, ["own", "b", "x # y", "a\nb", ""]);
        assert!(add(&mut environment, "F=\"x").is_err());
    }
}
