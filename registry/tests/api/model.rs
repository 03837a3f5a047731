//! Random sequences of calls, collections and restarts, against a model in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oci::Digest;
use proptest::prelude::*;
use registry::service::{CheckOptions, CollectOptions};
use serde_json::json;

use crate::harness::{App, MANIFEST, image};

const REPOSITORIES: [&str; 2] = ["a", "b/c"];
const BLOBS: [&str; 3] = ["{}", "layer one", "layer two"];
const TAGS: [&str; 2] = ["v1", "latest"];

#[derive(Clone, Debug)]
enum Call {
    PushBlob(usize, usize),
    Mount(usize, usize),
    DeleteBlob(usize, usize),
    /// Repository, tag, and which layer the image has.
    PushImage(usize, usize, usize),
    DeleteTag(usize, usize),
    DeleteManifest(usize, usize),
    Collect,
    Restart,
}

fn call() -> impl Strategy<Value = Call> {
    let (repository, blob, tag, layer) = (0..2usize, 0..3usize, 0..2usize, 1..3usize);
    prop_oneof![
        6 => (repository.clone(), blob.clone()).prop_map(|(r, b)| Call::PushBlob(r, b)),
        1 => (repository.clone(), blob.clone()).prop_map(|(r, b)| Call::Mount(r, b)),
        1 => (repository.clone(), blob).prop_map(|(r, b)| Call::DeleteBlob(r, b)),
        5 => (repository.clone(), tag.clone(), layer.clone())
            .prop_map(|(r, t, l)| Call::PushImage(r, t, l)),
        2 => (repository.clone(), tag).prop_map(|(r, t)| Call::DeleteTag(r, t)),
        2 => (repository, layer).prop_map(|(r, l)| Call::DeleteManifest(r, l)),
        2 => Just(Call::Collect),
        1 => Just(Call::Restart),
    ]
}

#[derive(Default)]
struct Model {
    repositories: BTreeMap<usize, Repository>,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<usize>,
    /// By the layer that tells them apart.
    manifests: BTreeSet<usize>,
    tags: BTreeMap<usize, usize>,
    /// Its last manifest was deleted: until another comes, no list has it.
    emptied: bool,
}

fn digest(blob: usize) -> Digest {
    crate::harness::sized(BLOBS[blob].as_bytes())
}

fn text(layer: usize) -> String {
    image(&digest(0), &[&digest(layer)]).to_string()
}

impl Model {
    /// Does `call` to both; what the registry answers must be what the model expects.
    async fn apply(&mut self, app: &App, call: &Call) {
        match *call {
            Call::PushBlob(r, b) => {
                app.blob(REPOSITORIES[r], BLOBS[b].as_bytes()).await;
                self.repositories.entry(r).or_default().blobs.insert(b);
            }
            Call::Mount(r, b) => {
                let (name, from) = (REPOSITORIES[r], REPOSITORIES[1 - r]);
                let path = format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", digest(b));
                let there = self
                    .repositories
                    .get(&(1 - r))
                    .is_some_and(|s| s.blobs.contains(&b));
                let answer = app.post(&path).await.ok(if there { 201 } else { 202 });
                if there {
                    self.repositories.entry(r).or_default().blobs.insert(b);
                } else {
                    app.delete(answer.header("location")).await.ok(204);
                }
            }
            Call::DeleteBlob(r, b) => {
                let path = format!("/v2/{}/blobs/{}", REPOSITORIES[r], digest(b));
                let there = self
                    .repositories
                    .get_mut(&r)
                    .is_some_and(|s| s.blobs.remove(&b));
                app.delete(&path).await.ok(if there { 202 } else { 404 });
            }
            Call::PushImage(r, t, l) => {
                let path = format!("/v2/{}/manifests/{}", REPOSITORIES[r], TAGS[t]);
                let ready = self
                    .repositories
                    .get(&r)
                    .is_some_and(|s| s.blobs.contains(&0) && s.blobs.contains(&l));
                let answer = app.put_manifest(&path, MANIFEST, text(l).as_bytes()).await;
                answer.ok(if ready { 201 } else { 400 });
                if let Some(repository) = self.repositories.get_mut(&r).filter(|_| ready) {
                    repository.manifests.insert(l);
                    repository.tags.insert(t, l);
                    repository.emptied = false;
                }
            }
            Call::DeleteTag(r, t) => {
                let path = format!("/v2/{}/manifests/{}", REPOSITORIES[r], TAGS[t]);
                let there = self
                    .repositories
                    .get_mut(&r)
                    .and_then(|s| s.tags.remove(&t));
                app.delete(&path)
                    .await
                    .ok(if there.is_some() { 202 } else { 404 });
            }
            Call::DeleteManifest(r, l) => {
                let digest = Digest::sha256(text(l).as_bytes());
                let path = format!("/v2/{}/manifests/{digest}", REPOSITORIES[r]);
                let repository = self.repositories.get_mut(&r);
                let there = repository.is_some_and(|s| {
                    s.tags.retain(|_, layer| *layer != l);
                    let there = s.manifests.remove(&l);
                    s.emptied |= there && s.manifests.is_empty();
                    there
                });
                app.delete(&path).await.ok(if there { 202 } else { 404 });
            }
            Call::Collect => {
                let options = CollectOptions {
                    grace: Duration::ZERO,
                    dry_run: false,
                    every_file: true,
                };
                app.registry.collect(options).await.unwrap();
                for repository in self.repositories.values_mut() {
                    let manifests = &repository.manifests;
                    repository
                        .blobs
                        .retain(|b| manifests.contains(b) || (*b == 0 && !manifests.is_empty()));
                }
                self.repositories
                    .retain(|_, s| !s.blobs.is_empty() || !s.manifests.is_empty());
            }
            Call::Restart => {}
        }
    }

    /// Everything that can be read is what the model says, no more and no less.
    async fn compare(&self, app: &App) {
        let listed = self.repositories.iter().filter(|(_, s)| !s.emptied);
        let names: BTreeSet<&str> = listed.map(|(r, _)| REPOSITORIES[*r]).collect();
        let catalog = app.get("/v2/_catalog").await.json();
        assert_eq!(catalog, json!({"repositories": names}));
        let nothing = Repository::default();
        for (r, name) in REPOSITORIES.iter().enumerate() {
            let repository = self.repositories.get(&r).unwrap_or(&nothing);
            for (b, content) in BLOBS.iter().enumerate() {
                // By GET: a HEAD would lease it.
                let answer = app.get(&format!("/v2/{name}/blobs/{}", digest(b))).await;
                if repository.blobs.contains(&b) {
                    assert_eq!(&answer.ok(200).body[..], content.as_bytes());
                } else {
                    answer.ok(404);
                }
            }
            for (t, tag) in TAGS.iter().enumerate() {
                let answer = app.get(&format!("/v2/{name}/manifests/{tag}")).await;
                match repository.tags.get(&t) {
                    Some(layer) => assert_eq!(&answer.ok(200).body[..], text(*layer).as_bytes()),
                    None => drop(answer.ok(404)),
                }
            }
            for l in 1..3 {
                let digest = Digest::sha256(text(l).as_bytes());
                let there = repository.manifests.contains(&l);
                app.get(&format!("/v2/{name}/manifests/{digest}"))
                    .await
                    .ok(if there { 200 } else { 404 });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_registry_does_what_its_model_does(calls in prop::collection::vec(call(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut app = App::new().await;
            let mut model = Model::default();
            for call in &calls {
                if matches!(call, Call::Restart) {
                    app = app.restart().await;
                }
                model.apply(&app, call).await;
                model.compare(&app).await;
            }
            let options = CheckOptions { deep: true, repair: false };
            let checked = app.registry.check(options).await.unwrap();
            assert_eq!(checked.problems, []);
        });
    }
}
