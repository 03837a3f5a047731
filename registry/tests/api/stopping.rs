//! A collection that has much to do, and a registry that is told to end meanwhile.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::images::{sql, texts};
use crate::process::{command_in, serve};

const IMAGES: i64 = 20_000;
/// Every configuration in its repository, and the base in each.
const LINKS: i64 = IMAGES + IMAGES / 10 + 1;

async fn links(dir: &std::path::Path) -> i64 {
    let count = texts(dir, "SELECT CAST(count(*) AS TEXT) FROM repository_blobs").await;
    count[0].parse().unwrap()
}

#[tokio::test]
async fn a_collection_ends_early_on_sigterm_and_the_next_one_finishes() {
    let dir = tempfile::tempdir().unwrap();
    drop(serve(dir.path()));
    let fill = include_str!("../growth.sql").replace("$N", &IMAGES.to_string());
    sql(dir.path(), &format!("{fill}; DELETE FROM manifests")).await;
    assert_eq!(links(dir.path()).await, LINKS);

    let mut registry = serve(dir.path());
    let gc = || {
        let mut gc = command_in(dir.path());
        gc.args(["gc", "--grace", "0s"]);
        gc
    };
    let collection = gc()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while links(dir.path()).await == LINKS {
        tokio::task::yield_now().await;
    }
    kill_process(Pid::from_child(&registry.child), Signal::TERM).unwrap();
    assert!(registry.child.wait().unwrap().success());
    let ended = collection.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{said}");
    assert!(said.contains("what is left goes the next time"), "{said}");

    let next = gc().output().unwrap();
    assert!(next.status.success());
    assert_eq!(links(dir.path()).await, 0);
    let nothing = String::from_utf8(gc().output().unwrap().stdout).unwrap();
    assert!(nothing.contains("freed 0 blobs, 0 bytes"), "{nothing}");
}
