//! Which nodes of a graph can be worked on: those that wait for no other.

use std::collections::BTreeSet;

/// What is to be done, and what each of it waits for.
#[derive(Debug)]
pub struct Ready {
    /// How many others each node waits for.
    waits: Vec<usize>,
    /// Who waits for each node.
    followers: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
}

impl Ready {
    /// For nodes that need these others each, of which every one comes before it.
    pub fn new(needs: impl Iterator<Item = Vec<usize>>) -> Self {
        let mut all = Self {
            waits: Vec::new(),
            followers: Vec::new(),
            ready: BTreeSet::new(),
        };
        for (index, needs) in needs.enumerate() {
            let mut waits = 0;
            for needed in needs {
                if let Some(followers) = all.followers.get_mut(needed) {
                    followers.push(index);
                    waits += 1;
                }
            }
            if waits == 0 {
                all.ready.insert(index);
            }
            all.waits.push(waits);
            all.followers.push(Vec::new());
        }
        all
    }

    /// Whether there is something to begin with now.
    pub fn any(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next node to begin with, the one that stands first in the file.
    pub fn take(&mut self) -> Option<usize> {
        self.ready.pop_first()
    }

    /// A node is done: who waited for it alone is ready.
    pub fn done(&mut self, index: usize) {
        let followers = self.followers.get_mut(index).map(std::mem::take);
        for follower in followers.into_iter().flatten() {
            if let Some(waits) = self.waits.get_mut(follower) {
                *waits = waits.saturating_sub(1);
                if *waits == 0 {
                    self.ready.insert(follower);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(ready: &mut Ready) -> Vec<usize> {
        std::iter::from_fn(|| ready.take()).collect()
    }

    #[test]
    fn nodes_follow_what_they_need() {
        // 0 and 1 stand alone, 2 needs both (and 0 twice), 3 needs 2.
        let needs = [vec![], vec![], vec![0, 1, 0], vec![2]];
        let mut ready = Ready::new(needs.into_iter());
        assert_eq!(take_all(&mut ready), [0, 1]);
        ready.done(1);
        assert!(!ready.any());
        ready.done(0);
        assert_eq!(take_all(&mut ready), [2]);
        ready.done(2);
        assert_eq!(take_all(&mut ready), [3]);
        ready.done(3);
        assert!(!ready.any());
    }
}
