//! A database from nothing but the blobs.
//!
//! Every file is read and compared with its digest. Manifests are known by what they say, and what
//! they say is what they need. Which repositories and tags they had stands in no blob: that comes
//! from what is still readable of the damaged database, then from its last copy. Manifests that
//! neither knows go to a repository of their own.
//!
//! The new database is made under another name and takes its place when it is complete, so that a
//! rebuild that was interrupted can be started again. Nothing is deleted: the damaged database and
//! damaged blobs are moved aside.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::archive::REF_NAME;
use oci::manifest::MAX_MANIFEST_SIZE;
use oci::{Digest, ManifestDocument, MediaType};

use super::backup;
use crate::clock::now;
use crate::meta::{
    Company, Health, Meta, NamedManifest, NewBlob, Place as Database, health, salvage,
    salvage_content,
};
use crate::name::{RepositoryName, Tag, UploadId};
use crate::policy::Policy;
use crate::service::error::ServiceError;
use crate::service::pushing::{Push, needs};
use crate::service::state::{DATABASE, Registry, lock};
use crate::storage::{
    Backend, Blobs, Context, Flaw, Listed, Standing, StorageError, make_dir, sync_dir,
};
use crate::sync::blocking;

/// What a rebuild brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Repositories.
    pub repositories: u64,
    /// Manifests, counted in each repository.
    pub manifests: u64,
    /// Of those, how many nobody knew a repository for.
    pub unnamed: u64,
    /// Tags.
    pub tags: u64,
    /// Blobs that are what their digests say, manifests included.
    pub blobs: u64,
    /// What is lost, and why; one line each.
    pub lost: Vec<String>,
    /// Where the damaged database is now.
    pub moved: Option<PathBuf>,
}

/// A manifest as its blob says.
#[derive(Debug)]
struct Found {
    blobs: Vec<Digest>,
    children: Vec<Digest>,
    subject: bool,
    name: Option<Tag>,
}

/// All files of the store.
#[derive(Debug, Default)]
struct Walked {
    good: HashMap<Digest, u64>,
    manifests: BTreeMap<Digest, Found>,
    lost: Vec<String>,
}

/// What a manifest is to be put back as.
#[derive(Debug, Default)]
struct Place {
    media_type: Option<MediaType>,
    tags: Vec<Tag>,
}

type Places = BTreeMap<RepositoryName, BTreeMap<Digest, Place>>;

impl Registry {
    /// Makes the database of `data_dir` anew; what nobody knows a repository for goes to `unnamed`.
    ///
    /// # Errors
    /// [`ServiceError::DatabaseSound`] when there is nothing to rebuild; [`ServiceError`].
    pub async fn rebuild(
        data_dir: &Path,
        unnamed: &RepositoryName,
        backend: &Backend,
        place: &Database,
    ) -> Result<Rebuilt, ServiceError> {
        let dir = data_dir.to_owned();
        let lock = blocking(move || {
            make_dir(&dir)?;
            lock(&dir)
        })
        .await?;
        let database = data_dir.join(DATABASE);
        let state = match place {
            Database::File(database) => health(database).await?,
            Database::Server(_) if Meta::is_empty(place).await? => Health::Missing,
            Database::Server(_) => Health::Sound,
        };
        let blobs = Blobs::open(data_dir, backend).await?;
        let nothing = state == Health::Missing && !blobs.are_any(data_dir).await?;
        if state == Health::Sound || nothing {
            return Err(ServiceError::DatabaseSound(place.to_string()));
        }
        blobs.claim(data_dir, None, Standing::Heir).await?;
        // A file that is there beside a server is from before that.
        let mut sources = [database.clone(), backup::path(data_dir)];
        if let Database::Server(_) = place {
            sources.reverse();
        }
        let mut names = Vec::new();
        for source in &sources {
            names.extend(salvage(source).await);
        }

        let unready = data_dir.join("registry.rebuilding.db");
        let old = unready.clone();
        blocking(move || remove_database(&old)).await?;
        let new = Database::File(unready.clone());
        let alone = (&new, Company::Alone);
        let registry = Self::open_locked(data_dir, alone, Policy::default(), lock, blobs).await?;
        let registry = Arc::new(registry);
        let (files, aside) = (registry.blobs.clone(), data_dir.join("damaged"));
        let small = salvage_content(&database).await;
        for (digest, content) in small {
            files.mend(&digest, &content).await?;
        }
        let walked = walk(&files, &aside).await?;
        // Some may have had their names only.
        files.sync().await?;
        let mut rebuilt = Rebuilt {
            blobs: walked.good.len() as u64,
            lost: walked.lost.clone(),
            ..Rebuilt::default()
        };
        let (places, strangers) = places(&walked, names, unnamed);
        rebuilt.unnamed = strangers;
        for (repository, manifests) in places {
            registry
                .put_all_back(&walked, &repository, manifests, &mut rebuilt)
                .await?;
        }
        registry.keep_strays(&walked, unnamed).await?;
        rebuilt.repositories = registry.usage().await?.repositories;
        // Complete, in one file, before it gets its name.
        registry.close().await;
        match place {
            Database::File(database) => {
                let (dir, database) = (data_dir.to_owned(), database.clone());
                rebuilt.moved = blocking(move || replace(&dir, &unready, &database)).await?;
            }
            Database::Server(server) => {
                server.fill(&unready).await?;
                blocking(move || remove_database(&unready)).await?;
            }
        }
        Ok(rebuilt)
    }

    async fn put_all_back(
        self: &Arc<Self>,
        walked: &Walked,
        repository: &RepositoryName,
        mut waiting: BTreeMap<Digest, Place>,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), ServiceError> {
        // Indexes after what they list.
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        for digest in waiting.keys() {
            children_first(digest, walked, &mut seen, &mut order);
        }
        for digest in order {
            let (Some(place), Some(found)) =
                (waiting.remove(&digest), walked.manifests.get(&digest))
            else {
                continue;
            };
            let lacking: Vec<String> = found
                .blobs
                .iter()
                .filter(|blob| !walked.good.contains_key(blob))
                .map(ToString::to_string)
                .collect();
            if !lacking.is_empty() {
                let lacking = lacking.join(", ");
                let line = format!("{repository}@{digest}: it cannot be pulled without {lacking}");
                rebuilt.lost.push(line);
                continue;
            }
            // Of what an index lists, build caches among them are blobs.
            let listed = found.children.iter();
            let listed = listed.filter(|child| !walked.manifests.contains_key(child));
            for blob in found.blobs.iter().chain(listed) {
                if let Some(size) = walked.good.get(blob) {
                    let blob = NewBlob::durable(blob, *size);
                    self.show_blob(repository, blob, UploadId::random(), &None)
                        .await?;
                }
            }
            let Some(bytes) = self.blobs.read(&digest).await? else {
                continue;
            };
            let tags = place.tags.len() as u64;
            let push = Push {
                bytes,
                content_type: place.media_type,
                tags: place.tags,
                ..Push::default()
            };
            match self.put_back(repository, &digest, push).await {
                Ok(_) => {
                    rebuilt.manifests += 1;
                    rebuilt.tags += tags;
                }
                Err(e @ (ServiceError::Storage(_) | ServiceError::Meta(_))) => return Err(e),
                Err(e) => rebuilt.lost.push(format!("{repository}@{digest}: {e}")),
            }
        }
        Ok(())
    }

    /// Shows blobs that no manifest needs: they go when garbage is collected, unless somebody
    /// pushes a manifest for them.
    async fn keep_strays(
        &self,
        walked: &Walked,
        unnamed: &RepositoryName,
    ) -> Result<(), ServiceError> {
        for (digest, size) in &walked.good {
            if !self.meta.is_stored(digest).await? {
                let blob = NewBlob::durable(digest, *size);
                self.show_blob(unnamed, blob, UploadId::random(), &None)
                    .await?;
            }
        }
        Ok(())
    }
}

/// Where every manifest goes, and for how many of them nobody knew it.
fn places(walked: &Walked, names: Vec<NamedManifest>, unnamed: &RepositoryName) -> (Places, u64) {
    let mut places = Places::new();
    let mut taken: BTreeSet<(RepositoryName, Tag)> = BTreeSet::new();
    let mut known: HashSet<Digest> = HashSet::new();
    for name in names {
        if !walked.manifests.contains_key(&name.digest) {
            continue;
        }
        known.insert(name.digest.clone());
        let repository = places.entry(name.repository.clone()).or_default();
        let place = repository.entry(name.digest).or_default();
        place.media_type.get_or_insert(name.media_type);
        // Whoever comes first is nearer to the truth.
        let free = |tag: &Tag| taken.insert((name.repository.clone(), tag.clone()));
        place.tags.extend(name.tags.into_iter().filter(free));
    }
    let strangers: Vec<&Digest> = walked
        .manifests
        .keys()
        .filter(|digest| !known.contains(digest))
        .collect();
    if strangers.is_empty() {
        return (places, 0);
    }
    let listed: HashSet<&Digest> = walked
        .manifests
        .values()
        .flat_map(|m| &m.children)
        .collect();
    let own = places.entry(unnamed.clone()).or_default();
    for digest in &strangers {
        let mut order = Vec::new();
        children_first(digest, walked, &mut HashSet::new(), &mut order);
        for child in order {
            own.entry(child).or_default();
        }
        let found = &walked.manifests[*digest];
        if !listed.contains(digest) && !found.subject {
            // With a tag it is seen, and kept by retention rules.
            let tags = [
                found.name.clone(),
                format!("recovered-{}", &digest.hex()[..12]).parse().ok(),
            ];
            let mut tags = tags.into_iter().flatten();
            let free = tags.find(|tag| taken.insert((unnamed.clone(), tag.clone())));
            own.entry((*digest).clone()).or_default().tags.extend(free);
        }
    }
    (places, strangers.len() as u64)
}

/// A manifest after all that it lists. No index can list itself, so this ends; deep nesting is
/// done without the stack.
fn children_first(
    digest: &Digest,
    walked: &Walked,
    seen: &mut HashSet<Digest>,
    order: &mut Vec<Digest>,
) {
    let mut open = vec![(digest.clone(), false)];
    while let Some((digest, done)) = open.pop() {
        if done {
            order.push(digest);
            continue;
        }
        let Some(found) = walked.manifests.get(&digest) else {
            continue;
        };
        if seen.insert(digest.clone()) {
            open.push((digest, true));
            open.extend(found.children.iter().map(|child| (child.clone(), false)));
        }
    }
}

async fn walk(files: &Blobs, aside: &Path) -> Result<Walked, StorageError> {
    let mut walked = Walked::default();
    for shard in files.shards().await? {
        let mut listed = files.list(&shard, None).await?;
        while let Some(last) = listed.last().map(|last| last.digest.clone()) {
            for found in listed {
                look_at(files, found, aside, &mut walked).await?;
            }
            listed = files.list(&shard, Some(&last)).await?;
        }
    }
    walked.lost.sort();
    Ok(walked)
}

async fn look_at(
    files: &Blobs,
    Listed { digest, size, .. }: Listed,
    aside: &Path,
    walked: &mut Walked,
) -> Result<(), StorageError> {
    if let Some(flaw) = files.verify(&digest, size, true).await? {
        let why = match flaw {
            Flaw::Missing => "the file is gone".to_owned(),
            Flaw::Damaged(why) => why,
        };
        let target = aside.join(format!("{}-{}", digest.algorithm(), digest.hex()));
        let dir = aside.to_owned();
        blocking(move || make_dir(&dir)).await?;
        files.move_aside(&digest, target.clone()).await?;
        let moved = target.display();
        walked
            .lost
            .push(format!("{digest}: {why}; it is {moved} now"));
        return Ok(());
    }
    if size <= MAX_MANIFEST_SIZE as u64 {
        let (files, digest) = (files.clone(), digest.clone());
        let found = blocking(move || manifest(&files, &digest)).await?;
        walked.manifests.extend(found);
    }
    walked.good.insert(digest, size);
    Ok(())
}

/// What a blob says, when it is a manifest.
fn manifest(files: &Blobs, digest: &Digest) -> Result<Option<(Digest, Found)>, StorageError> {
    let Some(mut blob) = files.open_on_thread(digest)? else {
        return Ok(None);
    };
    let path = &files.place(digest);
    let mut bytes = Vec::new();
    // Most small blobs are layers: one look is enough.
    let start = blob.by_ref().take(64).read_to_end(&mut bytes);
    start.context("read", path)?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    blob.read_to_end(&mut bytes).context("read", path)?;
    let Ok(document) = ManifestDocument::parse(&bytes, None) else {
        return Ok(None);
    };
    let (blobs, children) = needs(&document);
    let found = Found {
        blobs,
        children,
        subject: document.subject().is_some(),
        name: document
            .annotations()
            .get(REF_NAME)
            .and_then(|name| name.parse().ok()),
    };
    Ok(Some((digest.clone(), found)))
}

/// The files that SQLite keeps beside a database.
fn companions(database: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    })
}

fn remove_database(path: &Path) -> Result<(), StorageError> {
    for path in companions(path).iter().map(PathBuf::as_path).chain([path]) {
        match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).context("remove", path);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Puts the new database in the old one's place; where the old one is now.
fn replace(data_dir: &Path, new: &Path, database: &Path) -> Result<Option<PathBuf>, StorageError> {
    let aside = data_dir.join(format!("registry.damaged-{}.db", now()));
    // First what belongs to the old one only: SQLite would apply it to the new one.
    for (from, to) in companions(database).iter().zip(&companions(&aside)) {
        match fs::rename(from, to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).context("rename to", to);
            }
            _ => {}
        }
    }
    let moved = match fs::hard_link(database, &aside) {
        Ok(()) => Some(aside),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        // A file system without links.
        Err(_) => {
            fs::copy(database, &aside).context("copy to", &aside)?;
            Some(aside)
        }
    };
    fs::File::open(new)
        .and_then(|file| file.sync_all())
        .context("sync", new)?;
    fs::rename(new, database).context("rename to", database)?;
    sync_dir(data_dir)?;
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn found(children: &[&str], name: Option<&str>) -> Found {
        Found {
            blobs: Vec::new(),
            children: children.iter().map(|c| digest(c)).collect(),
            subject: false,
            name: name.and_then(|n| n.parse().ok()),
        }
    }

    #[test]
    fn known_manifests_go_home_and_others_to_a_place_of_their_own() {
        let walked = Walked {
            manifests: BTreeMap::from([
                (digest("home"), found(&[], None)),
                (digest("index"), found(&["home", "stranger"], Some("v1"))),
                (digest("stranger"), found(&[], None)),
                (digest("twin"), found(&[], Some("v1"))),
            ]),
            ..Walked::default()
        };
        let named = |what: &str, tag: &str| NamedManifest {
            repository: "team/app".parse().unwrap(),
            digest: digest(what),
            media_type: oci::media_type::OCI_MANIFEST.into(),
            tags: vec![tag.parse().unwrap()],
        };
        // The second comes from an older copy.
        let names = vec![
            named("home", "latest"),
            named("twin", "latest"),
            named("gone", "x"),
        ];
        let (places, strangers) = places(&walked, names, &"recovered".parse().unwrap());
        assert_eq!(strangers, 2);
        let tags = |repository: &str, what: &str| {
            let place = &places[&repository.parse().unwrap()][&digest(what)];
            place
                .tags
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(tags("team/app", "home"), ["latest"]);
        assert_eq!(tags("team/app", "twin"), Vec::<String>::new());
        assert_eq!(tags("recovered", "index"), ["v1"]);
        // What the index lists comes along, wherever else it is.
        assert_eq!(tags("recovered", "home"), Vec::<String>::new());
        assert_eq!(tags("recovered", "stranger"), Vec::<String>::new());
        let mut order = Vec::new();
        children_first(&digest("index"), &walked, &mut HashSet::new(), &mut order);
        assert_eq!(order.last(), Some(&digest("index")));
    }
}
