# shellcheck shell=bash
# The builders. Cold means: the base image is in the store and nothing was built before. Cached
# means: the same build again. Changed means: again, with one of the files changed. Pushed means: one
# layer of PUSH_MIB, half random and half text, new in each run, built and pushed to a registry on
# loopback (rregistry).
#
# - rbuild: a fresh store with the base imported before each cold run.
# - docker classic: the built image and with it all it left (its step cache) is removed.
# - BuildKit: the built image is removed and the build cache pruned. That of Debian's docker, and that
#   of its next release's (`modern`), which scripts/modern-docker.sh installs.
# - buildah: the built image and all untagged ones (its layer cache) are removed.

build_subjects=(rbuild docker buildkit modern buildah)
build_ready=()
namespace_pid=

bench_build() {
    if [ ! -x "$BIN/rbuild" ] && wanted rbuild; then
        log "$BIN/rbuild is missing, its column stays empty (cargo build --release --bins)"
    fi
    "$top/scripts/base-busybox.sh" "$work/busybox.tar"
    make_contexts
    make_large_image
    start_namespaces
    start_push_registry
    # One subject after another, so that no idle daemon competes with the one measured.
    local subject
    for subject in "${build_subjects[@]}"; do
        wanted "$subject" || continue
        "prepare_$subject" || continue
        build_ready+=("$subject")
        measure_build "$subject" run20
        measure_build "$subject" copy20k
        [ -z "$push_registry" ] || measure_push "$subject"
        measure_stages "$subject"
        [ -z "$push_registry" ] || measure_transfer "$subject"
        [ -z "$push_registry" ] || [ "$subject" != rbuild ] || measure_shared
    done
    stop_dockerd
    stop_push_registry
}

make_contexts() {
    local i dir
    mkdir -p "$work/run20" "$work/copy20k"
    {
        echo 'FROM busybox:latest'
        for i in $(seq 20); do
            echo "RUN echo step $i > /step$i"
        done
    } >"$work/run20/Dockerfile"

    log "writing $FILES files of 8,000 bytes"
    printf 'FROM busybox:latest\nCOPY . /data\n' >"$work/copy20k/Dockerfile"
    # Text that compresses by a quarter, different in every file; 200 files a folder.
    i=0
    while ((i * 200 < FILES)); do
        dir=$work/copy20k/$(printf 'dir%04d' "$i")
        mkdir "$dir"
        local count=$((FILES - i * 200))
        ((count <= 200)) || count=200
        head -c $((count * 5926)) /dev/urandom | base64 -w 79 | head -c $((count * 8000)) |
            (cd "$dir" && split --bytes=8000 --numeric-suffixes --suffix-length=4 - file)
        i=$((i + 1))
    done
}

# Stages that sleep, and stages that copy: what stages cost beside what is done in them.
make_stages() {
    local kind=$1 count=$2 dir=$3 i
    mkdir -p "$dir"
    echo content >"$dir/file"
    {
        for ((i = 0; i < count; i++)); do
            echo "FROM busybox:latest AS s$i"
            case $kind in
            sleep) echo "RUN sleep 2 && echo $i > /out" ;;
            copy) echo "COPY file /out$i" ;;
            esac
        done
        echo 'FROM busybox:latest'
        case $kind in
        sleep) for ((i = 0; i < count; i++)); do echo "COPY --from=s$i /out /out$i"; done ;;
        copy)
            # All of them end in one layer: an image may have 125.
            echo 'RUN \'
            for ((i = 0; i < count; i++)); do
                echo "  --mount=type=bind,from=s$i,source=/out$i,target=/in/$i \\"
            done
            echo '  cat /in/* > /all'
            ;;
        esac
    } >"$dir/Dockerfile"
}
measure_stages() {
    local subject=$1 run case dir
    for case in sleep-4 copy-20 copy-200; do
        # docker classic knows no mounts.
        [ "$subject-${case%-*}" != docker-copy ] || continue
        dir=$work/stages-$case
        [ -d "$dir" ] || make_stages "${case%-*}" "${case#*-}" "$dir"
        for ((run = 0; run < RUNS; run++)); do
            "clean_$subject"
            timed "$subject" "stages-$case" "build_$subject" "$dir"
        done
    done
}

# Half a gigabyte of programs, libraries and documents of this Debian, as one layer.
make_large_image() {
    log "packing $LARGE_MIB MiB of /usr"
    mkdir "$work/large"
    local size=0 dir kib
    for dir in /usr/bin /usr/sbin /usr/share/doc /usr/share/man /usr/share/perl /usr/lib/x86_64-linux-gnu \
        /usr/lib/aarch64-linux-gnu /usr/share/locale /usr/lib/python3 /usr/lib/go* /usr/lib; do
        [ -d "$dir" ] && [ ! -L "$dir" ] || continue
        kib=$(du -skx "$dir" | cut -f 1)
        ((size + kib <= LARGE_MIB * 1024)) || continue
        size=$((size + kib))
        echo "$dir"
    done >"$work/large.list"
    tar -cf "$work/large.tar" --one-file-system --files-from "$work/large.list" 2>/dev/null || true
    log "packed $(($(stat -c %s "$work/large.tar") >> 20)) MiB"
}

measure_transfer() {
    local subject=$1 run
    # It is the daemon's work, whoever built.
    [ "$subject" != buildkit ] || return 0
    for ((run = 0; run < RUNS; run++)); do
        stop_push_registry
        rm -rf -- "$work/push-registry"
        start_push_registry
        "clean_$subject"
        quiet "import_$subject" "$work/large.tar" "$push_registry/large"
        timed "$subject" large-push "send_$subject" "$push_registry/large"
        quiet "forget_$subject" "$push_registry/large"
        timed "$subject" large-pull "fetch_$subject" "$push_registry/large"
        quiet "forget_$subject" "$push_registry/large"
    done
}

measure_build() {
    local subject=$1 case=$2 run
    for ((run = 0; run < RUNS; run++)); do
        "clean_$subject"
        timed "$subject" "$case-cold" "build_$subject" "$work/$case"
        refuse_cache_hits "$subject"
        timed "$subject" "$case-cached" "build_$subject" "$work/$case"
        [ "$case" = copy20k ] || continue
        echo "changed in run $run of $subject" >"$work/$case/dir0000/file0000"
        timed "$subject" "$case-changed" "build_$subject" "$work/$case"
    done
}

# A registry in the namespaces of the builders, which all of them push to.
push_registry=
push_registry_pid=
start_push_registry() {
    local port i
    [ -x "$BIN/rregistry" ] || { log "$BIN/rregistry is missing, nothing is pushed"; return 0; }
    port=$(free_port)
    mkdir "$work/push-registry"
    nsenter --target "$namespace_pid" --net --mount -- "$BIN/rregistry" serve --addr "127.0.0.1:$port" \
        --data-dir "$work/push-registry" >"$work/push-registry.log" 2>&1 </dev/null &
    push_registry_pid=$!
    at_exit stop_push_registry
    for ((i = 0; i < 100; i++)); do
        if inside curl -fs "http://127.0.0.1:$port/v2/" >/dev/null; then
            push_registry=127.0.0.1:$port
            return 0
        fi
        sleep 0.1
    done
    tail -n 20 "$work/push-registry.log" >&2
    die "rregistry did not start (its last lines are above)"
}
stop_push_registry() {
    [ -n "$push_registry_pid" ] || return 0
    stop_process "$push_registry_pid"
    push_registry_pid=
}

measure_push() {
    local subject=$1 run
    mkdir -p "$work/push"
    printf 'FROM busybox:latest\nCOPY half /\n' >"$work/push/Dockerfile"
    for ((run = 0; run < RUNS; run++)); do
        "clean_$subject"
        {
            head -c $((PUSH_MIB * 524288)) /dev/urandom
            # head ends when it has enough, and seq fails then.
            seq "$RANDOM" 100000000 2>/dev/null | head -c $((PUSH_MIB * 524288)) || true
        } >"$work/push/half"
        timed "$subject" pushed "push_$subject" "$work/push"
    done
    rm -f -- "$work/push/half"
}

# A registry that has the steps, and a store that has nothing: what another machine pays.
measure_shared() {
    local run context=$work/shared
    mkdir -p "$context"
    sed "s#^FROM .*#FROM $push_registry/busybox#" "$work/run20/Dockerfile" >"$context/Dockerfile"
    clean_rbuild
    local rbuild=(inside "$BIN/rbuild" --root "$work/rbuild")
    quiet "${rbuild[@]}" tag busybox:latest "$push_registry/busybox"
    quiet "${rbuild[@]}" push "$push_registry/busybox"
    quiet "${rbuild[@]}" build --cache-to "type=registry,ref=$push_registry/cache" "$context"
    for ((run = 0; run < RUNS; run++)); do
        rm -rf --one-file-system -- "$work/rbuild"
        timed rbuild shared shared_rbuild "$context"
    done
}

# A cold build that took anything from a cache measured something else.
refuse_cache_hits() {
    if grep -qE '^( ---> Using cache|--> Using cache|#[0-9]+ CACHED)|CACHED$' "$work/output"; then
        tail -n 30 "$work/output" >&2
        die "$1: the cold build found a cache"
    fi
}

# Network and mount namespaces that hold dockerd's bridge, its firewall rules and all mounts.
start_namespaces() {
    local i
    unshare --net --mount --propagation private sleep infinity &
    namespace_pid=$!
    at_exit "stop_process $namespace_pid"
    for ((i = 0; i < 50; i++)); do
        [ "$(cat "/proc/$namespace_pid/comm" 2>/dev/null)" != sleep ] || break
        sleep 0.1
    done
    inside ip link set lo up
    # What dockerd and the network plugins of buildah would leave behind.
    inside mount -t tmpfs tmpfs /run
    if [ ! -d /var/lib/cni ]; then
        mkdir /var/lib/cni
        at_exit "rmdir --ignore-fail-on-non-empty /var/lib/cni"
    fi
    inside mount -t tmpfs tmpfs /var/lib/cni
}
inside_peak() {
    peak nsenter --target "$namespace_pid" --net --mount -- "$@"
}
inside() {
    nsenter --target "$namespace_pid" --net --mount -- "$@"
}

# rbuild

prepare_rbuild() {
    [ -x "$BIN/rbuild" ]
}
clean_rbuild() {
    rm -rf --one-file-system -- "$work/rbuild"
    quiet "$BIN/rbuild" --root "$work/rbuild" import "$work/busybox.tar" busybox:latest
}
build_rbuild() {
    peak "$BIN/rbuild" --root "$work/rbuild" build -t bench "$1"
}
import_rbuild() {
    "$BIN/rbuild" --root "$work/rbuild" import "$1" "$2"
}
send_rbuild() {
    inside_peak "$BIN/rbuild" --root "$work/rbuild" push "$1"
}
forget_rbuild() {
    rm -rf --one-file-system -- "$work/rbuild"
}
fetch_rbuild() {
    inside_peak "$BIN/rbuild" --root "$work/rbuild" pull "$1"
}
push_rbuild() {
    inside_peak "$BIN/rbuild" --root "$work/rbuild" build --push --tag "$push_registry/rbuild" "$1"
}

shared_rbuild() {
    inside "$BIN/rbuild" --root "$work/rbuild" build --cache-from "$push_registry/cache" \
        --output "type=registry,name=$push_registry/shared" "$1"
}

# docker, classic and BuildKit, on one private daemon, and on the next release's

dockerd_pid=
docker=()
cgroup_parent=peers-$$

# Starts the daemon of this machine, or that of the root file system given.
start_dockerd() {
    local root=${1:-}
    [ -z "$dockerd_pid" ] || return 0
    docker=(env "DOCKER_HOST=unix://$work/docker.sock" "DOCKER_CONFIG=$work/docker-config" "$DOCKER")
    have "$DOCKER" || return 1
    [ -n "$root" ] || have dockerd || return 1
    mkdir -p "$work/docker-config"
    # An empty configuration: the machine's own /etc/docker/daemon.json does not count here.
    echo '{}' >"$work/daemon.json"
    # Not through inside(): the process in the background has to be dockerd itself.
    # shellcheck disable=SC2016  # the inner shell's variables
    local enter='exec "$@"'
    [ -z "$root" ] || enter='mount --bind "$0" "$0"
        for d in proc sys dev; do mount --rbind "/$d" "$0/$d"; done
        mount --bind "$WORK" "$0$WORK"
        exec chroot "$0" "$@"'
    if [ -n "$root" ] && [ ! -d "$root$work" ]; then
        mkdir -p "$root$work"
        at_exit "rmdir '$root$work'"
    fi
    nsenter --target "$namespace_pid" --net --mount -- \
        env WORK="$work" unshare --mount --propagation private -- sh -c "$enter" "${root:-none}" \
        dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" \
        --pidfile "$work/docker.pid" --host "unix://$work/docker.sock" --config-file "$work/daemon.json" \
        --storage-driver overlay2 --cgroup-parent "/$cgroup_parent" >"$work/dockerd.log" 2>&1 </dev/null &
    dockerd_pid=$!
    at_exit stop_dockerd
    await_dockerd "$dockerd_pid" "${docker[@]}"
}
stop_dockerd() {
    [ -n "$dockerd_pid" ] || return 0
    stop_process "$dockerd_pid"
    dockerd_pid=
    remove_cgroups
}

# The cgroups of its containers and of BuildKit, which it leaves where they are of version 1.
remove_cgroups() {
    local dir
    for dir in /sys/fs/cgroup/"$cgroup_parent" /sys/fs/cgroup/*/"$cgroup_parent"; do
        [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}

prepare_docker() {
    start_dockerd || { log "dockerd or docker is not installed, its columns stay empty"; return 1; }
}
clean_docker() {
    "${docker[@]}" rmi --force bench >/dev/null 2>&1 || true
    quiet "${docker[@]}" image prune --force
}
build_docker() {
    DOCKER_BUILDKIT=0 "${docker[@]}" build --tag bench "$1"
}
import_docker() {
    "${docker[@]}" import "$1" "$2"
}
send_docker() {
    "${docker[@]}" push "$1"
}
forget_docker() {
    "${docker[@]}" rmi --force "$1"
}
fetch_docker() {
    "${docker[@]}" pull "$1"
}
push_docker() {
    build_docker "$1"
    "${docker[@]}" tag bench "$push_registry/docker"
    "${docker[@]}" push "$push_registry/docker"
}

prepare_buildkit() {
    start_dockerd || return 1
    mkdir -p "$work/probe"
    printf 'FROM scratch\nLABEL a=b\n' >"$work/probe/Dockerfile"
    DOCKER_BUILDKIT=1 "${docker[@]}" build "$work/probe" >/dev/null 2>&1 </dev/null ||
        { log "$DOCKER cannot speak BuildKit, its column stays empty"; return 1; }
}
clean_buildkit() {
    clean_docker
    quiet "${docker[@]}" builder prune --all --force
}
build_buildkit() {
    DOCKER_BUILDKIT=1 "${docker[@]}" build --progress plain --tag bench "$1"
}
push_buildkit() {
    build_buildkit "$1"
    "${docker[@]}" tag bench "$push_registry/buildkit"
    "${docker[@]}" push "$push_registry/buildkit"
}

# The next release's BuildKit

prepare_modern() {
    [ -x "$MODERN/usr/sbin/dockerd" ] && [ -L "$MODERN/usr/sbin/iptables" ] ||
        { log "no dockerd in $MODERN, its column stays empty (scripts/modern-docker.sh)"; return 1; }
    stop_dockerd
    rm -rf --one-file-system -- "$work/docker"
    start_dockerd "$MODERN"
}
clean_modern() {
    clean_buildkit
}
build_modern() {
    build_buildkit "$1"
}
import_modern() {
    import_docker "$@"
}
send_modern() {
    send_docker "$1"
}
forget_modern() {
    forget_docker "$1"
}
fetch_modern() {
    fetch_docker "$1"
}
push_modern() {
    build_buildkit "$1"
    "${docker[@]}" tag bench "$push_registry/modern"
    "${docker[@]}" push "$push_registry/modern"
}

# buildah

buildah_run() {
    inside buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver overlay "$@"
}
prepare_buildah() {
    have buildah || { log "buildah is not installed, its column stays empty"; return 1; }
    stop_dockerd
    buildah_flags=(--layers)
    # Debian's crun refuses the hybrid cgroup hierarchy; runc runs on every one.
    if have runc && [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
        buildah_flags+=(--runtime "$(command -v runc)")
    fi
    local container
    container=$(buildah_run from scratch) || die "buildah from scratch failed"
    quiet buildah_run add "$container" "$work/busybox.tar" /
    quiet buildah_run config --cmd '["sh"]' "$container"
    quiet buildah_run commit --rm "$container" busybox:latest
}
clean_buildah() {
    buildah_run rmi --force localhost/bench >/dev/null 2>&1 || true
    quiet buildah_run rmi --prune --force
}
build_buildah() {
    buildah_run bud "${buildah_flags[@]}" --tag bench "$1"
}
import_buildah() {
    local container
    container=$(buildah_run from scratch)
    buildah_run add "$container" "$1" /
    buildah_run commit --rm "$container" "$2"
}
send_buildah() {
    buildah_run push --tls-verify=false "$1"
}
forget_buildah() {
    buildah_run rmi --force "$1"
}
fetch_buildah() {
    buildah_run pull --tls-verify=false "$1"
}
push_buildah() {
    build_buildah "$1"
    buildah_run push --tls-verify=false bench "docker://$push_registry/buildah"
}

# The table

print_build_table() {
    local case title value subject peers own
    cat <<TEXT
Builders: rbuild $(version_rbuild), docker $(version_docker) (classic, and its BuildKit), docker $(version_modern)
(its BuildKit), buildah $(version_buildah).

| Case | rbuild | docker classic | its BuildKit | newer BuildKit | buildah | best peer ÷ rbuild |
|---|---:|---:|---:|---:|---:|---:|
TEXT
    for case in run20-cold run20-cached copy20k-cold copy20k-cached copy20k-changed stages-sleep-4 stages-copy-20 \
        stages-copy-200 pushed large-push large-pull shared; do
        case $case in
        run20-cold) title='20 tiny RUN steps, cold' ;;
        run20-cached) title='the same, fully cached' ;;
        copy20k-cold) title="COPY of $FILES files ($((FILES * 8 / 1000)) MB), cold" ;;
        copy20k-cached) title='the same, cached' ;;
        copy20k-changed) title='the same, one file changed' ;;
        stages-sleep-4) title='four stages of 2 s each' ;;
        stages-copy-20) title='20 stages of one COPY' ;;
        stages-copy-200) title='200 stages of one COPY' ;;
        large-push) title="image of $LARGE_MIB MiB of Debian, pushed" ;;
        large-pull) title='the same, pulled and unpacked' ;;
        shared) title='the 20 steps of a registry cache, on an empty store, pushed' ;;
        pushed) title="layer of $PUSH_MIB MiB, built and pushed" ;;
        esac
        printf '| %s ' "$title"
        peers=()
        own=$(median rbuild "$case")
        for subject in "${build_subjects[@]}"; do
            value=$(median "$subject" "$case")
            [ "$subject" = rbuild ] || peers+=("$value")
            printf '| %s ' "$(cell "$value" %.3f s)"
        done
        printf '| %s |\n' "$(ratio "$(best lower "${peers[@]}")" "$own")"
    done
    printf '| peak resident memory of the program | %s | – | – | – | – | – |\n\n' \
        "$(cell "$(peak_memory)" %d MiB)"
}

# Runs a command of rbuild's, and notes the most memory that it, or one process below it, had.
peak() {
    if [ -x /usr/bin/time ]; then
        /usr/bin/time --append --output "$work/peaks" --format %M -- "$@"
    else
        "$@"
    fi
}
# In MiB; empty when it was not measured.
peak_memory() {
    [ ! -f "$work/peaks" ] || sort -n "$work/peaks" | awk '/^[0-9]+$/ { kib = $1 } END { print int(kib / 1024) }'
}
version_rbuild() {
    if [ -x "$BIN/rbuild" ]; then first_line "$BIN/rbuild" --version | sed 's/^rbuild //'; else echo '(not built)'; fi
}
version_docker() {
    if have dockerd; then first_line dockerd --version | sed 's/^Docker version //; s/,.*//'; else echo '(not installed)'; fi
}
version_modern() {
    if [ -x "$MODERN/usr/sbin/dockerd" ]; then
        chroot "$MODERN" dockerd --version | sed 's/^Docker version //; s/,.*//'
    else
        echo '(not installed)'
    fi
}
version_buildah() {
    if have buildah; then first_line buildah --version | sed 's/^buildah version //; s/ .*//'; else echo '(not installed)'; fi
}
