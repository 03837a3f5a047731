//! Fields between commas, as flags of buildx have them.

/// The fields of a line: a field in quotes may have commas, and doubled quotes, in it.
///
/// # Errors
/// Quotes that stand where they cannot.
pub fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut rest = line;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, behind) = rest.split_at(end);
                if field.contains('"') {
                    return Err(format!("bare \" in non-quoted field {field:?}"));
                }
                (field.to_owned(), behind)
            }
        };
        all.push(field);
        match behind.strip_prefix(',') {
            Some(behind) => rest = behind,
            None => return Ok(all),
        }
    }
}

/// The field after its opening quote, and what is behind the closing one.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, behind)) = rest.split_once('"') else {
            return Err("extraneous or missing \" in quoted field".to_owned());
        };
        field.push_str(part);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('"') {
            field.push('"');
            rest = behind;
        } else if rest.is_empty() || rest.starts_with(',') {
            return Ok((field, rest));
        } else {
            return Err("extraneous or missing \" in quoted field".to_owned());
        }
    }
}

/// A record: the line that it begins on, from 1, and its fields.
pub type Record = (usize, Vec<String>);

/// The records of a text: a field in quotes may have line ends in it, empty lines are nothing.
///
/// # Errors
/// Quotes that stand where they cannot, with their line.
pub fn records(text: &str) -> Result<Vec<Record>, (usize, String)> {
    let text = text.replace("\r\n", "\n");
    let (mut all, mut record) = (Vec::new(), String::new());
    let (mut first, mut last) = (1, 0);
    for line in text.lines() {
        last += 1;
        if record.is_empty() {
            if line.is_empty() {
                continue;
            }
            first = last;
        } else {
            record.push('\n');
        }
        record.push_str(line);
        // A quote that is not closed goes on in the next line; closing quotes come in pairs.
        if is_open(&record) {
            continue;
        }
        all.push((
            first,
            fields(&record).map_err(|what| (last, in_records(&what)))?,
        ));
        record.clear();
    }
    match record.is_empty() {
        true => Ok(all),
        false => match fields(&record) {
            Ok(fields) => {
                all.push((first, fields));
                Ok(all)
            }
            Err(what) => Err((last, in_records(&what))),
        },
    }
}

/// Whether the last field of a record is in quotes that are not closed.
fn is_open(record: &str) -> bool {
    let (mut quoted, mut before) = (false, ',');
    for c in record.chars() {
        // Of a doubled quote the first one closes, and the second opens again.
        if c == '"' && (quoted || matches!(before, ',' | '"')) {
            quoted = !quoted;
        }
        before = c;
    }
    quoted
}

/// What is wrong, as Go's reader of records calls it.
fn in_records(what: &str) -> String {
    match what.starts_with("bare") {
        true => "bare \" in non-quoted-field".to_owned(),
        false => "extraneous or missing \" in quoted-field".to_owned(),
    }
}

/// Writes `KEY=VALUE` fields.
#[derive(Default)]
pub struct Line(String);

impl Line {
    /// Adds a field, in quotes where it needs them.
    pub fn add(&mut self, key: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        let field = format!("{key}={value}");
        match field.contains([',', '"']) {
            true => self
                .0
                .push_str(&format!("\"{}\"", field.replace('"', "\"\""))),
            false => self.0.push_str(&field),
        }
    }

    /// The line.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for (line, parts) in [
            ("", vec![""]),
            ("a=1,b=2", vec!["a=1", "b=2"]),
            ("\"a=1,2\",b", vec!["a=1,2", "b"]),
            ("\"say \"\"x\"\"\"", vec!["say \"x\""]),
        ] {
            assert_eq!(fields(line).unwrap(), parts, "{line}");
        }
        for line in ["a\"b", "\"a", "\"a\"b"] {
            assert!(fields(line).is_err(), "{line}");
        }
        let mut line = Line::default();
        line.add("a", "1,2");
        line.add("b", "3");
        assert_eq!(fields(&line.finish()).unwrap(), ["a=1,2", "b=3"]);
    }
}
