#!/usr/bin/env bash
# Measures whether what rbuild does to one container depends on how many others there are.
#
# Usage: benches/many.sh
#
# The result is a Markdown table of medians on standard output: with no other container, with
# STOPPED that do not run, and with RUNNING that do beside them. Figures are milliseconds of the
# processor's time that the command itself took, so that they mean something on a busy machine, too.
# Needs root. All containers are on a network of their own, and all of it is removed at the end.
#
# Environment:
#   RUNS=9        runs of each command; the table shows medians
#   STOPPED=1000  containers that do not run
#   RUNNING=100   containers that run
#   BIN=...       folder of rbuild (default: target/release)
#   TMPDIR        where to work
set -euo pipefail
export LC_ALL=C

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
RUNS=${RUNS:-9}
STOPPED=${STOPPED:-1000}
RUNNING=${RUNNING:-100}
BIN=$(realpath -m -- "${BIN:-$top/target/release}")
network=many$$

work=$(mktemp -d)
rbuild() { "$BIN/rbuild" --root "$work/store" "$@"; }

clean_up() {
    rbuild ps -aq 2>/dev/null | xargs -r -n 100 "$BIN/rbuild" --root "$work/store" rm -f >/dev/null || true
    rbuild network rm "$network" >/dev/null 2>&1 || true
    rm -rf -- "$work"
}
trap clean_up EXIT

busybox=$(command -v busybox)
mkdir -p "$work/root/bin"
cp "$busybox" "$work/root/bin/busybox"
for name in sh sleep true nslookup; do ln -s busybox "$work/root/bin/$name"; done
tar -C "$work/root" -cf "$work/busybox.tar" .
rbuild import "$work/busybox.tar" busybox >/dev/null
rbuild network create "$network" >/dev/null

# The median of the time that the processor had to do with a command, in milliseconds.
median() {
    local TIMEFORMAT='%3U %3S'
    for _ in $(seq "$RUNS"); do
        { time "$@" >/dev/null 2>&1; } 2>&1
    done | awk '{print ($1 + $2) * 1000}' | sort -n |
        awk '{a[NR] = $1} END {printf "%.0f", a[int((NR + 1) / 2)]}'
}

run() { rbuild run --rm --network "$network" busybox true; }
start() { rbuild start one && rbuild stop -t 0 one; }
create() { rbuild create --name two busybox true && rbuild rm two; }
ps() { rbuild ps; }
ps_all() { rbuild ps -a; }
inspect() { rbuild inspect one; }
events() { rbuild events --since 10s --until 0s; }
networks() { rbuild network ls; }
volumes() { rbuild volume ls; }
ask() { rbuild exec asks nslookup asks; }

cases=(run start create ps ps_all inspect events networks volumes ask)
declare -A told=(
    [run]="run --rm" [start]="start and stop" [create]="create and rm" [ps]="ps" [ps_all]="ps -a"
    [inspect]="inspect" [events]="events of ten seconds" [networks]="network ls"
    [volumes]="volume ls" [ask]="a name asked for, by exec"
)
declare -A row

measure() {
    local name
    for name in "${cases[@]}"; do
        row[$name]+=" $(median "$name") |"
        echo "$1: $name${row[$name]}" >&2
    done
}

rbuild create --name one --network "$network" busybox sleep 1000 >/dev/null
rbuild run -d --name asks --network "$network" busybox sleep 10000 >/dev/null
measure alone
seq "$STOPPED" | xargs -P 2 -I{} "$BIN/rbuild" --root "$work/store" create \
    --network "$network" busybox true >/dev/null
measure "$STOPPED stopped"
seq "$RUNNING" | xargs -P 2 -I{} "$BIN/rbuild" --root "$work/store" run -d \
    --network "$network" busybox sleep 10000 >/dev/null
measure "$RUNNING running"

echo "| milliseconds of CPU | alone | $STOPPED stopped | and $RUNNING that run |"
echo "|---|---:|---:|---:|"
for name in "${cases[@]}"; do
    echo "| ${told[$name]} |${row[$name]}"
done
