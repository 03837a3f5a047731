use super::*;
use crate::layer::header::{Header, Kind};

/// All entries with their contents as stored.
fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ReadError> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let content = reader.rest()?;
        all.push((entry, content));
    }
    Ok(all)
}

fn raw(path: &[u8], flag: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path);
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn pax(records: &[u8]) -> Vec<u8> {
    raw(b"pax", b'x', records.len() as u64, records)
}

fn problem(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

#[test]
fn reads_what_the_tar_crate_writes() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "d/".repeat(150) + "file";
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(3_000_000);
    header.set_mtime(1 << 35);
    builder
        .append_data(&mut header, &long, &b"hello"[..])
        .unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "link", &long).unwrap();
    let all = read_all(&builder.into_inner().unwrap()).unwrap();
    let (file, content) = &all[0];
    assert_eq!(file.path, long.as_bytes());
    assert_eq!(content, b"hello");
    assert_eq!((file.mode, file.uid, file.gid), (0o4755, 1000, 3_000_000));
    assert_eq!(file.mtime, (1 << 35, 0));
    assert_eq!(all[1].0.kind, EntryKind::Symlink(long.into_bytes()));
    assert_eq!(all.len(), 2);
}

#[test]
fn reads_what_we_write() {
    let xattrs = [(b"user.x".to_vec(), b"a\nb=\0c".to_vec())];
    let path = [b"deep/".repeat(60).as_slice(), b"\xff\xfe"].concat();
    let header = Header {
        path: &path,
        kind: Kind::Char,
        link: b"",
        mode: 0o600,
        uid: u32::MAX - 1,
        gid: 7,
        mtime: -5,
        size: 0,
        device: (10, 200_000),
        xattrs: &xattrs,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let all = read_all(&bytes).unwrap();
    let entry = &all[0].0;
    assert_eq!(entry.path, path);
    assert_eq!(entry.kind, EntryKind::Char(10, 200_000));
    assert_eq!((entry.uid, entry.gid), (u32::MAX - 1, 7));
    assert_eq!(entry.mtime, (-5, 0));
    assert_eq!(entry.xattrs, xattrs);
}

#[test]
fn a_pax_size_decides_where_the_next_header_is() {
    // A reader that believes the ustar size of 512 would see the inner header as an entry.
    let inner = raw(b"inner", b'0', 0, b"");
    let mut bytes = pax(b"13 size=1024\n");
    bytes.extend(raw(
        b"outer",
        b'0',
        512,
        &[inner.as_slice(), &[7; 512]].concat(),
    ));
    bytes.extend(raw(b"after", b'0', 0, b""));
    let all = read_all(&bytes).unwrap();
    let names: Vec<_> = all.iter().map(|(e, _)| e.path.as_slice()).collect();
    assert_eq!(names, [&b"outer"[..], b"after"]);
    assert_eq!(all[0].1.len(), 1024);

    // And the other way round: PAX says 0, the header 512.
    let mut bytes = pax(b"10 size=0\n");
    bytes.extend(raw(b"outer", b'0', 512, b""));
    bytes.extend(inner);
    let all = read_all(&bytes).unwrap();
    assert_eq!(all[1].0.path, b"inner");
}

#[test]
fn a_nested_archive_is_content() {
    let nested = [raw(b"evil", b'0', 3, b"bad"), vec![0; 1024]].concat();
    let mut bytes = pax(b"20 mtime=1.25000000\n");
    bytes.extend(raw(b"inner.tar", b'0', nested.len() as u64, &nested));
    bytes.extend(raw(b"last", b'0', 0, b""));
    bytes.extend([0; 1024]);
    let all = read_all(&bytes).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].1, nested);
    assert_eq!(all[0].0.mtime, (1, 250_000_000));
}

#[test]
fn sizes_of_entries_without_content_are_not_believed() {
    for flag in [b'1', b'2', b'5'] {
        let bytes = [raw(b"x", flag, 512, b""), raw(b"next", b'0', 0, b"")].concat();
        assert_eq!(read_all(&bytes).unwrap()[1].0.path, b"next");
    }
}

#[test]
fn extended_headers_are_bounded() {
    for flag in [b'x', b'L', b'K'] {
        let bytes = raw(b"x", flag, MAX_EXTENSION + 1, b"");
        assert!(problem(&bytes).contains("more than 1 MiB"));
    }
    let twice = [
        pax(b"8 a=bcd\n"),
        pax(b"8 a=bcd\n"),
        raw(b"x", b'0', 0, b""),
    ]
    .concat();
    assert!(problem(&twice).contains("two extended headers"));
    assert!(problem(&pax(b"8 a=bcd\n")).contains("without the entry"));
}

#[test]
fn a_global_header_of_any_size_is_passed_over() {
    let comment = vec![b'c'; 3 << 20];
    let bytes = [
        raw(b"g", b'g', comment.len() as u64, &comment),
        raw(b"x", b'0', 0, b""),
    ]
    .concat();
    assert_eq!(read_all(&bytes).unwrap().len(), 1);
}

#[test]
fn damage_is_found() {
    let mut bytes = raw(b"file", b'0', 3, b"abc");
    bytes[0] = b'F';
    assert!(problem(&bytes).contains("checksum"));
    let short = &raw(b"file", b'0', 3, b"abc")[..513];
    assert!(matches!(read_all(short), Err(ReadError::Io(_))));
    let lone = [vec![0; 512], raw(b"file", b'0', 0, b"")].concat();
    assert!(problem(&lone).contains("zeros"));
    assert!(matches!(
        read_all(&raw(b"volume", b'V', 0, b"")),
        Err(ReadError::Unsupported { flag: b'V', .. })
    ));
    assert!(problem(b"this is no tar").contains("unexpected EOF"));
}

#[test]
fn ends_at_two_zero_blocks_or_the_end_of_input() {
    let entry = raw(b"file", b'0', 3, b"abc");
    for tail in [0, 512, 1024, 10240] {
        let bytes = [entry.clone(), vec![0; tail]].concat();
        assert_eq!(read_all(&bytes).unwrap().len(), 1);
    }
    let bytes = [entry, vec![0; 1024], raw(b"hidden", b'0', 0, b"")].concat();
    assert_eq!(read_all(&bytes).unwrap().len(), 1);
    assert!(read_all(b"").unwrap().is_empty());
}

#[test]
fn sparse_files_of_all_pax_formats() {
    let pieces = vec![
        Segment { offset: 0, len: 3 },
        Segment {
            offset: 1000,
            len: 2,
        },
    ];
    let records = |items: &[&str]| -> Vec<u8> {
        let mut out = Vec::new();
        for item in items {
            let mut len = item.len() + 3;
            while len != item.len() + 2 + len.to_string().len() {
                len += 1;
            }
            out.extend_from_slice(format!("{len} {item}\n").as_bytes());
        }
        out
    };
    let v0_0 = [
        pax(&records(&[
            "GNU.sparse.size=2000",
            "GNU.sparse.numblocks=2",
            "GNU.sparse.offset=0",
            "GNU.sparse.numbytes=3",
            "GNU.sparse.offset=1000",
            "GNU.sparse.numbytes=2",
        ])),
        raw(b"file", b'0', 5, b"abcde"),
    ]
    .concat();
    let v0_1 = [
        pax(&records(&[
            "GNU.sparse.major=0",
            "GNU.sparse.minor=1",
            "GNU.sparse.name=file",
            "GNU.sparse.size=2000",
            "GNU.sparse.map=0,3,1000,2",
        ])),
        raw(b"GNUSparseFile.0/file", b'0', 5, b"abcde"),
    ]
    .concat();
    let mut map = b"2\n0\n3\n1000\n2\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abcde");
    let v1_0 = [
        pax(&records(&[
            "GNU.sparse.major=1",
            "GNU.sparse.minor=0",
            "GNU.sparse.name=file",
            "GNU.sparse.realsize=2000",
        ])),
        raw(b"GNUSparseFile.0/file", b'0', map.len() as u64, &map),
    ]
    .concat();
    for bytes in [v0_0, v0_1, v1_0] {
        let bytes = [bytes, raw(b"next", b'0', 0, b"")].concat();
        let all = read_all(&bytes).unwrap();
        assert_eq!(all[0].0.path, b"file");
        assert_eq!(all[0].0.size, 2000);
        assert_eq!(all[0].0.segments.as_ref().unwrap(), &pieces);
        assert_eq!(all[0].1, b"abcde");
        assert_eq!(all[1].0.path, b"next");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..3000)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn any_damage_is_read_or_refused(at in 0usize..2048, byte in 0u8.., fix in proptest::bool::ANY) {
        let mut bytes = pax(b"13 size=1024\n");
        bytes.extend(raw(b"outer", b'0', 512, &[1; 1024]));
        bytes[at] = byte;
        if fix {
            for start in [0, 1024] {
                let mut header = tar::Header::new_ustar();
                header.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
            }
        }
        let _ = read_all(&bytes);
    }
}
