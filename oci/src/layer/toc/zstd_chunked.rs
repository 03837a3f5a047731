//! zstd:chunked (containers/storage, docs/containers-storage-zstd-chunked.md): content of files is
//! in frames of its own. Frames that readers skip hold the table, the tar without its files, and
//! where both are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use zstd::bulk::Compressor;

use super::archive::Pack;
use super::contents::Contents;
use super::entry::{Toc, TocEntry};
use super::parts::{Compress, Part, Parts, Piece, part};
use super::rollsum::RollSum;
use super::tar_split::{TarSplit, checksum};
use crate::digest::{Algorithm, Hasher};
use crate::layer::compression::ZSTD_LEVEL;
use crate::layer::reader::{Entry, EntryKind};
use crate::{DiffId, Digest};

/// Of the compressed table, for a layer's descriptor.
const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// Where the table is: offset, length, length when decompressed, and the type 1.
const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// Where the tar without its files is: offset, and the same lengths.
const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// Pieces are no longer than this, in bytes.
const LONGEST: u64 = 4 << 20;
/// A table in the manner of CRFS.
const TYPE: u64 = 1;
/// Begins a frame that readers skip (RFC 8878, section 3.1.2).
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// Its magic and length.
const FRAME_HEADER: u64 = 8;
const MAGIC: &[u8; 8] = b"GNUlInUx";

/// Makes frames.
struct Frame {
    level: i32,
    /// Made when first needed, where it can fail.
    compressor: Option<Compressor<'static>>,
}

impl Compress for Frame {
    fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                let mut made = Compressor::new(self.level)?;
                made.include_checksum(true)?;
                none.insert(made)
            }
        };
        compressor.compress(bytes)
    }
}

/// The entry that content is expected of.
struct Current {
    entry: TocEntry,
    is_file: bool,
    hasher: Hasher,
    checksum: crc::Digest<'static, u64, crc::Table<16>>,
    sum: RollSum,
    seen: u64,
    /// The last one may grow.
    pieces: Vec<Piece>,
    /// The last piece has come to its end.
    ended: bool,
}

/// An entry, its pieces, and the part that follows them.
struct Placed {
    entry: TocEntry,
    pieces: Vec<Piece>,
    end: usize,
}

/// Makes a layer of this form.
pub(super) struct Packer<W> {
    parts: Parts<W, Frame>,
    level: i32,
    plain: Hasher,
    tar_split: TarSplit,
    entries: Vec<Placed>,
    current: Option<Current>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W, level: Option<i32>, threads: NonZeroUsize) -> io::Result<Self> {
        let level = level.unwrap_or(ZSTD_LEVEL);
        let frame = || Frame {
            level,
            compressor: None,
        };
        Ok(Self {
            parts: Parts::new(out, threads, frame)?,
            level,
            plain: Algorithm::Sha256.hasher(),
            tar_split: TarSplit::new(level)?,
            entries: Vec::new(),
            current: None,
        })
    }

    /// Writes the table and all that leads to it.
    pub(super) fn finish(self) -> io::Result<(W, Contents)> {
        let (mut out, len, parts) = self.parts.finish()?;
        let (split, split_len) = self.tar_split.finish()?;
        let mut entries = Vec::with_capacity(self.entries.len());
        for placed in self.entries {
            placed.tell(&parts, &mut entries)?;
        }
        let json = serde_json::to_vec(&Toc {
            version: 1,
            entries,
            tar_split_digest: Some(Digest::sha256(&split).to_string()),
        })?;
        let table = zstd::bulk::compress(&json, self.level)?;
        let table_at = len + FRAME_HEADER;
        let split_at = table_at + table.len() as u64 + FRAME_HEADER;
        let place = [
            table_at,
            table.len() as u64,
            json.len() as u64,
            TYPE,
            split_at,
            split.len() as u64,
            split_len,
        ];
        let mut footer = Vec::with_capacity(64);
        for number in place {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(MAGIC);
        for frame in [&table, &split, &footer] {
            let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
            out.write_all(&SKIPPABLE)?;
            out.write_all(&len.to_le_bytes())?;
            out.write_all(frame)?;
        }
        let told = |numbers: &[u64]| {
            let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
            texts.join(":")
        };
        let annotations = BTreeMap::from([
            (CHECKSUM.to_owned(), Digest::sha256(&table).to_string()),
            (POSITION.to_owned(), told(&place[..4])),
            (TAR_SPLIT_POSITION.to_owned(), told(&place[4..])),
        ]);
        let diff_id = DiffId(self.plain.finish());
        let contents = Contents {
            annotations,
            diff_id,
        };
        Ok((out, contents))
    }
}

impl Placed {
    /// Adds what the table says of it.
    fn tell(self, parts: &[Part], entries: &mut Vec<TocEntry>) -> io::Result<()> {
        let Self {
            mut entry,
            pieces,
            end,
        } = self;
        let Some(first) = pieces.first() else {
            entries.push(entry);
            return Ok(());
        };
        entry.offset = part(parts, first.part)?.start;
        entry.end_offset = part(parts, end)?.start;
        let several = pieces.len() > 1;
        for piece in &pieces {
            let mut told = match piece.offset {
                0 => entry.clone(),
                offset => entry.piece(offset),
            };
            if several {
                let part = part(parts, piece.part)?;
                told.chunk_size = piece.size;
                told.offset = part.start;
                told.chunk_digest = part.digest.as_ref().map(ToString::to_string);
            }
            entries.push(told);
        }
        Ok(())
    }
}

impl<W: Write> Pack for Packer<W> {
    fn entry(&mut self, entry: &Entry, header: &[u8]) -> io::Result<()> {
        self.plain.update(header);
        self.tar_split.segment(header)?;
        self.parts.plain(header)?;
        self.current = Some(Current {
            entry: TocEntry::new(entry)?,
            is_file: entry.kind == EntryKind::File,
            hasher: Algorithm::Sha256.hasher(),
            checksum: checksum(),
            sum: RollSum::new(),
            seen: 0,
            pieces: Vec::new(),
            ended: true,
        });
        Ok(())
    }

    fn content(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.plain.update(bytes);
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("content of what has none"));
        };
        current.hasher.update(bytes);
        current.checksum.update(bytes);
        while !bytes.is_empty() {
            if std::mem::take(&mut current.ended) {
                current.pieces.push(Piece {
                    part: self.parts.cut()?,
                    offset: current.seen,
                    size: 0,
                });
            }
            let Some(piece) = current.pieces.last_mut() else {
                break;
            };
            // Whatever the content is, a piece has to fit into memory.
            let room = usize::try_from(LONGEST - piece.size).unwrap_or(usize::MAX);
            let (n, ends) = current.sum.take(&bytes[..bytes.len().min(room)]);
            let (now, later) = bytes.split_at(n);
            self.parts.content(now);
            current.seen += n as u64;
            piece.size += n as u64;
            current.ended = ends || piece.size == LONGEST;
            bytes = later;
        }
        Ok(())
    }

    fn entry_done(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let Current {
            mut entry,
            is_file,
            hasher,
            checksum,
            seen,
            pieces,
            ..
        } = current;
        self.tar_split
            .file(&entry.name, seen, checksum.finalize())?;
        let mut end = 0;
        if is_file && seen > 0 {
            entry.digest = Some(hasher.finish().to_string());
            end = self.parts.cut()?;
        }
        self.entries.push(Placed { entry, pieces, end });
        Ok(())
    }

    fn trailer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.plain.update(bytes);
        self.tar_split.segment(bytes)?;
        self.parts.plain(bytes)
    }
}
