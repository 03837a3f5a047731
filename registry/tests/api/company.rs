//! Limits, leaders and locks, where several processes serve.

use std::time::Duration;

use axum::body::Body;
use oci::Digest;
use registry::config::Settings;
use registry::policy::Policy;
use registry::service::Registry;

use crate::harness::App;
use crate::replicas::Shared;
use crate::s3;

impl Shared {
    async fn limited(&self, settings: &str) -> App {
        let dir = tempfile::tempdir().unwrap();
        let backend = s3::on_store(self.dir.path(), s3::server().addr);
        App::limited_on(dir, &backend, &self.place, policy(settings)).await
    }

    async fn alone(&self) -> Result<Registry, String> {
        let dir = tempfile::tempdir().unwrap();
        let backend = s3::on_store(self.dir.path(), s3::server().addr);
        let opened = Registry::alone(dir.path(), Policy::default(), &backend, &self.place);
        opened.await.map_err(|e| e.to_string())
    }
}

fn policy(settings: &str) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    std::fs::write(&file, settings).unwrap();
    Settings::from_file(&file).unwrap().check().unwrap().policy
}

/// Each knows of the others' blobs before it lets one of its own in.
#[tokio::test(flavor = "multi_thread")]
async fn what_fits_is_decided_for_all_of_them() {
    let Some(shared) = Shared::new() else { return };
    let settings = "[[quota]]\nrepository = \"team/**\"\ntogether = \"1000B\"\n";
    let apps = [
        shared.limited(settings).await,
        shared.limited(settings).await,
        shared.limited(settings).await,
    ];
    let push = async |app: &App, who: usize| {
        let (mut taken, mut refused) = (0, 0);
        for n in 0..12_u8 {
            let content = [n + 100 * u8::try_from(who).unwrap(); 100];
            let digest = Digest::sha256(&content);
            let path = format!("/v2/team/{who}/blobs/uploads/?digest={digest}");
            let answer = app.request("POST", &path, &[], Body::from(content.to_vec()));
            match answer.await.status.as_u16() {
                201 => taken += 1,
                403 => refused += 1,
                other => panic!("{other}"),
            }
        }
        (taken, refused)
    };
    let [a, b, c] = &apps;
    let (first, second, third) = tokio::join!(push(a, 0), push(b, 1), push(c, 2));
    let taken = first.0 + second.0 + third.0;
    assert_eq!(taken, 10, "{first:?} {second:?} {third:?}");
    assert_eq!(taken + first.1 + second.1 + third.1, 36);
    for app in &apps {
        let used = app.registry.usage_report().await.unwrap();
        assert_eq!(used.bytes, 1000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_another_one_when_it_is_gone() {
    let Some(shared) = Shared::new() else { return };
    let mut apps = vec![
        shared.limited("").await,
        shared.limited("").await,
        shared.limited("").await,
    ];
    while apps.len() > 1 {
        let leader = loop {
            if let Some(at) = apps.iter().position(|app| app.registry.leads()) {
                break at;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let leaders = apps.iter().filter(|app| app.registry.leads()).count();
        assert_eq!(leaders, 1);
        let gone = apps.remove(leader);
        gone.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_be_alone_waits_for_all_to_end() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = (shared.limited("").await, shared.limited("").await);
    a.blob("app", b"content").await;
    a.stop().await;
    let why = shared.alone().await.unwrap_err();
    assert!(why.contains("is served by another rregistry"), "{why}");
    b.stop().await;
    // In an empty directory: the database knows whose the store is.
    let alone = shared.alone().await.unwrap();
    assert_eq!(alone.usage().await.unwrap().blobs, 1);
    alone.close().await;
    let again = shared.limited("").await;
    assert_eq!(again.registry.usage().await.unwrap().blobs, 1);
}
