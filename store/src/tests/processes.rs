//! With real processes: this test binary runs itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::PruneOptions;

const ROLE: &str = "RBUILD_STORE_TEST_ROLE";
const ROOT: &str = "RBUILD_STORE_TEST_ROOT";
const READY: &str = "child is ready";

fn spawn(role: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::processes::child", "--nocapture"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_until_ready(child: &mut Child) {
    let output = BufReader::new(child.stdout.take().unwrap());
    let ready = output.lines().any(|line| line.unwrap().contains(READY));
    assert!(ready, "the child ended before it was ready");
}

/// What the children do.
#[tokio::test]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        println!("skipped: this is run by the other tests, in a process of its own");
        return;
    };
    let root = std::env::var(ROOT).unwrap();
    let store = Store::open(&root).await.unwrap();
    match role.as_str() {
        "build" => {
            for n in 0..10 {
                let base = layers(&store, &["base"]).await;
                let own = format!("{} {n}", std::process::id());
                let top = layer(&store, Some(&base), &own).await;
                store
                    .cache_put(record(&own, Some(&top.chain_id)))
                    .await
                    .unwrap();
            }
            let pid = std::process::id().to_string();
            store
                .put_image(image(&["base"], &[&format!("p{pid}")]))
                .await
                .unwrap();
        }
        "hang" => {
            let _lease = store.lease().await.unwrap();
            let committed = layer(&store, None, "committed").await;
            store
                .cache_put(record("committed", Some(&committed.chain_id)))
                .await
                .unwrap();
            let staged = store.begin_snapshot().await.unwrap();
            std::fs::write(staged.upper().join("half"), b"written").unwrap();
            println!("\n{READY}");
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        other => panic!("no role {other}"),
    }
}

#[tokio::test]
async fn processes_build_into_one_store_at_once() {
    let f = Fixture::new().await;
    let children: Vec<_> = (0..3).map(|_| spawn("build", &f.root())).collect();
    for mut child in children {
        let pid = child.id();
        assert!(child.wait().unwrap().success());
        for n in 0..10 {
            let name = format!("{pid} {n}");
            assert!(
                f.store.cache_get(&key(&name)).await.unwrap().is_some(),
                "{name}"
            );
        }
        assert!(f.store.resolve(&format!("p{pid}")).await.is_ok());
    }
    assert_eq!(f.store.images().await.unwrap().len(), 1);
    assert_eq!(entries(&f.store.0.layout.staging), 0);
}

#[tokio::test]
async fn after_a_kill_what_was_committed_is_there_and_the_rest_goes() {
    let f = Fixture::new().await;
    let mut child = spawn("hang", &f.root());
    wait_until_ready(&mut child);
    let everything = PruneOptions {
        all: true,
        ..PruneOptions::default()
    };

    // Alive, it keeps what it has made, finished or not.
    let report = f.store.prune(&everything).await.unwrap();
    assert_eq!((report.cache.len(), report.snapshots), (0, 0));
    assert_eq!(entries(&f.store.0.layout.staging), 1);

    child.kill().unwrap();
    child.wait().unwrap();
    let next = f.again().await;
    let hit = next.cache_get(&key("committed")).await.unwrap().unwrap();
    let chain = next.chain(&hit.chain_id.unwrap()).await.unwrap();
    assert_eq!(
        std::fs::read(chain[0].fs_path.join("committed")).unwrap(),
        b"committed"
    );
    let report = next.prune(&everything).await.unwrap();
    assert_eq!((report.cache.len(), report.snapshots), (1, 1));
    assert_eq!(entries(&f.store.0.layout.staging), 0);
    assert_eq!(entries(&f.store.0.layout.leases), 0);
}

#[tokio::test]
async fn the_next_build_tidies_up_after_a_killed_one() {
    let f = Fixture::new().await;
    let mut child = spawn("hang", &f.root());
    wait_until_ready(&mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(entries(&f.store.0.layout.staging), 1);
    let staged = f.store.begin_snapshot().await.unwrap();
    for _ in 0..1000 {
        if entries(&f.store.0.layout.staging) == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(entries(&f.store.0.layout.staging), 1);
    assert!(staged.upper().exists());
}
