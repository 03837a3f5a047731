//! A command's lines in whatever `--format` says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::table::align;
use golang::template::{Template, TemplateError, Types};

/// One line: column name to what it shows, in order.
pub type Row = Map<String, Value>;

/// Where a row keeps its labels for `{{.Label "KEY"}}`, which is no column.
const LABEL: &str = "Label";

/// Labels as a column shows them.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// Keeps labels with a row, each to be asked for by `{{.Label "KEY"}}`.
pub fn add_labels(row: &mut Row, labels: &BTreeMap<String, String>) {
    let pairs = labels.iter();
    let all = pairs.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    row.insert(LABEL.to_owned(), Value::Object(all.collect()));
}

/// A format that was understood.
#[derive(Debug)]
pub struct Format {
    template: Template,
    table: bool,
}

const TABLE: &str = "table";

impl Format {
    /// What `--format` says: `json`, `table TEMPLATE` or a template; `table` alone and nothing at
    /// all mean `default`, which is a table.
    ///
    /// # Errors
    /// When the template is none.
    pub fn parse(text: Option<&str>, default: &str) -> Result<Self, TemplateError> {
        let text = match text {
            None | Some("" | TABLE) => default,
            Some("json") => "{{json .}}",
            Some(text) => text,
        };
        // A shell leaves these as they are.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let table = text
            .strip_prefix(TABLE)
            .filter(|rest| rest.starts_with([' ', '\t']));
        Ok(Self {
            template: Template::parse(table.map_or(text.as_str(), str::trim_start))?,
            table: table.is_some(),
        })
    }

    /// Whether it is a table, with a line for each row.
    pub fn is_table(&self) -> bool {
        self.table
    }

    /// Whether the template refers to this column.
    pub fn mentions(&self, column: &str) -> bool {
        self.shows(column) || self.template.source().contains("json .")
    }

    /// Whether the template shows this column by name.
    pub fn shows(&self, column: &str) -> bool {
        self.template.source().contains(&format!(".{column}"))
    }

    /// All lines; `headers` are what each column is called in a table.
    ///
    /// # Errors
    /// When the template wants what a row does not have.
    pub fn render(&self, rows: &[Row], headers: &[(&str, &str)]) -> Result<String, TemplateError> {
        let mut out = String::new();
        if self.table {
            let header: Row = headers
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
                .collect();
            out.push_str(&self.template.render_header(&Value::Object(header))?);
            out.push('\n');
        }
        let asks = self.shows(LABEL);
        for row in rows {
            let mut row = row.clone();
            if !asks {
                row.remove(LABEL);
            }
            let row = Value::Object(row);
            out.push_str(&self.template.render_owned(row, &Types::default())?);
            out.push('\n');
        }
        Ok(if self.table { align(&out) } else { out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(format: Option<&str>) -> Result<String, TemplateError> {
        let row = |id: &str, size: &str| -> Row {
            [("ID", json!(id)), ("Size", json!(size))]
                .map(|(k, v)| (k.to_owned(), v))
                .into_iter()
                .collect()
        };
        let mut rows = [row("abc", "1kB"), row("def", "2kB")];
        let key = "com.example.my-key".to_owned();
        add_labels(&mut rows[0], &[(key, "v".to_owned())].into());
        add_labels(&mut rows[1], &BTreeMap::new());
        let headers = [("ID", "IMAGE ID"), ("Size", "SIZE")];
        Format::parse(format, "table {{.ID}}\t{{.Size}}")?.render(&rows, &headers)
    }

    #[test]
    fn formats_are_tables_json_or_templates() {
        let table = "IMAGE ID   SIZE\nabc        1kB\ndef        2kB\n";
        assert_eq!(render(None).unwrap(), table);
        assert_eq!(render(Some("table")).unwrap(), table);
        assert_eq!(
            render(Some(r"table {{.Size}}\t{{lower .ID}}")).unwrap(),
            "SIZE      IMAGE ID\n1kB       abc\n2kB       def\n"
        );
        assert_eq!(
            render(Some("json")).unwrap(),
            "{\"ID\":\"abc\",\"Size\":\"1kB\"}\n{\"ID\":\"def\",\"Size\":\"2kB\"}\n"
        );
        assert_eq!(
            render(Some("{{.ID}}={{.Size}}")).unwrap(),
            "abc=1kB\ndef=2kB\n"
        );
        assert_eq!(
            render(Some(r#"table {{.ID}}\t{{.Label "com.example.my-key"}}"#)).unwrap(),
            "IMAGE ID   my key\nabc        v\ndef        \n"
        );
        assert!(render(Some("{{.Nope}}")).is_err());
        assert!(render(Some("{{.ID")).is_err());
    }
}
