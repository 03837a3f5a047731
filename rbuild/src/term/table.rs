//! Text in columns, as Go's text/tabwriter aligns it for docker.

/// The narrowest a column gets, in characters.
const MIN_WIDTH: usize = 10;
/// Spaces after the widest cell of a column.
const PADDING: usize = 3;
/// How far a tab reaches, in characters.
const TAB: usize = 8;

/// Aligns with docker's widths. See [`align_by`].
pub fn align(text: &str) -> String {
    align_by(text, MIN_WIDTH, PADDING)
}

/// Aligns lines whose cells end in tabs. What follows the last tab of a line is in no column. A
/// column reaches over the lines next to each other that have it. `min` is the narrowest a column
/// gets, `padding` what follows its widest cell, both in characters.
pub fn align_by(text: &str, min: usize, padding: usize) -> String {
    let width = |widest: usize| (widest + padding).max(min);
    aligned(text, width, |gap| " ".repeat(gap))
}

/// Aligns as [`align_by`] does, by tabs that reach to the next of every eight columns: so buildx
/// lists what a definition has, and `cut` takes such a list apart.
pub fn align_by_tabs(text: &str) -> String {
    let width = |widest: usize| (widest + 1).next_multiple_of(TAB);
    aligned(text, width, |gap| "\t".repeat(gap.div_ceil(TAB)))
}

/// Aligns lines: `width` is a column's, from its widest cell, `gap` fills what is left of it.
fn aligned(text: &str, width: impl Fn(usize) -> usize, gap: impl Fn(usize) -> String) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len()]).collect();
    let columns = lines.iter().map(|cells| cells.len() - 1).max().unwrap_or(0);
    for column in 0..columns {
        let mut first = 0;
        while first < lines.len() {
            let has = |line: &Vec<&str>| column + 1 < line.len();
            let Some(block) = lines.get(first..) else {
                break;
            };
            let length = block.iter().take_while(|line| has(line)).count();
            let cells = block
                .iter()
                .take(length)
                .filter_map(|line| line.get(column));
            let width = width(cells.map(|cell| cell.chars().count()).max().unwrap_or(0));
            for line in widths.iter_mut().skip(first).take(length) {
                if let Some(cell) = line.get_mut(column) {
                    *cell = width;
                }
            }
            first += length.max(1);
        }
    }
    let mut out = String::new();
    for (cells, widths) in lines.iter().zip(&widths) {
        for (cell, width) in cells.iter().zip(widths) {
            out.push_str(cell);
            out.push_str(&gap(width.saturating_sub(cell.chars().count())));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `docker buildx bake --list` of buildx 0.29 writes it.
    #[test]
    fn tabs_reach_to_the_next_of_eight() {
        let rows = "VARIABLE\tTYPE\tVALUE\tDESCRIPTION\nN\t\t\t\nV\t\tx\ta thing\n\
                    W\tlist of string\t[\"a\"]\t\n";
        let aligned = "VARIABLE\tTYPE\t\tVALUE\tDESCRIPTION\nN\t\t\t\t\t\n\
                       V\t\t\t\tx\ta thing\nW\t\tlist of string\t[\"a\"]\t\n";
        assert_eq!(align_by_tabs(rows), aligned);
    }

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let text = "REPOSITORY\tTAG\tIMAGE ID\nlocalhost:5000/app\tv1\t0123456789ab\n";
        insta::assert_snapshot!(align(text), @r"
        REPOSITORY           TAG       IMAGE ID
        localhost:5000/app   v1        0123456789ab
        ");
    }

    #[test]
    fn a_line_without_tabs_ends_a_column() {
        insta::assert_snapshot!(align("a\tb\nlong line\nccccccccccccc\td\n"), @r"
        a         b
        long line
        ccccccccccccc   d
        ");
        assert_eq!(align(""), "");
    }
}
