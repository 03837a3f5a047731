//! What is written is read as the formats' documents say, with readers that know nothing of us.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::Digest;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// The files of a sample: names and contents.
fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("dir/empty".to_owned(), Vec::new()),
        ("dir/small".to_owned(), b"small\n".to_vec()),
        ("dir/round".to_owned(), noise(1, 1024)),
        ("large".to_owned(), noise(2, (9 << 20) + 77)),
        ("zeros".to_owned(), vec![0; (5 << 20) + 1]),
        (format!("long/{}", "n".repeat(150)), noise(3, 100_000)),
    ]
}

fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000_000);
    header
}

fn sample() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut dir = header(tar::EntryType::Directory, 0);
    tar.append_data(&mut dir, "dir/", &b""[..]).unwrap();
    for (name, content) in files() {
        let xattr = [("SCHILY.xattr.user.k", &b"\xff\x00v"[..])];
        tar.append_pax_extensions(xattr).unwrap();
        let mut file = header(tar::EntryType::Regular, content.len() as u64);
        tar.append_data(&mut file, name, &content[..]).unwrap();
    }
    let mut link = header(tar::EntryType::Symlink, 0);
    tar.append_link(&mut link, "link", "dir/small").unwrap();
    let mut link = header(tar::EntryType::Link, 0);
    tar.append_link(&mut link, "again", "dir/small").unwrap();
    let mut device = header(tar::EntryType::Char, 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    tar.append_data(&mut device, "null", &b""[..]).unwrap();
    let mut tar = tar.into_inner().unwrap();
    // As GNU tar fills its last record, and more.
    tar.resize(tar.len() + 300_000, 0);
    tar
}

fn compress(kind: Kind, tar: &[u8], piece: usize) -> io::Result<(Vec<u8>, Contents)> {
    let mut out = TocCompressor::new(kind.into(), Vec::new()).unwrap();
    for piece in tar.chunks(piece) {
        out.write_all(piece)?;
    }
    out.finish()
}

fn entries(toc: &[u8]) -> Vec<Value> {
    let toc: Value = serde_json::from_slice(toc).unwrap();
    assert_eq!(toc["version"], 1);
    toc["entries"].as_array().unwrap().clone()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or(0) as usize
}

/// What both tables say of the sample but where its content is.
fn assert_told(entries: &[Value]) {
    let of = |name: &str| entries.iter().find(|e| e["name"] == name).unwrap();
    let dir = of("dir/");
    assert_eq!(
        (&dir["type"], &dir["mode"], &dir["uid"], &dir["gid"]),
        (&"dir".into(), &0o4755.into(), &7.into(), &8.into())
    );
    assert_eq!(dir["modtime"], "2001-09-09T01:46:40Z");
    let (link, again) = (of("link"), of("again"));
    assert_eq!(
        (&link["type"], &link["linkName"]),
        (&"symlink".into(), &"dir/small".into())
    );
    assert_eq!(
        (&again["type"], &again["linkName"]),
        (&"hardlink".into(), &"dir/small".into())
    );
    let null = of("null");
    assert_eq!(
        (&null["type"], &null["devMajor"], &null["devMinor"]),
        (&"char".into(), &1.into(), &3.into())
    );
    for (name, content) in files() {
        let file = of(&name);
        assert_eq!(
            (&file["type"], number(&file["size"])),
            (&"reg".into(), content.len())
        );
        assert_eq!(file["xattrs"]["user.k"], STANDARD.encode(b"\xff\x00v"));
        if !content.is_empty() {
            assert_eq!(file["digest"], Digest::sha256(&content).to_string());
        }
    }
}

/// The pieces of a file: an entry, and those that go on with it.
fn pieces<'e>(entries: &'e [Value], name: &str) -> Vec<&'e Value> {
    entries.iter().filter(|e| e["name"] == name).collect()
}

#[test]
fn estargz_is_read_file_by_file() {
    let tar = sample();
    let (blob, contents) = compress(Kind::Estargz, &tar, 1 << 16).unwrap();
    // The footer is a member of 51 bytes; its extra field leads to the table.
    let footer = &blob[blob.len() - 51..];
    assert_eq!(footer[..4], [0x1f, 0x8b, 8, 4]);
    assert_eq!(
        (&footer[10..16], &footer[32..38]),
        (&[26, 0, b'S', b'G', 22, 0][..], &b"STARGZ"[..])
    );
    let hex = std::str::from_utf8(&footer[16..32]).unwrap();
    let toc_at = usize::from_str_radix(hex, 16).unwrap();
    let mut decoder = flate2::read::GzDecoder::new(&blob[toc_at..]);
    let mut archive = tar::Archive::new(&mut decoder);
    let mut file = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(file.path().unwrap().to_str(), Some("stargz.index.json"));
    let mut toc = Vec::new();
    file.read_to_end(&mut toc).unwrap();
    let digest = &contents.annotations["containerd.io/snapshot/stargz/toc.digest"];
    assert_eq!(*digest, Digest::sha256(&toc).to_string());
    let entries = entries(&toc);
    assert_told(&entries);
    for (name, content) in files().into_iter().filter(|(_, c)| !c.is_empty()) {
        let mut at = 0;
        for piece in pieces(&entries, &name) {
            assert_eq!(number(&piece["chunkOffset"]), at);
            let len = match number(&piece["chunkSize"]) {
                0 => content.len() - at,
                len => len,
            };
            let mut found = vec![0; len];
            let mut member = flate2::read::GzDecoder::new(&blob[number(&piece["offset"])..]);
            member.read_exact(&mut found).unwrap();
            assert!(found == content[at..at + len], "{name} at {at}");
            assert_eq!(piece["chunkDigest"], Digest::sha256(&found).to_string());
            at += len;
        }
        assert_eq!(at, content.len(), "{name}");
    }
    // Who knows no tables sees the same archive, and something behind its end.
    let mut plain = Vec::new();
    let mut all = flate2::read::MultiGzDecoder::new(&blob[..]);
    all.read_to_end(&mut plain).unwrap();
    assert!(plain[..tar.len()] == tar);
    assert_eq!(contents.diff_id.digest(), &Digest::sha256(&plain));
    let size = &contents.annotations["io.containers.estargz.uncompressed-size"];
    assert_eq!(*size, plain.len().to_string());
}

#[test]
fn zstd_chunked_is_read_file_by_file() {
    let tar = sample();
    let (blob, contents) = compress(Kind::ZstdChunked, &tar, 1 << 16).unwrap();
    let footer = &blob[blob.len() - 64..];
    let numbers: Vec<usize> = footer[..56]
        .chunks(8)
        .map(|n| u64::from_le_bytes(n.try_into().unwrap()) as usize)
        .collect();
    assert_eq!(&footer[56..], b"GNUlInUx");
    let annotation = |name: &str| {
        let name = format!("io.github.containers.zstd-chunked.{name}");
        contents.annotations[&name].clone()
    };
    let told = |numbers: &[usize]| {
        let texts: Vec<String> = numbers.iter().map(usize::to_string).collect();
        texts.join(":")
    };
    assert_eq!(annotation("manifest-position"), told(&numbers[..4]));
    assert_eq!(annotation("tarsplit-position"), told(&numbers[4..]));
    let table = &blob[numbers[0]..numbers[0] + numbers[1]];
    assert_eq!(
        annotation("manifest-checksum"),
        Digest::sha256(table).to_string()
    );
    let toc = zstd::decode_all(table).unwrap();
    assert_eq!((toc.len(), numbers[3]), (numbers[2], 1));
    let split = &blob[numbers[4]..numbers[4] + numbers[5]];
    let value: Value = serde_json::from_slice(&toc).unwrap();
    assert_eq!(value["tarSplitDigest"], Digest::sha256(split).to_string());
    let entries = entries(&toc);
    assert_told(&entries);
    for (name, content) in files().into_iter().filter(|(_, c)| !c.is_empty()) {
        let pieces = pieces(&entries, &name);
        let (from, to) = (
            number(&pieces[0]["offset"]),
            number(&pieces[0]["endOffset"]),
        );
        assert!(
            zstd::decode_all(&blob[from..to]).unwrap() == content,
            "{name}"
        );
        let ends = pieces[1..].iter().map(|p| number(&p["offset"])).chain([to]);
        for (piece, end) in pieces.iter().zip(ends).filter(|_| pieces.len() > 1) {
            let (at, len) = (number(&piece["chunkOffset"]), number(&piece["chunkSize"]));
            let found = zstd::decode_all(&blob[number(&piece["offset"])..end]).unwrap();
            assert!(found == content[at..at + len], "{name} at {at}");
            assert_eq!(piece["chunkDigest"], Digest::sha256(&found).to_string());
        }
    }
    // Large files are cut where their content says so.
    assert!(pieces(&entries, "large").len() > 20);
    // Who knows no tables sees the archive alone.
    assert!(zstd::decode_all(&blob[..]).unwrap() == tar);
    assert_eq!(contents.diff_id.digest(), &Digest::sha256(&tar));
    // And with its files, what was split is the archive too.
    let split = zstd::decode_all(split).unwrap();
    assert_eq!(split.len(), numbers[6]);
    let mut whole = Vec::new();
    for (position, line) in split
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .enumerate()
    {
        let line: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(number(&line["position"]), position);
        if line["type"] == 2 {
            let bytes = STANDARD.decode(line["payload"].as_str().unwrap()).unwrap();
            whole.extend_from_slice(&bytes);
        } else if number(&line["size"]) > 0 {
            let (_, content) = files()
                .into_iter()
                .find(|(n, _)| line["name"] == **n)
                .unwrap();
            assert_eq!(number(&line["size"]), content.len());
            whole.extend_from_slice(&content);
        }
    }
    assert!(whole == tar);
}

#[test]
fn the_bytes_depend_on_nothing_but_the_tar() {
    let tar = sample();
    for kind in [Kind::Estargz, Kind::ZstdChunked] {
        let expected = compress(kind, &tar, tar.len()).unwrap();
        for piece in [777, 1 << 20] {
            assert!(
                compress(kind, &tar, piece).unwrap() == expected,
                "{kind} {piece}"
            );
        }
    }
    assert!(TocCompressor::new(Kind::Gzip.into(), Vec::new()).is_err());
}

#[test]
fn an_archive_of_nothing_has_an_empty_table() {
    for kind in [Kind::Estargz, Kind::ZstdChunked] {
        let (blob, _) = compress(kind, &[0; 1024], 100).unwrap();
        let (_, mut plain) = crate::layer::compression::decompress(&blob[..]).unwrap();
        let mut bytes = Vec::new();
        plain.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(&[0; 1024]), "{kind}");
    }
}

#[test]
fn what_no_table_can_tell_is_refused_by_name() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut file = header(tar::EntryType::Regular, 0);
    file.as_mut_bytes()[..3].copy_from_slice(b"n\xff\0");
    file.set_cksum();
    tar.append(&file, &b""[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    for kind in [Kind::Estargz, Kind::ZstdChunked] {
        let error = compress(kind, &tar, 512).unwrap_err().to_string();
        assert!(error.contains("no UTF-8"), "{kind}: {error}");
        let cut = compress(kind, &sample()[..100_000], 512).unwrap_err();
        assert!(!cut.to_string().is_empty());
    }
}
