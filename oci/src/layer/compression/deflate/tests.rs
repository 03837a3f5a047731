//! zlib is the oracle: it has to read what is written, and must not come to much less.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::*;

fn deflated(deflate: &mut Deflate, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflate.run(data, &mut out);
    out
}

#[track_caller]
fn assert_read(data: &[u8], deflated: &[u8]) {
    let mut zlib = Decompress::new(false);
    let mut plain = Vec::with_capacity(data.len() + 64);
    zlib.decompress_vec(deflated, &mut plain, FlushDecompress::Sync)
        .unwrap();
    assert_eq!(zlib.total_in() as usize, deflated.len());
    assert!(plain == data, "{} bytes became {}", data.len(), plain.len());
}

/// Bytes of the kinds that layers have: noise, few symbols, runs, repetitions near and far.
fn sample(kind: usize, len: usize) -> Vec<u8> {
    let mut state = kind as u64 + 1;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let byte = |at: usize| match kind {
        0 => random() as u8,
        1 => 0,
        2 => (random() % 2) as u8,
        3 => (at / 300) as u8,
        4 => b"abcde"[random() % 5],
        5 => (random() % (1 + at % 256)) as u8,
        6 => (random() as u16).leading_zeros() as u8,
        7 => (at % 32_768 / 7) as u8,
        _ => (at % 40_000 / 5 * 31) as u8,
    };
    (0..len).map(byte).collect()
}

#[test]
fn zlib_reads_every_kind_of_data() {
    let mut deflate = Deflate::new();
    let lengths = (0..40).chain([255, 258, 259, 300, 4096, 65_535, 65_536, 200_000, 1 << 20]);
    for len in lengths {
        for kind in 0..9 {
            let data = sample(kind, len);
            let once = deflated(&mut deflate, &data);
            assert_read(&data, &once);
            // What came before leaves no trace.
            assert!(once == deflated(&mut Deflate::new(), &data), "{kind} {len}");
        }
    }
}

#[test]
fn pieces_follow_one_another() {
    let mut deflate = Deflate::new();
    let pieces = [
        sample(4, 100_000),
        sample(0, 70_000),
        Vec::new(),
        sample(4, 100_000),
    ];
    let row: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| deflated(&mut deflate, piece))
        .collect();
    assert_read(&pieces.concat(), &row);
}

#[test]
fn places_are_found_again_after_four_gigabytes() {
    let data = sample(4, 50_000);
    let expected = deflated(&mut Deflate::new(), &data);
    let mut deflate = Deflate::new();
    for base in [u32::MAX - 200_000, u32::MAX - 150_000, u32::MAX - 120_000] {
        deflate.base = base;
        for _ in 0..3 {
            assert!(deflated(&mut deflate, &data) == expected, "{base}");
        }
    }
}

#[test]
fn it_comes_to_no_more_than_zlibs_second_level() {
    let lines = (10_000..90_000).map(|n| format!("{n}\n"));
    let text = lines.collect::<String>().into_bytes();
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = &program[..program.len().min(8 << 20)];
    for data in [&text[..], program] {
        let (mut ours, mut zlibs) = (0, 0);
        for block in data.chunks(1 << 20) {
            ours += deflated(&mut Deflate::new(), block).len();
            let mut zlib = Compress::new(Compression::new(2), false);
            let mut out = Vec::with_capacity(2 << 20);
            zlib.compress_vec(block, &mut out, FlushCompress::Sync)
                .unwrap();
            zlibs += out.len();
        }
        assert!(ours <= zlibs + zlibs / 20, "{ours} {zlibs}");
    }
    let noise = sample(0, 1 << 20);
    let stored = deflated(&mut Deflate::new(), &noise).len();
    assert!(stored < noise.len() + 1000, "{stored}");
}

proptest! {
    #[test]
    fn zlib_reads_whatever_it_was(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 1..60_usize), 0..40),
    ) {
        let data: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
        let out = deflated(&mut Deflate::new(), &data);
        assert_read(&data, &out);
    }
}
