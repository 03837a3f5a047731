//! eStargz (containerd/stargz-snapshotter, docs/estargz.md): content of files begins with a gzip
//! member of its own. Behind the end of the archive there is a second one with the table, which
//! readers of tars do not come to, and then an empty member that tells where the table begins.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use flate2::{Compress as Deflate, Compression as Level, Crc, FlushCompress, Status};

use super::archive::Pack;
use super::contents::Contents;
use super::entry::{Toc, TocEntry};
use super::parts::{Compress, Parts, Piece, part};
use crate::digest::{Algorithm, Hasher};
use crate::layer::compression::GZIP_LEVEL;
use crate::layer::header::{Header, Kind, padding};
use crate::layer::reader::{Entry, EntryKind};
use crate::{DiffId, Digest};

/// Larger files are cut into pieces of this many bytes.
const CHUNK: u64 = 4 << 20;
/// The table's name in its archive.
const TOC_NAME: &[u8] = b"stargz.index.json";
/// Of the table, for a layer's descriptor.
const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Bytes of what the blob decompresses to, for a layer's descriptor.
const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";
/// No name, no time, unknown operating system.
const MEMBER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Makes gzip members.
struct Member {
    deflate: Deflate,
}

impl Member {
    fn new(level: u32) -> Self {
        Self {
            deflate: Deflate::new(Level::new(level), false),
        }
    }
}

impl Compress for Member {
    fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.deflate.reset();
        let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
        out.extend_from_slice(&MEMBER);
        loop {
            let consumed = self.deflate.total_in() as usize;
            let status =
                self.deflate
                    .compress_vec(&bytes[consumed..], &mut out, FlushCompress::Finish);
            match status.map_err(io::Error::other)? {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => out.reserve(bytes.len() / 2 + 1024),
            }
        }
        let mut crc = Crc::new();
        crc.update(bytes);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        // Modulo 2^32, as the format has it.
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        Ok(out)
    }
}

/// The file that content is expected of.
struct Current {
    entry: TocEntry,
    hasher: Hasher,
    seen: u64,
    pieces: Vec<Piece>,
}

/// Makes a layer of this form.
pub(super) struct Packer<W> {
    parts: Parts<W, Member>,
    level: u32,
    /// Of all that the blob decompresses to.
    plain: Hasher,
    plain_len: u64,
    entries: Vec<(TocEntry, Option<usize>)>,
    current: Option<Current>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W, level: Option<i32>, threads: NonZeroUsize) -> io::Result<Self> {
        let level = level.unwrap_or(GZIP_LEVEL).unsigned_abs().min(9);
        Ok(Self {
            parts: Parts::new(out, threads, || Member::new(level))?,
            level,
            plain: Algorithm::Sha256.hasher(),
            plain_len: 0,
            entries: Vec::new(),
            current: None,
        })
    }

    fn count(&mut self, bytes: &[u8]) {
        self.plain.update(bytes);
        self.plain_len += bytes.len() as u64;
    }

    /// Writes the table and all that leads to it.
    pub(super) fn finish(self) -> io::Result<(W, Contents)> {
        let Self {
            parts,
            level,
            mut plain,
            mut plain_len,
            entries,
            ..
        } = self;
        let (mut out, toc_offset, parts) = parts.finish()?;
        let mut table = Vec::with_capacity(entries.len());
        for (mut entry, number) in entries {
            if let Some(number) = number {
                let part = part(&parts, number)?;
                entry.offset = part.start;
                entry.chunk_digest = part.digest.as_ref().map(ToString::to_string);
            }
            table.push(entry);
        }
        let toc = Toc {
            version: 1,
            entries: table,
            tar_split_digest: None,
        };
        let json = serde_json::to_vec_pretty(&toc)?;
        let archive = archive(&json);
        plain.update(&archive);
        plain_len += archive.len() as u64;
        out.write_all(&Member::new(level).compress(&archive)?)?;
        out.write_all(&footer(toc_offset))?;
        let annotations = BTreeMap::from([
            (TOC_DIGEST.to_owned(), Digest::sha256(&json).to_string()),
            (UNCOMPRESSED_SIZE.to_owned(), plain_len.to_string()),
        ]);
        let diff_id = DiffId(plain.finish());
        Ok((
            out,
            Contents {
                annotations,
                diff_id,
            },
        ))
    }
}

/// An archive of nothing but the table.
fn archive(json: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(json.len() + 2048);
    Header {
        path: TOC_NAME,
        kind: Kind::File,
        link: b"",
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: 0,
        size: json.len() as u64,
        device: (0, 0),
        xattrs: &[],
    }
    .encode(&mut archive);
    archive.extend_from_slice(json);
    archive.resize(archive.len() + padding(json.len() as u64) + 1024, 0);
    archive
}

/// An empty member of 51 bytes whose extra field tells where the table begins.
fn footer(toc_offset: u64) -> Vec<u8> {
    let mut footer = MEMBER.to_vec();
    footer[3] = 4;
    let field = format!("{toc_offset:016x}STARGZ");
    footer.extend_from_slice(&[26, 0, b'S', b'G', 22, 0]);
    footer.extend_from_slice(field.as_bytes());
    // A last stored block of no bytes; the checksum and length of nothing.
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer.extend_from_slice(&[0; 8]);
    footer
}

impl<W: Write> Pack for Packer<W> {
    fn entry(&mut self, entry: &Entry, header: &[u8]) -> io::Result<()> {
        self.count(header);
        self.parts.plain(header)?;
        let mut found = TocEntry::new(entry)?;
        // The epoch is what no time at all is read as.
        found.modified.take_if(|_| entry.mtime.0 == 0);
        if entry.kind == EntryKind::File {
            self.current = Some(Current {
                entry: found,
                hasher: Algorithm::Sha256.hasher(),
                seen: 0,
                pieces: Vec::new(),
            });
        } else {
            self.entries.push((found, None));
        }
        Ok(())
    }

    fn content(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.count(bytes);
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("content of what has none"));
        };
        current.hasher.update(bytes);
        while !bytes.is_empty() {
            let in_piece = current.seen % CHUNK;
            if in_piece == 0 {
                current.pieces.push(Piece {
                    part: self.parts.cut()?,
                    offset: current.seen,
                    size: CHUNK.min(current.entry.size - current.seen),
                });
            }
            let room = usize::try_from(CHUNK - in_piece).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.parts.content(now);
            current.seen += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn entry_done(&mut self) -> io::Result<()> {
        let Some(Current {
            mut entry,
            hasher,
            pieces,
            ..
        }) = self.current.take()
        else {
            return Ok(());
        };
        entry.digest = Some(hasher.finish().to_string());
        let mut pieces = pieces.into_iter();
        let first = pieces.next();
        let later: Vec<(TocEntry, Option<usize>)> = pieces
            .map(|piece| {
                let mut later = entry.piece(piece.offset);
                later.chunk_size = piece.size;
                (later, Some(piece.part))
            })
            .collect();
        if let Some(first) = first.as_ref().filter(|_| !later.is_empty()) {
            entry.chunk_size = first.size;
        }
        self.entries.push((entry, first.map(|piece| piece.part)));
        self.entries.extend(later);
        Ok(())
    }

    fn trailer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.count(bytes);
        self.parts.plain(bytes)
    }
}
