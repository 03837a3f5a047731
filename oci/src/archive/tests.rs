use std::io::{Read, Write};

use serde_json::{Value, json};

use super::names::{INDEX, MANIFEST, OCI_LAYOUT, blob_path};
use super::read::{self, ReadOptions};
use super::write::{self, Format, ImageSource, LayerSource};
use super::*;
use crate::layer::compression::Encoding;
use crate::layer::header::Kind;
use crate::layer::testing::{Tar, Tree, listing};
use crate::media_type;
use crate::{Descriptor, Digest, Reference};

pub(super) struct Bytes {
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

impl LayerSource for Bytes {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn write_to(
        &self,
        out: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // In pieces, as a walk of a snapshot would.
        for piece in self.bytes.chunks(100) {
            out.write_all(piece)?;
        }
        Ok(())
    }
}

fn layer(tar: Vec<u8>, gzip: bool) -> Bytes {
    let (media_type, bytes) = if gzip {
        let mut bytes = Vec::new();
        flate2::read::GzEncoder::new(&tar[..], flate2::Compression::fast())
            .read_to_end(&mut bytes)
            .unwrap();
        (media_type::DOCKER_LAYER_GZIP, bytes)
    } else {
        (media_type::OCI_LAYER, tar)
    };
    let digest = Digest::sha256(&bytes);
    Bytes {
        descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
        bytes,
    }
}

fn finished(tar: Tar) -> Vec<u8> {
    [tar.0, vec![0; 1024]].concat()
}

/// An image of a plain and a gzipped layer.
struct Image {
    tars: Vec<Vec<u8>>,
    layers: Vec<Bytes>,
    config: Vec<u8>,
    references: Vec<Reference>,
}

impl Image {
    fn new(content: &str, references: &[&str]) -> Self {
        let tars = vec![
            finished(Tar::default().file("base", "base")),
            finished(Tar::default().file("top", content)),
        ];
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/base"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": tars.iter().map(|t| Digest::sha256(t)).collect::<Vec<_>>(),
            },
        });
        Self {
            layers: vec![layer(tars[0].clone(), false), layer(tars[1].clone(), true)],
            tars,
            config: config.to_string().into_bytes(),
            references: references.iter().map(|r| r.parse().unwrap()).collect(),
        }
    }

    fn source(&self) -> ImageSource<'_> {
        ImageSource {
            config: &self.config,
            manifest: None,
            references: &self.references,
            layers: self.layers.iter().map(|l| l as &dyn LayerSource).collect(),
            listed: false,
            annotations: Default::default(),
        }
    }

    fn save(&self, format: Format) -> Vec<u8> {
        save(&[self], format)
    }

    fn check(&self, read: &ArchivedImage) {
        assert_eq!(read.config, self.config);
        assert_eq!(read.references, self.references);
        assert_eq!(read.layers.len(), 2);
        for (layer, tar) in read.layers.iter().zip(&self.tars) {
            let mut bytes = Vec::new();
            let mut verified = layer.open_tar(1 << 20).unwrap();
            verified.read_to_end(&mut bytes).unwrap();
            verified.finish().unwrap();
            assert!(bytes == *tar);
        }
    }
}

fn save(images: &[&Image], format: Format) -> Vec<u8> {
    let sources: Vec<_> = images.iter().map(|image| image.source()).collect();
    let mut bytes = Vec::new();
    write::tar(&sources, &[], format, &mut bytes).unwrap();
    bytes
}

/// Reads as from a pipe.
fn load(bytes: &[u8]) -> Result<ImageArchive, ArchiveError> {
    let dir = Tree::new();
    read::read(bytes, &ReadOptions::new(dir.0.path()))
}

fn refusal(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

#[test]
fn what_is_saved_is_loaded() {
    let one = Image::new("one", &["app:v1", "localhost:5000/app:v2"]);
    let two = Image::new("two", &[]);
    for format in [Format::Docker, Format::Oci] {
        let bytes = save(&[&one, &two], format);
        assert!(bytes == save(&[&one, &two], format), "not deterministic");
        let archive = load(&bytes).unwrap();
        assert_eq!(archive.images.len(), 2);
        one.check(&archive.images[0]);
        two.check(&archive.images[1]);
        let layers = &archive.images[0].layers;
        assert_eq!(layers[0].compression, Encoding::None);
        assert_eq!(layers[1].compression, Encoding::Gzip);
        assert_eq!(
            layers[1].descriptor.as_ref().unwrap().digest,
            one.layers[1].descriptor.digest
        );
        assert!(archive.images[0].manifest.is_some());
    }
}

#[test]
fn an_archive_has_what_docker_save_writes() {
    let image = Image::new("one", &["app:v1"]);
    let bytes = image.save(Format::Docker);
    let list = listing(&bytes);
    let names: Vec<_> = list
        .lines()
        .map(|line| line.split(' ').nth(2).unwrap())
        .filter(|name| !name.starts_with("blobs/sha256/") || name.ends_with('/'))
        .collect();
    assert_eq!(
        names,
        [
            "blobs/",
            "blobs/sha256/",
            "index.json",
            "manifest.json",
            "oci-layout",
            "repositories"
        ]
    );
    let dir = Tree::new();
    std::fs::write(dir.path("archive"), &bytes).unwrap();
    let files = files::Files::tar(std::fs::File::open(dir.path("archive")).unwrap()).unwrap();
    let manifest: Value =
        serde_json::from_slice(&files.read("manifest.json", 10_000).unwrap()).unwrap();
    assert_eq!(
        manifest,
        json!([{
            "Config": format!("blobs/sha256/{}", Digest::sha256(&image.config).hex()),
            "RepoTags": ["app:v1"],
            "Layers": image.layers.iter()
                .map(|l| format!("blobs/sha256/{}", l.descriptor.digest.hex()))
                .collect::<Vec<_>>(),
        }])
    );
    let index: Value = serde_json::from_slice(&files.read("index.json", 10_000).unwrap()).unwrap();
    assert_eq!(
        index["manifests"][0]["annotations"],
        json!({
            "io.containerd.image.name": "docker.io/library/app:v1",
            "org.opencontainers.image.ref.name": "v1",
        })
    );
    // A manifest lists OCI's types, whatever the blobs came as.
    let oci = &load(&bytes).unwrap().images[0].manifest.clone().unwrap().1;
    let oci: Value = serde_json::from_slice(oci).unwrap();
    assert_eq!(oci["layers"][1]["mediaType"], media_type::OCI_LAYER_GZIP);
}

#[test]
fn compressed_archives_and_files_are_read() {
    let image = Image::new("one", &["app:v1"]);
    let plain = image.save(Format::Docker);
    let mut gzip = Vec::new();
    flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast())
        .read_to_end(&mut gzip)
        .unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let dir = Tree::new();
    for bytes in [plain, gzip, zstd] {
        image.check(&load(&bytes).unwrap().images[0]);
        std::fs::write(dir.path("archive"), &bytes).unwrap();
        let options = ReadOptions::new(dir.0.path());
        let archive = read::open(&dir.path("archive"), &options).unwrap();
        image.check(&archive.images[0]);
        assert_eq!(dir.names(""), ["archive"]);
    }
}

#[test]
fn what_is_spooled_is_bounded() {
    let dir = Tree::new();
    let options = ReadOptions {
        max_size: 1000,
        ..ReadOptions::new(dir.0.path())
    };
    let bytes = Image::new("one", &[]).save(Format::Docker);
    let error = read::read(&bytes[..], &options).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
}

#[test]
fn a_manifest_that_came_with_the_image_is_kept() {
    let image = Image::new("one", &["app:v1"]);
    let descriptor =
        |d: &Descriptor| json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|l| descriptor(&l.descriptor))
        .collect();
    let config = Descriptor::new(
        media_type::DOCKER_CONFIG,
        Digest::sha256(&image.config),
        image.config.len() as u64,
    );
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_MANIFEST,
        "config": descriptor(&config),
        "layers": layers,
        "unknown": "kept",
    })
    .to_string();
    let source = ImageSource {
        manifest: Some(manifest.as_bytes()),
        ..image.source()
    };
    let mut bytes = Vec::new();
    write::tar(&[source], &[], Format::Oci, &mut bytes).unwrap();
    let read = &load(&bytes).unwrap().images[0];
    image.check(read);
    assert_eq!(
        read.manifest,
        Some((
            media_type::DOCKER_MANIFEST.into(),
            manifest.clone().into_bytes()
        ))
    );
    let other = Image::new("two", &[]);
    let source = ImageSource {
        manifest: Some(manifest.as_bytes()),
        ..other.source()
    };
    write::tar(&[source], &[], Format::Oci, &mut Vec::new()).unwrap_err();
}

#[test]
fn a_directory_takes_more_images_and_replaces_names() {
    let dir = Tree::new();
    let options = ReadOptions::new(dir.0.path());
    let one = Image::new("one", &["app:v1", "app:old"]);
    let two = Image::new("two", &["app:v1"]);
    let layout = dir.path("layout");
    write::directory(&[one.source()], &[], &layout).unwrap();
    one.check(&read::open(&layout, &options).unwrap().images[0]);
    write::directory(&[two.source()], &[], &layout).unwrap();
    write::directory(&[two.source()], &[], &layout).unwrap();
    let archive = read::open(&layout, &options).unwrap();
    assert_eq!(archive.images.len(), 2);
    assert_eq!(
        archive.images[0].references[0].to_string(),
        "docker.io/library/app:old"
    );
    two.check(&archive.images[1]);
    assert_eq!(dir.names("layout"), ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn a_layer_source_that_lies_is_found_out() {
    let lie = |change: &dyn Fn(&mut Bytes)| {
        let mut image = Image::new("one", &[]);
        change(&mut image.layers[0]);
        write::tar(&[image.source()], &[], Format::Oci, &mut Vec::new()).unwrap_err()
    };
    let error = lie(&|layer| layer.bytes.push(0));
    assert!(error.to_string().contains("more than the"), "{error}");
    let error = lie(&|layer| layer.bytes.truncate(5));
    assert!(error.to_string().contains("size mismatch"), "{error}");
    let error = lie(&|layer| layer.bytes[0] ^= 1);
    assert!(error.to_string().contains("digest mismatch"), "{error}");
}

/// The archive of `docker save` before version 25: a directory a layer, and where two images
/// share one, a symbolic link to it.
fn old_docker(image: &Image, link: &str) -> Tar {
    let config = String::from_utf8(image.config.clone()).unwrap();
    let name = format!("{}.json", Digest::sha256(&image.config).hex());
    let manifest = json!([
        {"Config": name, "RepoTags": ["app:v1"], "Layers": ["aa/layer.tar", "bb/layer.tar"]},
    ]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Tar::default()
        .dir("aa/", 0o755)
        .file("aa/VERSION", "1.0")
        .symlink("aa/layer.tar", link)
        .dir("bb/", 0o755)
        .file("bb/layer.tar", &text(&image.tars[1]))
        .dir("cc/", 0o755)
        .file("cc/layer.tar", &text(&image.tars[0]))
        .file(name, &config)
        .file("manifest.json", &manifest.to_string())
}

#[test]
fn archives_of_older_dockers_are_read() {
    let image = Image::new("one", &["app:v1"]);
    for link in ["../cc/layer.tar", "/cc/layer.tar"] {
        let read = &load(&old_docker(&image, link).0).unwrap().images[0];
        image.check(read);
        assert!(read.manifest.is_none() && read.layers[0].descriptor.is_none());
        assert_eq!(read.layers[0].media_type().unwrap(), media_type::OCI_LAYER);
    }
}

#[test]
fn links_cannot_lead_out_of_an_archive() {
    let image = Image::new("one", &["app:v1"]);
    for (link, why) in [
        ("../../../etc/passwd", "leads out"),
        ("/etc/passwd", "has no aa/layer.tar"),
        ("layer.tar", "no regular file"),
    ] {
        let error = refusal(&old_docker(&image, link).0);
        assert!(error.contains(why), "{link}: {error}");
    }
    let outside = Tar::default().file(
        "manifest.json",
        r#"[{"Config":"../../etc/passwd","Layers":[]}]"#,
    );
    assert!(refusal(&outside.0).contains("leads out"));
    let fifo = Tar::default()
        .file("manifest.json", r#"[{"Config":"c","Layers":[]}]"#)
        .link(Kind::Fifo, "c", "");
    assert!(refusal(&fifo.0).contains("has no c"));
}

#[test]
fn links_cannot_lead_out_of_a_directory() {
    let dir = Tree::new();
    let options = ReadOptions::new(dir.0.path());
    let layout = dir.path("layout");
    let image = Image::new("one", &[]);
    write::directory(&[image.source()], &[], &layout).unwrap();
    let blob = layout.join(blob_path(&image.layers[0].descriptor.digest));
    std::fs::rename(&blob, dir.path("outside")).unwrap();
    std::os::unix::fs::symlink(dir.path("outside"), &blob).unwrap();
    let error = read::open(&layout, &options).unwrap_err();
    assert!(matches!(error, ArchiveError::Missing(_)), "{error}");
}

/// The archive with one file's content replaced.
fn with_file(bytes: &[u8], name: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    let mut archive = tar::Archive::new(bytes);
    let mut builder = tar::Builder::new(Vec::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry.path().unwrap().to_str() == Some(name) {
            content = change(String::from_utf8(content).unwrap()).into_bytes();
            header.set_size(content.len() as u64);
            header.set_cksum();
        }
        builder.append(&header, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn contradictions_are_refused() {
    let image = Image::new("one", &["app:v1"]);
    let config = blob_path(&Digest::sha256(&image.config));
    let layer = blob_path(&image.layers[0].descriptor.digest);
    let size = image.layers[0].descriptor.size;
    for (format, file, from, to, why) in [
        (
            Format::Docker,
            config.as_str(),
            "amd64",
            "arm64",
            "should have the digest",
        ),
        (
            Format::Oci,
            config.as_str(),
            "amd64",
            "arm64",
            "should have the digest",
        ),
        (
            Format::Oci,
            layer.as_str(),
            "base\0",
            "base",
            "its descriptor says",
        ),
        (
            Format::Docker,
            MANIFEST,
            "[\"blobs/",
            "[\"nowhere/",
            "has no nowhere/",
        ),
        (
            Format::Docker,
            MANIFEST,
            "\"Layers\":[",
            "\"Layers\":[\"x\",",
            "has 2 diff IDs",
        ),
        (
            Format::Docker,
            MANIFEST,
            "app:v1",
            "App:v1",
            "no image name",
        ),
        (Format::Docker, MANIFEST, "}]", "}", "not valid"),
        (Format::Oci, INDEX, "sha256:", "sha256:../../", "not valid"),
        (
            Format::Oci,
            INDEX,
            "\"manifests\":",
            "\"layers\":[],\"manifests\":",
            "ambiguous",
        ),
        (Format::Oci, OCI_LAYOUT, "1.0.0", "2.0.0", "version 2.0.0"),
    ] {
        let bytes = with_file(&image.save(format), file, |text| {
            assert!(text.contains(from), "{text}");
            text.replacen(from, to, 1)
        });
        let error = refusal(&bytes);
        assert!(error.contains(why), "{file}: {error}");
    }
    // The content of a layer is verified when it is read.
    let bytes = with_file(&image.save(Format::Oci), &layer, |text| {
        assert_eq!(text.len() as u64, size);
        text.replacen("base", "evil", 1)
    });
    let read = &load(&bytes).unwrap().images[0];
    read.layers[0]
        .open_tar(1 << 20)
        .unwrap()
        .finish()
        .unwrap_err();
}

#[test]
fn documents_are_bounded() {
    let image = Image::new("one", &["app:v1"]);
    for (format, file) in [
        (Format::Docker, MANIFEST),
        (Format::Oci, INDEX),
        (Format::Oci, OCI_LAYOUT),
    ] {
        let bytes = with_file(&image.save(format), file, |text| {
            text + &" ".repeat(5 << 20)
        });
        let error = load(&bytes).unwrap_err();
        assert!(
            matches!(error, ArchiveError::TooLarge { .. }),
            "{file}: {error}"
        );
    }
}

#[test]
fn indexes_in_indexes_are_followed_within_bounds() {
    let image = Image::new("one", &[]);
    let bytes = image.save(Format::Oci);
    let manifest = load(&bytes).unwrap().images[0].manifest.clone().unwrap();
    let entry = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::sha256(bytes), "size": bytes.len()});
    let nested = |depth: usize| {
        let missing = entry(media_type::OCI_MANIFEST, b"not saved");
        let mut entries = vec![missing, entry(media_type::OCI_MANIFEST, &manifest.1)];
        let mut blobs = Tar::default();
        for _ in 0..depth {
            let index = json!({
                "schemaVersion": 2,
                "mediaType": media_type::OCI_INDEX,
                "manifests": entries,
            });
            let index = index.to_string();
            blobs = blobs.file(blob_path(&Digest::sha256(index.as_bytes())), &index);
            entries = vec![entry(media_type::OCI_INDEX, index.as_bytes())];
        }
        entries[0]["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:v1"});
        let top = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        let saved = with_file(&bytes, INDEX, |_| top.clone());
        // In front of the others, without their end.
        [blobs.0, saved].concat()
    };
    let read = load(&nested(1)).unwrap();
    assert_eq!(read.images.len(), 1);
    assert_eq!(read.images[0].references[0].familiar(), "app:v1");
    assert_eq!(load(&nested(4)).unwrap().images.len(), 1);
    assert!(refusal(&nested(5)).contains("nested too deep"));
}

#[test]
fn other_files_are_told_apart() {
    let root = finished(Tar::default().file("etc/passwd", "root"));
    assert!(matches!(load(&root), Err(ArchiveError::NotAnArchive)));
    let old = finished(Tar::default().file("repositories", "{}"));
    assert!(matches!(load(&old), Err(ArchiveError::TooOld)));
    assert!(matches!(load(b"no tar at all"), Err(ArchiveError::Tar(_))));
    let cut = Image::new("one", &[]).save(Format::Oci);
    load(&cut[..(cut.len() / 2) & !511]).unwrap_err();
}
