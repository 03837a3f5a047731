//! Retention against a model: random images, indexes, referrers and cosign's tags, of random ages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oci::Digest;
use proptest::prelude::*;
use registry::service::{CollectOptions, Collected};
use serde_json::{Value, json};

use crate::harness::{App, INDEX, MANIFEST, image};

/// How old what belongs to nothing has to be.
const GRACE: u64 = 3600;

/// What is pushed; numbers name what was pushed before, whatever their size.
#[derive(Clone, Debug)]
enum Step {
    Image(Option<u8>),
    /// An index of two, with a tag or without.
    Index(usize, usize, Option<u8>),
    /// What refers to another, with a tag or without.
    Referrer(usize, Option<u8>),
    /// A signature as cosign makes it, of what was pushed or of what is not here.
    Signature(Option<usize>),
    /// Time goes by.
    Age,
}

fn step() -> impl Strategy<Value = Step> {
    let tag = || prop::option::of(0..4u8);
    let any = || 0..8usize;
    prop_oneof![
        4 => tag().prop_map(Step::Image),
        2 => (any(), any(), tag()).prop_map(|(a, b, tag)| Step::Index(a, b, tag)),
        3 => (any(), tag()).prop_map(|(of, tag)| Step::Referrer(of, tag)),
        2 => prop::option::of(any()).prop_map(Step::Signature),
        2 => Just(Step::Age),
    ]
}

/// A manifest as the model knows it.
struct Item {
    digest: Digest,
    children: Vec<usize>,
    subject: Option<usize>,
}

/// What a tag points to, when it was pushed, and what it names.
#[derive(Clone, Debug)]
struct Tagged {
    item: usize,
    pushed: usize,
    old: bool,
    /// What cosign's name is made of: something that is here, or not.
    named: Option<Option<usize>>,
}

#[derive(Default)]
struct Model {
    items: Vec<Item>,
    tags: BTreeMap<String, Tagged>,
    pushes: usize,
}

impl Model {
    async fn put(&mut self, app: &App, mut text: Value, kind: &str, tag: Option<String>) -> usize {
        let number = self.items.len();
        // No two are the same.
        text["annotations"] = json!({ "number": number.to_string() });
        let text = text.to_string();
        let digest = Digest::sha256(text.as_bytes());
        let reference = tag.clone().unwrap_or_else(|| digest.to_string());
        let path = format!("/v2/app/manifests/{reference}");
        app.put_manifest(&path, kind, text.as_bytes()).await.ok(201);
        self.items.push(Item {
            digest,
            children: Vec::new(),
            subject: None,
        });
        self.pushes += 1;
        if let Some(tag) = tag {
            let tagged = Tagged {
                item: number,
                pushed: self.pushes,
                old: false,
                named: None,
            };
            self.tags.insert(tag, tagged);
        }
        number
    }

    async fn apply(&mut self, app: &App, config: &Digest, step: &Step) {
        let there = self.items.len();
        let named = |tag: &Option<u8>| tag.map(|tag| format!("t{tag}"));
        match step {
            Step::Image(tag) => {
                self.put(app, image(config, &[]), MANIFEST, named(tag))
                    .await;
            }
            Step::Index(..) | Step::Referrer(..) if there == 0 => {}
            Step::Index(a, b, tag) => {
                let mut children = vec![a % there, b % there];
                children.dedup();
                let entry = |at: &usize| json!({"mediaType": MANIFEST, "digest": self.items[*at].digest, "size": 1});
                let entries: Vec<Value> = children.iter().map(entry).collect();
                let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
                let number = self.put(app, text, INDEX, named(tag)).await;
                self.items[number].children = children;
            }
            Step::Referrer(of, tag) => {
                let of = of % there;
                let mut text = image(config, &[]);
                let digest = &self.items[of].digest;
                text["subject"] = json!({"mediaType": MANIFEST, "digest": digest, "size": 1});
                let number = self.put(app, text, MANIFEST, named(tag)).await;
                self.items[number].subject = Some(of);
            }
            Step::Signature(of) => {
                let of = of.filter(|_| there > 0).map(|of| of % there);
                let digest = match of {
                    Some(of) => self.items[of].digest.clone(),
                    None => Digest::sha256(b"what is not here"),
                };
                let tag = format!("sha256-{}.sig", digest.hex());
                self.put(app, image(config, &[]), MANIFEST, Some(tag.clone()))
                    .await;
                self.tags.get_mut(&tag).unwrap().named = Some(of);
            }
            Step::Age => {
                crate::images::age(app, 2 * GRACE as u32).await;
                self.tags.values_mut().for_each(|tag| tag.old = true);
            }
        }
    }

    /// What a tag belongs to, if it is no image's own.
    fn owner(&self, tag: &Tagged) -> Option<Option<usize>> {
        tag.named.or(self.items[tag.item].subject.map(Some))
    }

    /// What is left: tags, and manifests by number.
    fn retained(&self, newest: Option<usize>) -> (BTreeSet<String>, BTreeSet<usize>) {
        let mut tags = self.tags.clone();
        let mut own: Vec<(&String, usize)> = self
            .tags
            .iter()
            .filter(|(_, tag)| self.owner(tag).is_none())
            .map(|(name, tag)| (name, tag.pushed))
            .collect();
        own.sort_by_key(|(_, pushed)| std::cmp::Reverse(*pushed));
        if let Some(newest) = newest {
            for (name, _) in own.iter().skip(newest) {
                tags.remove(*name);
            }
        }
        tags.retain(|_, tag| !(tag.old && self.owner(tag) == Some(None)));
        let mut here: BTreeSet<usize> = (0..self.items.len()).collect();
        loop {
            let held = |at: usize| {
                let listed = here.iter().any(|i| self.items[*i].children.contains(&at));
                let refers = self.items[at].subject.is_some_and(|of| here.contains(&of));
                listed || refers || tags.values().any(|tag| tag.item == at)
            };
            let Some(gone) = here.iter().copied().find(|at| !held(*at)) else {
                break;
            };
            here.remove(&gone);
            tags.retain(|_, tag| self.owner(tag) != Some(Some(gone)));
        }
        (tags.into_keys().collect(), here)
    }
}

async fn collect(app: &App, dry_run: bool) -> Collected {
    let options = CollectOptions {
        grace: Duration::from_secs(GRACE),
        dry_run,
        every_file: false,
    };
    app.registry.collect(options).await.unwrap()
}

async fn check(newest: Option<usize>, steps: &[Step]) {
    let keep = newest.map_or_else(String::new, |n| format!("keep_newest = {n}\n"));
    let settings =
        format!("[[retention]]\nrepository = \"**\"\n{keep}delete_untagged_after = \"0s\"\n");
    let app = App::configured(|_| {}, &settings).await;
    let config = app.blob("app", b"{}").await;
    let mut model = Model::default();
    for step in steps {
        model.apply(&app, &config, step).await;
    }
    let (tags, here) = model.retained(newest);
    let dry = collect(&app, true).await;
    let done = collect(&app, false).await;
    assert_eq!((&dry.tags, &dry.manifests), (&done.tags, &done.manifests));
    let expected: BTreeSet<String> = model
        .tags
        .keys()
        .filter(|tag| !tags.contains(*tag))
        .map(|tag| format!("app:{tag}"))
        .collect();
    assert_eq!(done.tags.iter().cloned().collect::<BTreeSet<_>>(), expected);
    for (number, item) in model.items.iter().enumerate() {
        let status = if here.contains(&number) { 200 } else { 404 };
        let path = format!("/v2/app/manifests/{}", item.digest);
        app.head(&path).await.ok(status);
    }
    // What was kept once is kept again.
    let again = collect(&app, false).await;
    assert_eq!((again.tags, again.manifests), (Vec::new(), Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_goes_is_what_the_model_lets_go(
        newest in prop::option::of(0..3usize),
        steps in prop::collection::vec(step(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(newest, &steps));
    }
}
