//! Which upload sessions are open, and whose they are.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::limits::Client;
use crate::name::UploadId;
use crate::sync::lock;

/// How many sessions may be open; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadLimits {
    /// Of one client.
    pub each: usize,
    /// Altogether, those of before a restart included.
    pub all: usize,
}

/// The open sessions.
#[derive(Debug, Default)]
pub(in crate::service) struct OpenUploads(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// Nobody's are those of before a restart.
    by_id: HashMap<UploadId, Option<Client>>,
    /// Also those that are just being made.
    counts: HashMap<Client, usize>,
    making: usize,
}

/// The right to make one session; given back when dropped.
#[derive(Debug)]
pub(in crate::service) struct Reserved<'a> {
    uploads: &'a OpenUploads,
    client: Option<Client>,
}

impl Open {
    fn give_back(&mut self, client: &Client) {
        if let Some(count) = self.counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(client);
            }
        }
    }
}

impl OpenUploads {
    /// Sessions that were there before.
    pub(in crate::service) fn found(&self, ids: impl IntoIterator<Item = UploadId>) {
        let mut open = lock(&self.0);
        open.by_id.extend(ids.into_iter().map(|id| (id, None)));
    }

    /// Room for one more session of a client; `None` when there is none.
    pub(in crate::service) fn reserve(
        &self,
        client: Client,
        limits: UploadLimits,
    ) -> Option<Reserved<'_>> {
        let mut open = lock(&self.0);
        let over = |count: usize, limit: usize| limit > 0 && count >= limit;
        let own = open.counts.get(&client).copied().unwrap_or(0);
        if over(own, limits.each) || over(open.by_id.len() + open.making, limits.all) {
            return None;
        }
        open.counts.insert(client.clone(), own + 1);
        open.making += 1;
        Some(Reserved {
            uploads: self,
            client: Some(client),
        })
    }

    /// A session has ended, whoever's it was.
    pub(in crate::service) fn end(&self, id: UploadId) {
        let mut open = lock(&self.0);
        if let Some(Some(client)) = open.by_id.remove(&id) {
            open.give_back(&client);
        }
    }
}

impl Reserved<'_> {
    /// The session is made.
    pub(in crate::service) fn made(mut self, id: UploadId) {
        let mut open = lock(&self.uploads.0);
        open.making -= 1;
        open.by_id.insert(id, self.client.take());
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let mut open = lock(&self.uploads.0);
            open.making -= 1;
            open.give_back(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_for_each_and_for_all_until_they_end() {
        let uploads = OpenUploads::default();
        let limits = UploadLimits { each: 2, all: 4 };
        let user = |name: &str| Client::User(name.into());
        let begin = |name: &str| {
            let id = UploadId::random();
            uploads.reserve(user(name), limits)?.made(id);
            Some(id)
        };
        uploads.found([UploadId::random()]);
        let first = begin("a").unwrap();
        let held = uploads.reserve(user("a"), limits).unwrap();
        assert!(begin("a").is_none());
        // What was not made is not counted any more.
        drop(held);
        begin("a").unwrap();
        let other = begin("b").unwrap();
        assert!(begin("c").is_none(), "that is all");
        uploads.end(first);
        uploads.end(first);
        begin("c").unwrap();
        uploads.end(other);
        begin("a").unwrap();
        assert!(begin("a").is_none());
        assert_eq!(lock(&uploads.0).making, 0);
        let unlimited = UploadLimits::default();
        for _ in 0..100 {
            let made = uploads.reserve(user("a"), unlimited).unwrap();
            made.made(UploadId::random());
        }
    }
}
