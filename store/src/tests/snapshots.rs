use super::*;
use crate::Error;

#[tokio::test]
async fn a_chain_comes_topmost_first() {
    let f = Fixture::new().await;
    let top = layers(&f.store, &["a", "b", "c"]).await;
    let chain = f.store.chain(&top).await.unwrap();
    let names: Vec<_> = chain.iter().map(|s| s.diff_id.clone()).collect();
    assert_eq!(names, [diff("c"), diff("b"), diff("a")]);
    assert_eq!(std::fs::read(chain[2].fs_path.join("a")).unwrap(), b"a");
    assert_eq!(chain[0], f.store.snapshot(&top).await.unwrap().unwrap());
    let nowhere = ChainId(Digest::empty());
    assert!(f.store.chain(&nowhere).await.unwrap().is_empty());
    assert!(f.store.snapshot(&nowhere).await.unwrap().is_none());
    assert_eq!(entries(&f.store.0.layout.staging), 0);
}

#[tokio::test]
async fn a_second_commit_of_a_chain_keeps_the_first() {
    let f = Fixture::new().await;
    let first = layer(&f.store, None, "a").await;
    std::fs::write(first.fs_path.join("mark"), b"").unwrap();
    let second = layer(&f.again().await, None, "a").await;
    assert_eq!(first, second);
    assert!(second.fs_path.join("mark").exists());
}

#[tokio::test]
async fn the_directories_have_the_modes_of_a_root_and_a_work_directory() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new().await;
    let staged = f.store.begin_snapshot().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(staged.upper()), 0o755);
    assert_eq!(mode(&f.root()), 0o700);
    // What the kernel leaves behind in a work directory.
    std::fs::create_dir(staged.work().join("work")).unwrap();
    std::fs::write(staged.work().join("unexpected"), b"").unwrap();
    let snapshot = staged.commit(None, diff("a"), 0, 0, Some(7)).await.unwrap();
    assert_eq!(entries(snapshot.fs_path.parent().unwrap()), 1);
    assert_eq!(snapshot.clamp_mtime, Some(7));
}

#[tokio::test]
async fn trees_are_spread_over_the_disk() {
    use rustix::fs::{IFlags, ioctl_getflags};
    let f = Fixture::new().await;
    let staging = f.root().join("snapshots/staging");
    let flags = || ioctl_getflags(std::fs::File::open(&staging).unwrap());
    let before = match flags() {
        Ok(before) if rustix::fs::statfs(&staging).unwrap().f_type == 0xef53 => before,
        _ => return println!("skipped: this is no ext4"),
    };
    assert!(!before.contains(IFlags::TOPDIR));
    f.store.begin_snapshot().await.unwrap();
    assert_eq!(flags().unwrap(), before | IFlags::TOPDIR);
}

#[tokio::test]
async fn what_is_dropped_uncommitted_goes() {
    let f = Fixture::new().await;
    let staged = f.store.begin_snapshot().await.unwrap();
    let upper = staged.upper().to_path_buf();
    std::fs::write(upper.join("x"), b"x").unwrap();
    tokio::task::spawn_blocking(move || drop(staged))
        .await
        .unwrap();
    f.store.empty_trash().await.unwrap();
    assert!(!upper.exists());
    let orphan = f.store.begin_snapshot().await.unwrap();
    let nowhere = ChainId(Digest::empty());
    let error = orphan
        .commit(Some(&nowhere), diff("a"), 0, 0, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NoSuchSnapshot(id) if id == nowhere));
}

#[tokio::test]
async fn what_has_no_row_goes_at_once_and_is_counted() {
    let f = Fixture::new().await;
    let kept = layer(&f.store, None, "a").await;
    f.store.put_image(image(&["a"], &["a"])).await.unwrap();
    let layout = &f.store.0.layout;
    let orphan = layout.snapshot(2);
    let staging = layout.staging.join("dead");
    let trashed = layout.trash.join("dead");
    for (dir, megabytes) in [(&orphan, 3), (&staging, 5), (&trashed, 7)] {
        std::fs::create_dir_all(dir.join("fs")).unwrap();
        std::fs::write(dir.join("fs/file"), vec![1; megabytes << 20]).unwrap();
    }
    std::fs::hard_link(orphan.join("fs/file"), orphan.join("fs/again")).unwrap();
    let living = f.store.begin_snapshot().await.unwrap();
    std::fs::write(living.upper().join("x"), vec![1; 11 << 20]).unwrap();
    // Whoever begins a snapshot tidies up, too, unless that was done already.
    let pruned = f.again().await;
    let dry = crate::PruneOptions {
        dry_run: true,
        ..Default::default()
    };
    for options in [dry, crate::PruneOptions::default()] {
        let dry = options.dry_run;
        let report = pruned.prune(&options).await.unwrap();
        assert!(report.reclaimed >= 3 << 20, "{}", report.reclaimed);
        assert!(report.reclaimed < 16 << 20, "{}", report.reclaimed);
        assert_eq!(orphan.exists(), dry);
    }
    assert!(!staging.exists() && !trashed.exists());
    assert!(kept.fs_path.exists() && living.upper().exists());
    assert_eq!(
        pruned
            .prune(&crate::PruneOptions::default())
            .await
            .unwrap()
            .reclaimed,
        0
    );
    let upper = living.upper().to_owned();
    living.discard().await;
    assert!(!upper.exists());
    assert_eq!(entries(&layout.trash), 0);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_harms_nothing() {
    let f = Fixture::new().await;
    for n in 0..20u64 {
        let staged = f.store.begin_snapshot().await.unwrap();
        std::fs::write(staged.upper().join("cut"), b"short").unwrap();
        let commit = staged.commit(None, diff("a"), 0, 0, None);
        let limit = std::time::Duration::from_micros(n * 50);
        let _ = tokio::time::timeout(limit, commit).await;
    }
    let done = layer(&f.store, None, "b").await;
    assert_eq!(std::fs::read(done.fs_path.join("b")).unwrap(), b"b");
    if let Some(a) = f.store.snapshot(&ChainId(diff("a").0)).await.unwrap() {
        assert!(a.fs_path.join("cut").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_handles_commit_at_once() {
    let f = Fixture::new().await;
    let mut tasks = Vec::new();
    for n in 0..4 {
        let root = f.root();
        tasks.push(tokio::spawn(async move {
            let store = Store::open(&root).await.unwrap();
            let shared = layers(&store, &["base", "common"]).await;
            let own = layer(&store, Some(&shared), &format!("own {n}")).await;
            store
                .cache_put(record(&format!("{n}"), Some(&own.chain_id)))
                .await
                .unwrap();
            store.make_durable().await.unwrap();
            (shared, own.chain_id)
        }));
    }
    let mut shared = Vec::new();
    for task in tasks {
        let (common, own) = task.await.unwrap();
        assert_eq!(f.store.chain(&own).await.unwrap().len(), 3);
        shared.push(common);
    }
    shared.dedup();
    assert_eq!(shared.len(), 1);
    let keys: Vec<_> = (0..4).map(|n| key(&n.to_string())).collect();
    assert_eq!(f.store.cache_get_many(&keys).await.unwrap().len(), 4);
    // base, common, four of their own, and the staging directory.
    assert_eq!(entries(&f.store.0.layout.snapshots), 7);
}

#[tokio::test]
async fn a_layer_whose_files_are_gone_is_made_again() {
    let f = Fixture::new().await;
    let top = layers(&f.store, &["a", "b", "c"]).await;
    f.store.cache_put(record("c", Some(&top))).await.unwrap();
    let chain = f.store.chain(&top).await.unwrap();
    let (middle, bottom) = (&chain[1], &chain[2]);
    std::fs::remove_dir_all(&middle.fs_path).unwrap();
    assert!(f.store.chain(&top).await.unwrap().is_empty());
    assert!(f.store.cache_get(&key("c")).await.unwrap().is_none());
    assert!(f.store.snapshot(&bottom.chain_id).await.unwrap().is_some());
    assert_eq!(layers(&f.store, &["a", "b", "c"]).await, top);
    assert_eq!(f.store.chain(&top).await.unwrap().len(), 3);

    // What is committed takes the place of what is gone, before anybody has missed it.
    let before = f.store.snapshot(&bottom.chain_id).await.unwrap().unwrap();
    std::fs::remove_dir_all(before.fs_path.parent().unwrap()).unwrap();
    let again = layer(&f.store, None, "a").await;
    assert_eq!(again.fs_path, before.fs_path);
    assert!(again.fs_path.join("a").exists());
    assert_eq!(f.store.chain(&top).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_layer_on_several_stacks_has_its_files_once() {
    let f = Fixture::new().await;
    let linked = layer(&f.store, None, "linked").await;
    let (one, other) = (
        layer(&f.store, None, "one").await,
        layer(&f.store, None, "other").await,
    );
    let share = async |parent: &Snapshot| {
        let shared = f.store.share(&linked.chain_id, &parent.chain_id).await;
        shared.unwrap().unwrap()
    };
    let (on_one, on_other) = (share(&one).await, share(&other).await);
    assert_eq!(on_one, share(&one).await);
    assert_eq!(on_one.fs_path, linked.fs_path);
    let expected = ChainId::extend(Some(&other.chain_id), &diff("linked"));
    assert_eq!(on_other.chain_id, expected);
    let chain = f.store.chain(&on_other.chain_id).await.unwrap();
    assert_eq!(chain, [on_other.clone(), other.clone()]);
    // Twice in one stack, with something in between.
    let between = layer(&f.store, Some(&on_one.chain_id), "between").await;
    let twice = share(&between).await;
    let directories = f.store.directories(&twice.chain_id).await.unwrap();
    let expected = [&linked, &between, &one].map(|s| s.fs_path.clone());
    assert_eq!(directories, expected);

    // Whoever needs one of the stacks keeps the files, and no other stack.
    f.store
        .put_image(image(&["other", "linked"], &["app:1"]))
        .await
        .unwrap();
    f.age(3600).await;
    f.store
        .prune(&crate::PruneOptions::default())
        .await
        .unwrap();
    assert!(f.store.knows_snapshot(&on_other.chain_id).await.unwrap());
    assert!(!f.store.knows_snapshot(&one.chain_id).await.unwrap());
    assert!(linked.fs_path.join("linked").exists());

    // Where the files are taken away, every stack with them is forgotten.
    std::fs::remove_dir_all(&linked.fs_path).unwrap();
    assert!(
        f.store
            .snapshot(&on_other.chain_id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(!f.store.knows_snapshot(&linked.chain_id).await.unwrap());
}
