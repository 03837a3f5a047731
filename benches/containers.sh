#!/usr/bin/env bash
# Measures rbuild's containers beside docker, podman, crun and runc, in one run on one machine.
#
# Usage: benches/containers.sh
#
#   start   run --rm busybox true; for crun and runc a bundle of the same files, run bare
#   exec    exec of true in a container that runs
#   many    COUNT containers started one after the other
#   ps      the list of all of them, those too that have ended
#   remove  all of them removed
#   logs    the log of a container that has written LOG_MIB
#
# The result is a Markdown table of medians in seconds on standard output, with the ratio of each to
# rbuild's; every single figure goes to standard error. Needs root. A tool that is not installed
# leaves its column empty. Everything runs from a temporary folder with daemons of its own in mount
# and network namespaces of their own, and is removed at the end.
#
# Environment:
#   RUNS=5       runs of start and exec; the table shows medians
#   COUNT=200    how many containers
#   LOG_MIB=100  how much is written to a log
#   ONLY="..."   subjects: rbuild docker podman crun runc
#   BIN=...      folder of rbuild (default: target/release)
#   TMPDIR       where to work; 6 GB of disk are needed
#   DOCKER       docker client (default: the one beside dockerd's packages, else on PATH)
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
RUNS=${RUNS:-5}
COUNT=${COUNT:-200}
LOG_MIB=${LOG_MIB:-100}
BIN=$(realpath -m -- "${BIN:-$top/target/release}")
ONLY=${ONLY:-rbuild docker podman crun runc}
if [ -z "${DOCKER:-}" ]; then
    DOCKER=docker
    [ ! -x /usr/bin/docker ] || DOCKER=/usr/bin/docker
fi

# shellcheck source=benches/lib/common.sh
. "$top/benches/lib/common.sh"

# Each subject is a command with docker's words, in this array when it is measured.
program=()
ready=()

prepare_rbuild() {
    [ -x "$BIN/rbuild" ] || {
        log "$BIN/rbuild is missing, its column stays empty (cargo build --release --bins)"
        return 1
    }
    program=("$BIN/rbuild" --root "$work/rbuild")
    quiet "${program[@]}" import --change 'CMD ["sh"]' "$work/busybox.tar" busybox:latest
}

dockerd_pid=
stop_dockerd() {
    [ -n "$dockerd_pid" ] || return 0
    stop_process "$dockerd_pid"
    dockerd_pid=
}
prepare_docker() {
    local i
    if ! have dockerd || ! have "$DOCKER"; then
        log "dockerd or docker is not installed, its column stays empty"
        return 1
    fi
    echo '{}' >"$work/daemon.json"
    mkdir -p "$work/docker-config"
    unshare --mount --net --propagation private -- dockerd --data-root "$work/docker" \
        --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" --host "unix://$work/docker.sock" \
        --config-file "$work/daemon.json" --storage-driver overlay2 --bridge none --iptables=false \
        >"$work/dockerd.log" 2>&1 </dev/null &
    dockerd_pid=$!
    at_exit stop_dockerd
    program=(env "DOCKER_HOST=unix://$work/docker.sock" "DOCKER_CONFIG=$work/docker-config" "$DOCKER")
    await_dockerd "$dockerd_pid" "${program[@]}"
}

prepare_podman() {
    have podman || {
        log "podman is not installed, its column stays empty"
        return 1
    }
    # Debian's crun refuses the hybrid cgroup hierarchy; runc runs on every one.
    program=(podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver overlay
        --cgroup-manager cgroupfs --runtime runc)
    if ! "${program[@]}" import --change 'CMD ["sh"]' "$work/busybox.tar" busybox:latest ||
        ! "${program[@]}" run --rm --net none busybox true; then
        log "podman cannot run a container here, its column stays empty"
        return 1
    fi >/dev/null 2>&1
}

# A bundle for a runtime, with a terminal that it does not have.
prepare_bundle() {
    local runtime=$1
    have "$runtime" || {
        log "$runtime is not installed, its column stays empty"
        return 1
    }
    if [ ! -d "$work/bundle/rootfs" ]; then
        mkdir -p "$work/bundle/rootfs"
        tar -C "$work/bundle/rootfs" -xf "$work/busybox.tar"
    fi
    rm -f "$work/bundle/config.json"
    (cd "$work/bundle" && "$runtime" spec)
    sed -i -e 's/"terminal": true/"terminal": false/' -e '0,/"sh"/s//"true"/' \
        -e '0,/"\/bin\/sh"/s//"true"/' "$work/bundle/config.json"
    "$runtime" --root "$work/$runtime" run --bundle "$work/bundle" probe >/dev/null 2>&1 </dev/null || {
        log "$runtime cannot run a container here, its column stays empty"
        return 1
    }
}

measure_engine() {
    local subject=$1 i
    for ((i = 0; i < RUNS; i++)); do
        timed "$subject" start "${program[@]}" run --rm --net none busybox true
    done
    quiet "${program[@]}" run -d --name held --net none busybox sleep 100000
    for ((i = 0; i < RUNS; i++)); do
        timed "$subject" exec "${program[@]}" exec held true
    done
    timed "$subject" many start_many
    timed "$subject" ps "${program[@]}" ps -a
    local ids
    ids=$("${program[@]}" ps -aq)
    # shellcheck disable=SC2086
    timed "$subject" remove "${program[@]}" rm -f $ids
    quiet "${program[@]}" run --name said --net none busybox \
        sh -c "yes 'a line of forty-eight letters, as many programs write' | head -c ${LOG_MIB}m"
    timed "$subject" logs "${program[@]}" logs said
    quiet "${program[@]}" rm -f said
}
start_many() {
    local i
    for ((i = 0; i < COUNT; i++)); do
        "${program[@]}" run -d --net none busybox sleep 100000
    done
}

measure_bundle() {
    local runtime=$1 i
    for ((i = 0; i < RUNS; i++)); do
        timed "$runtime" start "$runtime" --root "$work/$runtime" run --bundle "$work/bundle" "start-$i"
    done
}

show() {
    local case subject own
    printf '| seconds |'
    printf ' %s |' "${ready[@]}"
    printf '\n|---|'
    printf -- '---|%.0s' "${ready[@]}"
    printf '\n'
    for case in start exec many ps remove logs; do
        own=$(median rbuild "$case")
        printf '| %s |' "$case"
        for subject in "${ready[@]}"; do
            printf ' %s' "$(cell "$(median "$subject" "$case")" '%.3f' '')"
            [ "$subject" = rbuild ] || printf '(%s)' "$(ratio "$(median "$subject" "$case")" "$own")"
            printf ' |'
        done
        printf '\n'
    done
}

[ "$(id -u)" -eq 0 ] || die "root is needed"
bench_setup
"$top/scripts/base-busybox.sh" "$work/busybox.tar"
for subject in rbuild docker podman; do
    wanted "$subject" || continue
    "prepare_$subject" || continue
    ready+=("$subject")
    measure_engine "$subject"
    stop_dockerd
done
for subject in crun runc; do
    wanted "$subject" || continue
    prepare_bundle "$subject" || continue
    ready+=("$subject")
    measure_bundle "$subject"
done
[ "${#ready[@]}" -gt 0 ] || die "nothing to measure"
show
