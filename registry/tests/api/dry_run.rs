//! What a dry run says is what a collection then takes.

use oci::Digest;
use proptest::prelude::*;
use registry::service::Collected;

use crate::harness::App;
use crate::images::{age, configured, cosign, gc, index, refer};

const RULES: [&str; 6] = [
    "",
    "[[retention]]\nrepository = \"**\"\nkeep_newest = 1\n",
    "[[retention]]\nrepository = \"**\"\nkeep_newest = 1\ndelete_untagged_after = \"0s\"\n",
    "[[retention]]\nrepository = \"a\"\nkeep_pushed_within = \"1d\"\n\
     delete_untagged_after = \"1d\"\n[[immutable]]\nrepository = \"a\"\ntags = \"i1\"\n",
    "[[retention]]\nrepository = \"**\"\nkeep_pulled_within = \"1d\"\nkeep_tags = [\"sha256-*\"]\n\
     delete_untagged_after = \"0s\"\n",
    "[[retention]]\nrepository = \"**\"\ndelete_untagged_after = \"0s\"\n",
];

/// One step of a registry's life. What is there decides what it comes to.
async fn step(app: &App, pushed: &mut [Vec<Digest>; 2], (what, at, pick): (u8, usize, usize)) {
    let name = ["a", "b"][at];
    let some = pushed[at].get(pick % pushed[at].len().max(1)).cloned();
    let other = pushed[at].last().cloned();
    let tag = format!("t{}", pick % 3);
    match (what, some, other) {
        (0..=3, ..) => {
            let content = format!("content {}", pick % 5);
            // One that never moves always gets the same.
            let tag = if pick == 7 { "i1" } else { &tag };
            pushed[at].push(app.image(name, tag, &content).await.0);
        }
        (4, ..) => {
            app.blob(name, format!("stray {pick}").as_bytes()).await;
        }
        (5, Some(some), Some(other)) => {
            let listed = [&some, &other];
            let tag = (pick % 2 == 0).then_some("multi");
            if let Some(digest) = index(app, name, &listed, tag).await {
                pushed[at].push(digest);
            }
        }
        (6 | 7, Some(some), _) => {
            let suffix = [".sig", ".att", ""][pick % 3];
            pushed[at].push(cosign(app, name, &some, suffix).await);
        }
        (8, Some(some), _) => {
            let tag = (pick % 2 == 0).then_some("sbom");
            pushed[at].push(refer(app, name, &some, "sbom", tag).await);
        }
        (9, ..) => {
            app.delete(&format!("/v2/{name}/manifests/{tag}")).await;
        }
        (10, Some(some), _) => {
            app.delete(&format!("/v2/{name}/manifests/{some}")).await;
        }
        (11, ..) => {
            let layer = Digest::sha256(format!("content {}", pick % 5).as_bytes());
            app.delete(&format!("/v2/{name}/blobs/{layer}")).await;
        }
        (12, ..) => {
            app.head(&format!("/v2/{name}/manifests/{tag}")).await;
        }
        // No multiple of it is a day.
        (13, ..) => age(app, 13 * 3600).await,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn dry_runs_say_exactly_what_goes(
        rules in 0..RULES.len(),
        steps in prop::collection::vec((0..14u8, 0..2usize, 0..30usize), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let app = configured(&format!("[delete]\nneeded = true\n{}", RULES[rules])).await;
            let mut pushed = [Vec::new(), Vec::new()];
            for chosen in steps {
                step(&app, &mut pushed, chosen).await;
            }
            let trial = gc(&app, true).await;
            prop_assert_eq!(trial.links.len() as u64, trial.link_count);
            // A second look finds nothing changed by the first.
            prop_assert_eq!(&gc(&app, true).await, &trial);
            let done = gc(&app, false).await;
            prop_assert_eq!(Collected { links: Vec::new(), ..trial }, done);
            Ok(())
        })?;
    }
}
