//! Just enough of Markdown: what is prose, and the rows of tables.

/// The lines that are text and can be wrapped: not code, not a row of a table.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let fence = start.starts_with("```") || start.starts_with("~~~");
        code ^= fence;
        (!code && !fence && !start.starts_with('|')).then_some((index + 1, line))
    })
}

/// The rows of the first table whose head names all of `columns`: the line, and the cells in the
/// order of `columns`.
pub fn table<'a>(text: &'a str, columns: &[&str]) -> Vec<(usize, Vec<&'a str>)> {
    let mut order: Option<Vec<usize>> = None;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let row = line.trim();
        if !row.starts_with('|') {
            if order.is_some() {
                break;
            }
            continue;
        }
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        match &order {
            None => {
                order = columns
                    .iter()
                    .map(|column| cells.iter().position(|cell| cell == column))
                    .collect();
            }
            Some(_)
                if cells
                    .iter()
                    .all(|cell| cell.trim_matches(['-', ':']).is_empty()) => {}
            Some(order) => {
                let cell = |&at: &usize| cells.get(at).copied().unwrap_or_default();
                rows.push((index + 1, order.iter().map(cell).collect()));
            }
        }
    }
    rows
}

/// What stands in backticks.
pub fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_by_its_head() {
        let text =
            "| x |\n|---|\n| 1 |\n\n| a | b | c |\n|---|:-:|---|\n| 1 | 2 | 3 |\n\n| 4 | 5 | 6 |";
        assert_eq!(table(text, &["c", "a"]), [(7, vec!["3", "1"])]);
        assert!(table(text, &["d"]).is_empty());
        assert_eq!(quoted("`a/`, and `b`"), ["a/", "b"]);
    }

    #[test]
    fn code_and_tables_are_no_prose() {
        let lines: Vec<_> = prose("a\n```\nb\n```\n| c |\nd").collect();
        assert_eq!(lines, [(1, "a"), (6, "d")]);
    }
}
