#!/usr/bin/env bash
# Measures what a push and a pull cost rregistry, beside Debian's docker-registry: rates of runs that
# take turns, syncs an image, seconds of the processor, long lists, a mirror, memory.
#
# Usage: benches/registry.sh [push|pull|lists|mirror|idle ...]
#
# The result is a Markdown table of medians on standard output; every single figure goes to standard
# error. On a busy machine only ratios and counts mean something. Everything is in a temporary
# folder, which goes at the end, and on loopback addresses.
#
# Environment:
#   RUNS=3        runs of each case, each registry in turn; the table shows medians
#   BIN=...       folder of rregistry, with examples/load in it (default: target/release)
#   OTHER=...     another rregistry to measure beside it (an older one, or one with another allocator)
#   IMAGES=300    small images, and BLOBS=160 blobs of 1 MiB over 8 connections
#   BLOB_MIB=1024 size of the blob that is pulled
#   NAMES=100000  tags of one repository, and repositories
#   TMPDIR        where to work
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
RUNS=${RUNS:-3}
BIN=$(realpath -m -- "${BIN:-$top/target/release}")
OTHER=${OTHER:-}
IMAGES=${IMAGES:-300}
BLOBS=${BLOBS:-160}
BLOB_MIB=${BLOB_MIB:-1024}
NAMES=${NAMES:-100000}
LOAD=$BIN/examples/load

# shellcheck source=benches/lib/common.sh
. "$top/benches/lib/common.sh"
bench_setup
[ -x "$LOAD" ] || die "$LOAD is missing (cargo build --release -p registry --bins --examples)"
subjects=(rregistry)
[ -z "$OTHER" ] || subjects+=(other)
! have docker-registry || subjects+=(docker-registry)
declare -A pids=() urls=()
at_exit stop_all

stop_all() {
    local subject
    for subject in "${!pids[@]}"; do stop_process "${pids[$subject]}"; done
}

program() {
    case $1 in
    other) echo "$OTHER" ;;
    *) echo "$BIN/rregistry" ;;
    esac
}

# serve NAME SUBJECT [ARGS...]: a registry with its data in the folder NAME.
serve() {
    local name=$1 subject=$2 port
    shift 2
    port=$(free_port)
    mkdir -p "$work/$name"
    if [ "$subject" = docker-registry ]; then
        printf 'version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: 127.0.0.1:%s}\n' \
            "$work/$name" "$port" >"$work/$name.yml"
        docker-registry serve "$work/$name.yml" >"$work/$name.log" 2>&1 </dev/null &
    else
        "$(program "$subject")" serve --addr "127.0.0.1:$port" --data-dir "$work/$name" "$@" \
            >"$work/$name.log" 2>&1 </dev/null &
    fi
    pids[$name]=$!
    urls[$name]=http://127.0.0.1:$port
    for _ in $(seq 100); do
        ! curl -fsS -o /dev/null "${urls[$name]}/v2/" 2>/dev/null || return 0
        sleep 0.1
    done
    tail -n 20 "$work/$name.log" >&2
    die "$subject did not answer"
}

leave() {
    stop_process "${pids[$1]}"
    unset "pids[$1]"
    rm -rf --one-file-system -- "$work/${1:?}"
}

# Hundredths of seconds that the processor had to do with a registry until now.
ticks() {
    awk '{ print $14 + $15 }' "/proc/${pids[$1]}/stat"
}

# rated NAME CASE COUNT ARGS...: a case of the load program, and the milliseconds of the processor
# that the registry took for each of COUNT.
rated() {
    local name=$1 case=$2 count=$3 before value
    shift 3
    before=$(ticks "$name")
    value=$("$LOAD" "${urls[$name]}" "$@") || die "$name failed: load $*"
    record "$name" "$case" "$value"
    record "$name" "$case-cpu" "$(awk -v a="$before" -v b="$(ticks "$name")" -v n="$count" \
        'BEGIN { printf "%.3f", (b - a) * 10 / n }')"
}

push() {
    local subject
    for _ in $(seq "$RUNS"); do
        for subject in "${subjects[@]}"; do
            serve "$subject" "$subject"
            rated "$subject" images "$IMAGES" images "$IMAGES"
            rated "$subject" mib "$BLOBS" blobs "$BLOBS" 1 8
            leave "$subject"
        done
    done
    have strace || return 0
    for subject in "${subjects[@]}"; do
        serve "$subject" "$subject"
        strace -f -c -o "$work/syncs" -e trace=fsync,fdatasync,sync_file_range,syncfs \
            -p "${pids[$subject]}" 2>"$work/strace" &
        local tracer=$!
        sleep 1
        "$LOAD" "${urls[$subject]}" images 100 >/dev/null
        kill -INT "$tracer"
        wait "$tracer" || true
        record "$subject" syncs "$(awk '$NF == "total" { print $4 / 100 }' "$work/syncs")"
        leave "$subject"
    done
}

pull() {
    local subject digest path
    head -c $((BLOB_MIB << 20)) /dev/urandom >"$work/blob"
    digest=sha256:$(sha256sum "$work/blob" | cut -d ' ' -f 1)
    path=/v2/bench/blobs/$digest
    for subject in "${subjects[@]}"; do
        serve "$subject" "$subject"
        local at
        at=$(curl -fsS -o /dev/null -D - -X POST "${urls[$subject]}/v2/bench/blobs/uploads/" |
            tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
        [[ $at == http* ]] || at=${urls[$subject]}$at
        if [[ $at == *\?* ]]; then at+="&digest=$digest"; else at+="?digest=$digest"; fi
        curl -fsS -o /dev/null -X PUT -H 'Expect:' --upload-file "$work/blob" "$at"
    done
    for _ in $(seq "$RUNS"); do
        for subject in "${subjects[@]}"; do
            rated "$subject" pull 1 pull "$path" 1
        done
    done
    for subject in "${subjects[@]}"; do leave "$subject"; done
}

# Names that were never pushed, straight into the database: only lists are asked for them.
fill() {
    python3 - "$1" "$NAMES" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
n = int(sys.argv[2])
db.executescript(f"""
BEGIN;
INSERT INTO tags (repository_id, name, manifest_id, updated_at, sequence)
WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {n})
SELECT m.repository_id, printf('n%06d', i), m.id, 1700000000 + i, 100000 + i
FROM i, manifests m JOIN repositories r ON r.id = m.repository_id WHERE r.name = 'tags';
INSERT INTO repositories (name, created_at)
WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < {n})
SELECT printf('team%02d/service-%06d', i % 100, i), 0 FROM i;
COMMIT;
""")
PYTHON
}

lists() {
    local subject url
    for subject in "${subjects[@]}"; do
        [ "$subject" != docker-registry ] || continue
        serve "$subject" "$subject"
        "$LOAD" "${urls[$subject]}" tags 1000 >/dev/null
        record "$subject" tags "$("$LOAD" "${urls[$subject]}" latency /v2/tags/tags/list 300)"
        stop_process "${pids[$subject]}"
        fill "$work/$subject/registry.db"
        serve "$subject" "$subject"
        url=${urls[$subject]}
        record "$subject" page "$("$LOAD" "$url" latency '/ui/tags/tags' 50)"
        record "$subject" page-end "$("$LOAD" "$url" latency '/v2/tags/tags/list?n=1000&last=n099000' 50)"
        record "$subject" search "$("$LOAD" "$url" latency '/v1/search?q=service-0421' 50)"
        record "$subject" search-many "$("$LOAD" "$url" latency '/v1/search?q=service' 50)"
        leave "$subject"
    done
    have docker-registry || return 0
    serve docker-registry docker-registry
    "$LOAD" "${urls[docker-registry]}" tags 1000 >/dev/null
    record docker-registry tags "$("$LOAD" "${urls[docker-registry]}" latency /v2/tags/tags/list 100)"
    leave docker-registry
}

mirror() {
    local digest path at
    head -c $((BLOB_MIB << 20)) /dev/urandom >"$work/blob"
    digest=sha256:$(sha256sum "$work/blob" | cut -d ' ' -f 1)
    path=/v2/up/bench/blobs/$digest
    serve upstream rregistry
    at=$(curl -fsS -o /dev/null -D - -X POST "${urls[upstream]}/v2/up/bench/blobs/uploads/" |
        tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
    [[ $at == http* ]] || at=${urls[upstream]}$at
    curl -fsS -o /dev/null -X PUT -H 'Expect:' --upload-file "$work/blob" "$at?digest=$digest"
    printf '[[upstream]]\nrepository = "up/**"\nurl = "%s"\ninsecure = true\nstrip = ""\n' "${urls[upstream]}" >"$work/mirror.toml"
    for _ in $(seq "$RUNS"); do
        serve mirror rregistry --config "$work/mirror.toml"
        record rregistry upstream "$("$LOAD" "${urls[upstream]}" pull "$path" 1)"
        record rregistry miss "$("$LOAD" "${urls[mirror]}" pull "$path" 1)"
        record rregistry hit "$("$LOAD" "${urls[mirror]}" pull "$path" 1)"
        leave mirror
    done
    leave upstream
}

idle() {
    local subject
    for subject in "${subjects[@]}"; do
        serve "$subject" "$subject"
        sleep 2
        record "$subject" idle "$(awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/${pids[$subject]}/status")"
        leave "$subject"
    done
}

if [ $# -eq 0 ]; then set -- push pull lists idle; fi
for part in "$@"; do
    case $part in
    push | pull | lists | mirror | idle) "$part" ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
        exit 2
        ;;
    esac
done

printf '| Case |'
printf ' %s |' "${subjects[@]}"
printf '\n|---|'
for _ in "${subjects[@]}"; do printf -- '---:|'; done
echo
while IFS='|' read -r case title; do
    row=
    for subject in "${subjects[@]}"; do
        value=$(median "$subject" "$case")
        row+=" ${value:-–} |"
    done
    [ -z "${row//[ –|]/}" ] || echo "| $title |$row"
done <<'CASES'
images|small images pushed over one connection, a second
images-cpu|the same, milliseconds of the processor an image
syncs|the same, syncs an image
mib|blobs of 1 MiB pushed over 8 connections, a second
mib-cpu|the same, milliseconds of the processor a blob
pull|pull of a large blob, MiB a second
pull-cpu|the same, milliseconds of the processor
tags|1000 tags listed, ms
page|page of the repository of many tags, ms
page-end|1000 of its last tags listed, ms
search|search for one name of many, ms
search-many|search that finds all of them, ms
upstream|a large blob from the upstream itself, MiB a second
miss|the same through a mirror that has not got it
hit|the same through a mirror that has
idle|idle memory, MiB
CASES
