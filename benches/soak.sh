#!/usr/bin/env bash
# Watches the memory of containers' monitors for a while, under work.
#
# Usage: benches/soak.sh
#
# Three containers run: one writes a log that rotates, one ends and is started again all the time,
# and in one commands are run. Besides a network is connected and disconnected, and lists are asked
# for. Every tenth of the time the memory that is each monitor's own (its private pages) is told on
# standard error; the Markdown table on standard output has the first and the last of these. Fails
# when one has grown by more than a MiB. Needs root; all is removed at the end.
#
# Environment:
#   SECONDS_LONG=600  how long
#   BIN=...           folder of rbuild (default: target/release)
#   TMPDIR            where to work
set -euo pipefail
export LC_ALL=C

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
SECONDS_LONG=${SECONDS_LONG:-600}
BIN=$(realpath -m -- "${BIN:-$top/target/release}")
network=soak$$

work=$(mktemp -d)
rbuild() { "$BIN/rbuild" --root "$work/store" "$@"; }

# shellcheck disable=SC2317  # called by the trap
clean_up() {
    rbuild rm -f writes restarts runs >/dev/null 2>&1 || true
    rbuild network rm "$network" >/dev/null 2>&1 || true
    rm -rf -- "$work"
}
trap clean_up EXIT

mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/busybox"
for name in sh sleep true seq usleep; do ln -s busybox "$work/root/bin/$name"; done
tar -C "$work/root" -cf "$work/busybox.tar" .
rbuild import "$work/busybox.tar" busybox >/dev/null
rbuild network create "$network" >/dev/null

# shellcheck disable=SC2016
rbuild run -d --name writes --log-opt max-size=1m --log-opt max-file=3 busybox \
    sh -c 'while :; do seq 1000; usleep 100000; done' >/dev/null
rbuild run -d --name restarts --restart always --network "$network" busybox \
    sh -c 'echo again; usleep 300000; exit 1' >/dev/null
rbuild run -d --name runs busybox sleep 100000 >/dev/null

# The monitor of a container by its lock, since it has no child between two runs.
monitor() {
    local id inode
    id=$(rbuild inspect -f '{{.Id}}' "$1")
    inode=$(stat -c %i "$work/store/containers/$id/monitor.lock")
    awk -v inode="$inode" '$6 ~ ":" inode "$" {print $5; exit}' /proc/locks
}

# Its private pages, in KiB.
private() {
    awk '/^Private_/ {sum += $2} END {print sum}' "/proc/$1/smaps_rollup"
}

declare -A pid first last
for name in writes restarts runs; do pid[$name]=$(monitor "$name"); done
sleep 5
begun=$SECONDS
next=0
execs=0
while [ $((SECONDS - begun)) -lt "$SECONDS_LONG" ]; do
    if [ $((SECONDS - begun)) -ge "$next" ]; then
        for name in writes restarts runs; do
            last[$name]=$(private "${pid[$name]}")
            : "${first[$name]:=${last[$name]}}"
            echo "${next}s: $name ${last[$name]} KiB" >&2
        done
        next=$((next + (SECONDS_LONG + 9) / 10))
    fi
    rbuild exec runs true
    rbuild exec -d runs true
    execs=$((execs + 2))
    rbuild network connect "$network" runs
    rbuild network disconnect "$network" runs
    rbuild logs --tail 10 writes >/dev/null
    rbuild ps -a >/dev/null
done
for name in writes restarts runs; do last[$name]=$(private "${pid[$name]}"); done

restarts=$(rbuild inspect -f '{{.RestartCount}}' restarts)
echo "After $SECONDS_LONG s, $execs commands and $restarts restarts:"
echo
echo "| private memory of the monitor, KiB | at first | at last |"
echo "|---|---:|---:|"
failed=0
for name in writes restarts runs; do
    echo "| $name | ${first[$name]} | ${last[$name]} |"
    [ $((last[$name] - first[$name])) -le 1024 ] || failed=1
done
exit "$failed"
