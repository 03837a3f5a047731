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
/// What asks for docker's oldest form.
const RAW: &str = "raw";

/// The forms that lines have unless a template says another.
#[derive(Clone, Copy, Debug)]
pub struct Forms<'f> {
    /// What is shown when nothing is said.
    pub table: &'f str,
    /// The column that `--quiet` leaves.
    pub id: &'f str,
    /// What `--format raw` calls the columns, a line each; of the first kind that `--quiet` leaves.
    pub raw: &'f [(&'f str, &'f str)],
}

impl Forms<'_> {
    /// The form that `--format` and `--quiet` choose.
    ///
    /// # Errors
    /// When the template is none.
    pub fn choose(self, format: Option<&str>, quiet: bool) -> Result<Format, TemplateError> {
        // Nothing stands behind the colon of what is empty.
        let line = |(name, column): &(&str, &str)| format!("{name}:{{{{- pad .{column} 1 0}}}}");
        let mut lines = self
            .raw
            .iter()
            .filter(|(_, column)| !quiet || *column == self.id);
        let text = match (format, quiet) {
            (Some(RAW), true) => lines.next().map(line),
            (Some(RAW), false) => Some(lines.map(|one| line(one) + "\n").collect()),
            (_, true) => Some(format!("{{{{.{}}}}}", self.id)),
            (format, false) => format.map(str::to_owned),
        };
        Format::parse(text.as_deref(), self.table)
    }
}

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
        let header = || -> Row {
            let columns = headers.iter();
            columns
                .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
                .collect()
        };
        if self.table {
            out.push_str(&self.template.render_header(&Value::Object(header()))?);
            out.push('\n');
        } else if rows.is_empty() {
            // Without a line it is found out all the same what there is not.
            let mut line = header();
            add_labels(&mut line, &BTreeMap::new());
            self.template
                .render_owned(Value::Object(line), &Types::default())?;
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
    fn the_oldest_form_has_a_column_a_line() {
        let forms = Forms {
            table: "table {{.ID}}",
            id: "ID",
            raw: &[("id", "ID"), ("size", "Size")],
        };
        let row = |id: &str, size: &str| -> Row {
            [("ID", json!(id)), ("Size", json!(size))]
                .map(|(k, v)| (k.to_owned(), v))
                .into_iter()
                .collect()
        };
        let rows = [row("abc", "1kB"), row("def", "")];
        for (format, quiet, want) in [
            (
                Some("raw"),
                false,
                "id: abc\nsize: 1kB\n\nid: def\nsize:\n\n",
            ),
            (Some("raw"), true, "id: abc\nid: def\n"),
            (Some("json"), true, "abc\ndef\n"),
            (Some("{{.Size}}"), false, "1kB\n\n"),
        ] {
            let format = forms.choose(format, quiet).unwrap();
            assert_eq!(format.render(&rows, &[("ID", "ID")]).unwrap(), want);
        }
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
        let none = |text| Format::parse(Some(text), "")?.render(&[], &[("ID", "ID")]);
        assert_eq!(none("{{.ID}}{{.Label \"a\"}}").unwrap(), "");
        assert!(none("{{.Nope}}").is_err());
        assert!(render(Some("{{.ID")).is_err());
    }
}
