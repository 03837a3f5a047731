//! Docker archives, which have no manifests, brought in.

use oci::Digest;
use serde_json::json;

use crate::harness::{App, MANIFEST};
use crate::layout::import;

/// What `docker save` writes: an archive without manifests.
#[tokio::test]
async fn docker_archives_are_taken_too() {
    let layer = oci_layer();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]}})
    .to_string();
    let hex = Digest::sha256(config.as_bytes()).hex().to_owned();
    let manifest = json!([{"Config": format!("{hex}.json"), "Layers": ["one/layer.tar"],
        "RepoTags": ["app:v1", "localhost:5000/team/app:v2"]}])
    .to_string();
    let work = tempfile::tempdir().unwrap();
    let tar = work.path().join("app.tar");
    let files = [
        (format!("{hex}.json"), config.as_bytes()),
        ("one/layer.tar".to_owned(), &layer),
        ("manifest.json".to_owned(), manifest.as_bytes()),
    ];
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(tar_entry(&name, content));
    }
    bytes.resize(bytes.len() + 1024, 0);
    std::fs::write(&tar, bytes).unwrap();

    let app = App::new().await;
    let imported = import(&app, &tar, None).await;
    assert_eq!(imported.skipped, Vec::<String>::new());
    assert_eq!(
        (imported.repositories, imported.tags, imported.blobs),
        (2, 2, 2)
    );
    let first = app.get("/v2/app/manifests/v1").await.ok(200);
    let second = app.get("/v2/team/app/manifests/v2").await.ok(200);
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("content-type"), MANIFEST);
    let manifest = first.json();
    assert_eq!(manifest["layers"][0]["size"], layer.len());
    let path = format!(
        "/v2/app/blobs/{}",
        manifest["layers"][0]["digest"].as_str().unwrap()
    );
    assert_eq!(&app.get(&path).await.ok(200).body[..], layer);
    let again = import(&app, &tar, Some("other")).await;
    assert_eq!((again.repositories, again.blobs), (1, 0));
    let tags = app.get("/v2/other/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["v1", "v2"]));
}

/// A tar with one file.
pub fn oci_layer() -> Vec<u8> {
    let mut tar = tar_entry("hello", b"hi");
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn tar_entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = header.to_vec();
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}
