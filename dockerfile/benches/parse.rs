//! How fast Dockerfiles are parsed and checked. Run with `cargo bench -p dockerfile`; the figure
//! to hold is a file of 10,000 lines below 10 ms.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dockerfile::ignore::{IgnoreMatcher, ParentMatches};
use dockerfile::lint::{Options, lint};

/// A file of `lines` lines with a bit of everything.
fn source(lines: usize) -> String {
    let block = [
        "# build makes the binary",
        "FROM --platform=$BUILDPLATFORM debian:12 AS build",
        "ARG VERSION=1.2.3",
        "ENV PATH=/opt/app/bin:$PATH LANG=\"C.UTF-8\"",
        "RUN --mount=type=cache,target=/var/cache/apt \\",
        "    apt-get update && \\",
        "    # what the build needs",
        "    apt-get install -y --no-install-recommends gcc make && \\",
        "    rm -rf /var/lib/apt/lists/*",
        "COPY --chown=1000:1000 src/ include/ /src/",
        "WORKDIR /src",
        "RUN <<EOF",
        "set -e",
        "make -j4",
        "make install",
        "EOF",
        "EXPOSE 80 443/tcp",
        "LABEL org.opencontainers.image.title=\"app\" version=${VERSION}",
        "CMD [\"/opt/app/bin/app\", \"--serve\"]",
        "",
    ];
    block
        .iter()
        .cycle()
        .take(lines)
        .flat_map(|line| [*line, "\n"])
        .collect()
}

fn parse(c: &mut Criterion) {
    let source = source(10_000);
    let mut group = c.benchmark_group("10,000 lines");
    group.throughput(Throughput::Bytes(source.len() as u64));
    group.bench_function("syntax tree", |b| {
        b.iter(|| dockerfile::parser::parse(black_box(&source)));
    });
    group.bench_function("typed", |b| {
        b.iter(|| dockerfile::parse(black_box(&source)))
    });
    let parsed = dockerfile::parse(&source);
    group.bench_function("checks", |b| {
        b.iter(|| lint(black_box(&parsed), &Options::default()));
    });
    group.finish();
}

fn ignore(c: &mut Criterion) {
    let patterns = "**/node_modules\n*.log\n!keep.log\n**/*.tmp\n.git\nbuild/**\ndocs/*.md\n";
    let Ok(matcher) = IgnoreMatcher::from_file(patterns) else {
        return;
    };
    let paths: Vec<String> = (0..1000)
        .map(|n| format!("src/module{}/file{n}.rs", n % 37))
        .collect();
    let mut group = c.benchmark_group("1,000 paths");
    group.throughput(Throughput::Elements(paths.len() as u64));
    group.bench_function("each by itself", |b| {
        b.iter(|| {
            paths
                .iter()
                .filter(|path| matcher.matches(black_box(path)))
                .count()
        });
    });
    let (_, parent) = matcher.matches_with_parent("src", &ParentMatches::default());
    group.bench_function("with what is known of the parent", |b| {
        b.iter(|| {
            let excluded = |path: &&String| matcher.matches_with_parent(path, &parent).0;
            paths.iter().filter(excluded).count()
        });
    });
    group.finish();
}

criterion_group!(benches, parse, ignore);
criterion_main!(benches);
