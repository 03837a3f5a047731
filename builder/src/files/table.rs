//! Values by path, in the order of a sorted walk: cheap to read, to look through and to search.
//!
//! Names lie one behind the other in one allocation. Whoever asks for them in their order finds
//! each where the last one was.

use std::cmp::Ordering;

/// Values by path.
#[derive(Debug)]
pub(super) struct Table<V> {
    names: Vec<u8>,
    rows: Vec<Row<V>>,
}

#[derive(Debug)]
struct Row<V> {
    start: usize,
    end: usize,
    value: V,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            rows: Vec::new(),
        }
    }
}

impl<V> Table<V> {
    /// One with room for so many.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self {
            names: Vec::with_capacity(rows * 32),
            rows: Vec::with_capacity(rows),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds one at the end. What is not in order is not found before [`sort`](Self::sort).
    pub(super) fn push(&mut self, name: &[u8], value: V) {
        let start = self.names.len();
        self.names.extend_from_slice(name);
        let end = self.names.len();
        self.rows.push(Row { start, end, value });
    }

    /// Puts all in order; of several of one name the last one stays.
    pub(super) fn sort(&mut self) {
        let names = &self.names;
        let name = |row: &Row<V>| &names[row.start..row.end];
        self.rows.reverse();
        self.rows.sort_by(|a, b| order(name(a), name(b)));
        self.rows
            .dedup_by(|later, first| name(later) == name(first));
    }

    /// Whether all are in order, and none is there twice.
    pub(super) fn is_sorted(&self) -> bool {
        let pairs = self.rows.windows(2);
        pairs.into_iter().all(|pair| match pair {
            [a, b] => order(self.name(a), self.name(b)).is_lt(),
            _ => true,
        })
    }

    /// Where `name` is; `near` is looked at first.
    pub(super) fn find(&self, name: &[u8], near: usize) -> Option<usize> {
        if self
            .rows
            .get(near)
            .is_some_and(|row| self.name(row) == name)
        {
            return Some(near);
        }
        let found = self
            .rows
            .binary_search_by(|row| order(self.name(row), name));
        found.ok()
    }

    /// A value.
    pub(super) fn get(&self, at: usize) -> Option<&V> {
        self.rows.get(at).map(|row| &row.value)
    }

    /// A value to be changed.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut V> {
        self.rows.get_mut(at).map(|row| &mut row.value)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.rows.iter().map(|row| (self.name(row), &row.value))
    }

    fn name(&self, row: &Row<V>) -> &[u8] {
        &self.names[row.start..row.end]
    }
}

/// The order in which a sorted walk comes by: a slash is before everything else, since what is in a
/// directory comes before its neighbours.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Table<usize> {
        let mut table = Table::default();
        for (n, name) in names.iter().enumerate() {
            table.push(name.as_bytes(), n);
        }
        table
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let mut all = table(&["b", "a-b", "a/c/d", "a", "a/c", "a/b", "", "a.b/c", "ab"]);
        assert!(!all.is_sorted());
        all.sort();
        assert!(all.is_sorted());
        let names: Vec<&[u8]> = all.iter().map(|(name, _)| name).collect();
        let want = ["", "a", "a/b", "a/c", "a/c/d", "a-b", "a.b/c", "ab", "b"];
        assert_eq!(names, want.map(str::as_bytes));
    }

    #[test]
    fn the_last_of_a_name_stays() {
        let mut all = table(&["x", "a", "x", "a", "x"]);
        all.sort();
        let values: Vec<usize> = all.iter().map(|(_, value)| *value).collect();
        assert_eq!((values, all.is_sorted()), (vec![3, 4], true));
    }

    #[test]
    fn names_are_found_wherever_one_looks_first() {
        let mut all = table(&["a", "a/b", "a/c", "d"]);
        all.sort();
        for near in 0..6 {
            for (n, name) in ["a", "a/b", "a/c", "d"].iter().enumerate() {
                assert_eq!(all.find(name.as_bytes(), near), Some(n));
            }
            for name in ["", "a/", "a/bb", "b", "e"] {
                assert_eq!(all.find(name.as_bytes(), near), None);
            }
        }
    }
}
