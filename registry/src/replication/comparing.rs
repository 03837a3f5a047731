//! Both sides compared: what is not the same becomes a job. What did not change costs its place in
//! a list, and no more.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::{Trouble, Whose};
use super::rule::Rule;
use super::settings::Direction;
use crate::meta::Changed;
use crate::name::{ManifestRef, Tag};

/// Tags looked at, and jobs made, at once.
const SLICE: u32 = 1000;
/// Questions to the other registry at once.
const AT_ONCE: usize = 4;

impl Rule {
    /// Compares all that the rule is about.
    pub(super) async fn compare(&self) -> Result<(), Trouble> {
        match self.settings.direction {
            Direction::Push => self.compare_there().await?,
            Direction::Pull => self.compare_here().await?,
        }
        Ok(())
    }

    async fn compare_there(&self) -> Result<(), Trouble> {
        let wanted = |name: &str| self.settings.wants_repository(name);
        let names = self.registry.repositories_where(wanted).await?;
        stream::iter(names)
            .map(|name| async move { self.compare_tags(&name).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        if !self.settings.deletes {
            return Ok(());
        }
        // What the rule has brought and is not here any more.
        let books = self.registry.replication();
        let mut last = (String::new(), String::new());
        loop {
            let after = (last.0.as_str(), last.1.as_str());
            let done = books.replication_done_after(&self.settings.name, after, SLICE);
            let done = done.await?;
            let Some(end) = done.last().cloned() else {
                return Ok(());
            };
            let mut gone = Vec::new();
            for (repository, tag) in done {
                if !self.is_here(&repository, &tag).await? {
                    gone.push(self.changed(&repository, &tag));
                }
            }
            self.add(gone).await?;
            last = end;
        }
    }

    async fn is_here(&self, repository: &str, tag: &str) -> Result<bool, Trouble> {
        let (Ok(name), Ok(tag)) = (repository.parse(), tag.parse::<Tag>()) else {
            return Ok(false);
        };
        let current = self.registry.replication();
        Ok(current
            .manifest(&name, &ManifestRef::Tag(tag))
            .await?
            .is_some())
    }

    /// Compares one repository here with what was brought, and with the list of tags there.
    async fn compare_tags(&self, name: &str) -> Result<(), Trouble> {
        let Some(there) = self.settings.target(name) else {
            return Ok(());
        };
        let books = self.registry.replication();
        // Asked for once something is found that ought to be there.
        let mut listed: Option<HashSet<String>> = None;
        let mut last = String::new();
        loop {
            let rule = &self.settings.name;
            let tags = books
                .replicated_tags(rule, name, name, &last, SLICE)
                .await?;
            let Some(end) = tags.last().map(|state| state.tag.clone()) else {
                return Ok(());
            };
            let mut jobs = Vec::new();
            for state in tags {
                if !self.settings.may_want(&state.tag) {
                    continue;
                }
                if state.done.as_ref() == Some(&state.digest) {
                    let there = match &mut listed {
                        Some(listed) => listed,
                        None => {
                            let tags = self.remote.tags(&there).await?;
                            listed.insert(tags.into_iter().collect())
                        }
                    };
                    if there.contains(&state.tag) {
                        continue;
                    }
                }
                jobs.push(self.changed(name, &state.tag));
            }
            self.add(jobs).await?;
            last = end;
        }
    }

    async fn compare_here(&self) -> Result<(), Trouble> {
        let names: Vec<String> = match self.settings.names() {
            Some(names) => names.to_vec(),
            None => {
                let all = self.remote.client.catalog(self.remote.domain()).await?;
                let within = all.iter().filter_map(|name| self.remote.within(name));
                within.map(str::to_owned).collect()
            }
        };
        let wanted: Vec<String> = names
            .into_iter()
            .filter(|name| self.settings.wants_repository(name))
            .collect();
        // What is wrong with one repository is no reason to leave the others.
        let mut failed = Ok(());
        for name in &wanted {
            match self.compare_repository(name).await {
                Err(trouble) if trouble.whose == Whose::Job => failed = Err(trouble),
                compared => compared?,
            }
        }
        if self.settings.deletes {
            self.compare_gone(&wanted).await?;
        }
        failed
    }

    async fn compare_gone(&self, wanted: &[String]) -> Result<(), Trouble> {
        // Whole repositories that are not listed any more.
        let wanted: HashSet<&String> = wanted.iter().collect();
        let books = self.registry.replication();
        let mut last = (String::new(), String::new());
        loop {
            let after = (last.0.as_str(), last.1.as_str());
            let done = books.replication_done_after(&self.settings.name, after, SLICE);
            let done = done.await?;
            let Some(end) = done.last().cloned() else {
                return Ok(());
            };
            let gone = done.iter().filter(|(name, _)| !wanted.contains(name));
            let gone = gone.map(|(name, tag)| self.changed(name, tag));
            self.add(gone.collect()).await?;
            last = end;
        }
    }

    /// Compares one repository there with what is here.
    async fn compare_repository(&self, name: &str) -> Result<(), Trouble> {
        let Some(way) = self.way_here(name)? else {
            return Ok(());
        };
        let tags = self.remote.tags(name).await?;
        let wanted: Vec<Tag> = tags
            .iter()
            .filter(|tag| self.settings.may_want(tag))
            .filter_map(|tag| tag.parse().ok())
            .collect();
        let mut looks = stream::iter(wanted.into_iter().map(|tag| {
            let way = &way;
            async move {
                let what = ManifestRef::Tag(tag.clone());
                let there = self.remote.head(name, &what).await?;
                let here = way.has(&what).await?;
                let mut jobs = Vec::new();
                match there {
                    // It went meanwhile.
                    None => {}
                    Some(there) if here.as_ref() == Some(&there) => {
                        // What refers to it may have come since.
                        if self.settings.referrers {
                            for referrer in way.referrers(&there).await? {
                                let what = ManifestRef::Digest(referrer.clone());
                                if way.has(&what).await?.is_none() {
                                    jobs.push(self.changed(name, &referrer.to_string()));
                                }
                            }
                        }
                        let done = self.known(name, &tag).await?;
                        if done != Some(there.to_string()) {
                            jobs.push(self.changed(name, tag.as_str()));
                        }
                    }
                    Some(_) => jobs.push(self.changed(name, tag.as_str())),
                }
                Ok::<_, Trouble>(jobs)
            }
        }))
        .buffer_unordered(AT_ONCE);
        let mut jobs = Vec::new();
        while let Some(found) = looks.next().await {
            jobs.extend(found?);
            if jobs.len() >= SLICE as usize {
                self.add(std::mem::take(&mut jobs)).await?;
            }
        }
        drop(looks);
        if self.settings.deletes {
            jobs.extend(self.gone_of(name, &tags).await?);
        }
        self.add(jobs).await
    }

    async fn known(&self, name: &str, tag: &Tag) -> Result<Option<String>, Trouble> {
        let books = self.registry.replication();
        let done = books.replication_done(&self.settings.name, name, tag.as_str());
        Ok(done.await?)
    }

    /// What the rule has brought of a repository and is not listed there.
    async fn gone_of(&self, name: &str, tags: &[String]) -> Result<Vec<Changed>, Trouble> {
        let listed: HashSet<&String> = tags.iter().collect();
        let books = self.registry.replication();
        let (mut gone, mut last) = (Vec::new(), String::new());
        loop {
            let done = books.replication_done_after(&self.settings.name, (name, &last), SLICE);
            let done = done.await?;
            let here: Vec<String> = done
                .into_iter()
                .filter(|(repository, _)| repository == name)
                .map(|(_, tag)| tag)
                .collect();
            let Some(end) = here.last().cloned() else {
                return Ok(gone);
            };
            let missing = here.iter().filter(|tag| !listed.contains(tag));
            gone.extend(missing.map(|tag| self.changed(name, tag)));
            last = end;
        }
    }

    fn changed(&self, repository: &str, reference: &str) -> Changed {
        Changed {
            rule: self.settings.name.clone(),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        }
    }

    async fn add(&self, jobs: Vec<Changed>) -> Result<(), Trouble> {
        if jobs.is_empty() {
            return Ok(());
        }
        self.registry
            .replication()
            .add_replication_jobs(jobs, 0)
            .await?;
        self.wake.notify_one();
        Ok(())
    }
}
