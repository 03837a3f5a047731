# shellcheck shell=bash
# What both halves of the benchmark share: the temporary folder, timing, medians, cleaning up.

# Figures by "subject case", each a list of numbers.
declare -A samples=()
work=
cleanups=()

die() {
    echo "peers: $*" >&2
    exit 1
}
log() {
    echo "peers: $*" >&2
}

# Registers a command for the end; the last one registered runs first.
at_exit() {
    cleanups+=("$*")
}
run_cleanups() {
    local status=$? i
    trap '' INT TERM
    set +e
    for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
        eval "${cleanups[i]}"
    done
    cleanups=()
    exit "$status"
}

bench_setup() {
    trap run_cleanups EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX")
    at_exit remove_work
    local free
    free=$(df --output=avail -BM "$work" | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge 6000 ] || die "only $free MB are free in $work; set TMPDIR to a place with 6 GB"
}

remove_work() {
    local mnt
    # Deepest first; there are none after a clean stop.
    while IFS= read -r mnt; do
        umount -l -- "$mnt"
    done < <(awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    rm -rf --one-file-system -- "$work"
}

# Ends one of our processes and waits until it is gone; the status of an ended one is of no
# interest, and none of it may end the script.
stop_process() {
    local pid=$1 i
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((i = 0; i < 300; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        # A child of ours that has ended stays until it is waited for.
        [ "$(awk '/^State/ { print $2 }' "/proc/$pid/status" 2>/dev/null)" != Z ] || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

wanted() {
    [[ " $ONLY " == *" $1 "* ]]
}
have() {
    command -v "$1" >/dev/null
}

# record SUBJECT CASE VALUE
record() {
    samples["$1 $2"]+="$3 "
    log "$(printf '%-16s %-14s %s' "$1" "$2" "$3")"
}

# timed SUBJECT CASE COMMAND...: runs it and records the seconds it took.
timed() {
    local subject=$1 case=$2 start end
    shift 2
    sync -f "$work"
    start=$EPOCHREALTIME
    "$@" >"$work/output" 2>&1 </dev/null || {
        tail -n 30 "$work/output" >&2
        die "$subject failed: $*"
    }
    end=$EPOCHREALTIME
    record "$subject" "$case" "$(awk -v s="$start" -v e="$end" 'BEGIN { printf "%.4f", e - s }')"
}

# quiet COMMAND...: runs it, showing its output only if it fails.
quiet() {
    "$@" >"$work/quiet" 2>&1 </dev/null || {
        tail -n 30 "$work/quiet" >&2
        die "failed: $*"
    }
}

# median SUBJECT CASE: empty without samples.
median() {
    local values=${samples["$1 $2"]:-}
    [ -n "$values" ] || return 0
    tr ' ' '\n' <<<"$values" | grep . | sort -g |
        awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# best lower|higher VALUE...: empty values are left out.
best() {
    local order=$1
    shift
    printf '%s\n' "$@" | grep . | sort -g | if [ "$order" = lower ]; then head -n 1; else tail -n 1; fi || true
}

# cell VALUE FORMAT UNIT
cell() {
    if [ -z "$1" ]; then
        printf '–'
    else
        # shellcheck disable=SC2059
        printf "$2 $3" "$1"
    fi
}

# ratio A B: how many times A is B.
ratio() {
    if [ -z "$1" ] || [ -z "$2" ]; then
        printf '–'
    else
        awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.1f×", a / b; else printf "–" }'
    fi
}

# A loopback port on which nothing listens.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free loopback port found"
}

first_line() {
    # The first line of a command's output; a pipe to head could end the command early.
    local text
    text=$("$@" 2>/dev/null) || text=
    echo "${text%%$'\n'*}"
}

describe_machine() {
    local cpu memory
    cpu=$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    cat <<TEXT
$(date -u +%F), ${cpu:-$(uname -m)}, $(nproc) cores, $memory, Linux $(uname -r | sed 's/[-+].*//'), $(df --output=fstype "$work" | tail -n 1) file system.
Medians of $RUNS runs; load average at the start $(cut -d ' ' -f 1 /proc/loadavg).

TEXT
}

# Waits until a dockerd answers, and gives it busybox: PID CLIENT...
await_dockerd() {
    local pid=$1 i
    shift
    for ((i = 0; i < 300; i++)); do
        if "$@" version >/dev/null 2>&1; then
            quiet "$@" import --change 'CMD ["sh"]' "$work/busybox.tar" busybox:latest
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/dockerd.log" >&2
    die "dockerd did not start (its last lines are above)"
}
