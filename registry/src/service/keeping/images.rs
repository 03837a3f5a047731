//! What belongs to images lives and goes with them: signatures, attestations, other referrers.

use std::collections::{HashMap, VecDeque};

use super::collect::Run;
use super::ruled::Ruled;
use crate::policy::{Owner, TagAge, owner};
use crate::service::error::ServiceError;

/// The tags of a repository by what they are.
#[derive(Debug)]
pub(super) struct Images<'t> {
    /// Those of images.
    pub(super) own: Vec<&'t TagAge>,
    /// Those of what belongs to some manifest.
    pub(super) belonging: Vec<(&'t TagAge, Owner)>,
}

impl<'t> Images<'t> {
    pub(super) fn among(tags: &'t [TagAge]) -> Self {
        let (mut own, mut belonging) = (Vec::new(), Vec::new());
        for tag in tags {
            match owner(tag) {
                None => own.push(tag),
                Some(owner) => belonging.push((tag, owner)),
            }
        }
        Self { own, belonging }
    }
}

/// Whether what belongs to a manifest stays with a tag that stays, or goes with one that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Kept,
    Group(usize),
}

impl Run<'_> {
    /// Adds to `groups`, each an image's tag that goes, what goes with them; and groups of what has
    /// lost its image.
    ///
    /// A manifest without tag that a rule deletes later keeps what belongs to it until then. Where
    /// no rule would ever delete it, that goes together with the tag.
    pub(super) async fn companions<'t>(
        &mut self,
        ruled: &Ruled,
        images: &Images<'t>,
        groups: &mut Vec<Vec<&'t TagAge>>,
    ) -> Result<(), ServiceError> {
        let mut shown = HashMap::new();
        let digests: Vec<&str> = images.belonging.iter().map(|(_, o)| o.digest()).collect();
        for some in digests.chunks(self.look_at() as usize) {
            if self.stopped() {
                return Ok(());
            }
            let some = some.iter().map(|digest| (*digest).to_owned()).collect();
            shown.extend(self.books.shown(ruled.id, some).await?);
        }
        let (mut housed, mut orphans) = (HashMap::<&str, Vec<&TagAge>>::new(), Vec::new());
        for (tag, owner) in &images.belonging {
            match shown.get(owner.digest()) {
                Some(digest) => housed.entry(digest).or_default().push(tag),
                None => orphans.push((*tag, owner)),
            }
        }
        if ruled.rule.delete_untagged_after.is_none() && !groups.is_empty() && !housed.is_empty() {
            self.along(ruled, images, &housed, groups).await?;
        }
        self.orphans(ruled, images, orphans, groups).await
    }

    /// Adds what belongs to the images that go, and to none that stays.
    async fn along<'t>(
        &mut self,
        ruled: &Ruled,
        images: &Images<'t>,
        housed: &HashMap<&str, Vec<&'t TagAge>>,
        groups: &mut [Vec<&'t TagAge>],
    ) -> Result<(), ServiceError> {
        let going: HashMap<&str, usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(at, group)| group.iter().map(move |tag| (tag.name.as_str(), at)))
            .collect();
        let kept = images
            .own
            .iter()
            .filter(|tag| !going.contains_key(tag.name.as_str()));
        // The last of several tags that go decides.
        let last = groups.iter().enumerate().rev();
        let gone = last.flat_map(|(at, group)| group.iter().map(move |tag| (tag, With::Group(at))));
        let roots = [
            kept.map(|tag| (tag.digest.clone(), With::Kept))
                .collect::<Vec<_>>(),
            gone.map(|(tag, with)| (tag.digest.clone(), with)).collect(),
        ];
        let mut with: HashMap<String, With> = HashMap::new();
        let mut found = Vec::new();
        for roots in roots {
            let mut open = VecDeque::new();
            let meet = |digest: String, how, with: &mut HashMap<_, _>, open: &mut VecDeque<_>| {
                with.entry(digest).or_insert_with_key(|digest| {
                    open.push_back(digest.clone());
                    how
                });
            };
            for (digest, how) in roots {
                meet(digest, how, &mut with, &mut open);
            }
            while !open.is_empty() {
                if self.stopped() {
                    return Ok(());
                }
                let n = open.len().min(self.look_at() as usize);
                let some: Vec<String> = open.drain(..n).collect();
                for digest in &some {
                    for tag in housed.get(digest.as_str()).into_iter().flatten() {
                        found.push((*tag, with[digest]));
                        meet(tag.digest.clone(), with[digest], &mut with, &mut open);
                    }
                }
                for (keeper, digest) in self.books.belonging(ruled.id, some).await? {
                    if let Some(how) = with.get(&keeper).copied() {
                        meet(digest, how, &mut with, &mut open);
                    }
                }
            }
        }
        for (tag, with) in found {
            if let With::Group(at) = with
                && !ruled.keeps(&tag.name)
            {
                groups[at].push(tag);
            }
        }
        Ok(())
    }

    /// Adds what belongs to a manifest that is not here, once it is older than the grace: clients
    /// that copy repositories may bring signatures first. Where a repository has nothing but
    /// signatures, what they belong to may be in any other.
    async fn orphans<'t>(
        &mut self,
        ruled: &Ruled,
        images: &Images<'t>,
        mut orphans: Vec<(&'t TagAge, &Owner)>,
        groups: &mut Vec<Vec<&'t TagAge>>,
    ) -> Result<(), ServiceError> {
        orphans.retain(|(tag, _)| tag.pushed_at < self.cutoff && !ruled.keeps(&tag.name));
        let elsewhere = images.own.is_empty();
        for some in orphans.chunks(self.look_at() as usize) {
            if self.stopped() {
                return Ok(());
            }
            let known = if elsewhere {
                let digests = some.iter().map(|(_, owner)| owner.digest().to_owned());
                let known = self.books.shown_anywhere(digests.collect()).await?;
                known.into_iter().collect()
            } else {
                std::collections::HashSet::new()
            };
            let lost = some
                .iter()
                .filter(|(_, owner)| !known.contains(owner.digest()));
            groups.extend(lost.map(|(tag, _)| vec![*tag]));
        }
        Ok(())
    }
}
