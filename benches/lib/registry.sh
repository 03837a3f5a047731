# shellcheck shell=bash
# The registries, each on a loopback port with its data in the temporary folder. Every run starts
# on an empty registry: one blob of random bytes in a single upload (POST, then PUT, both timed),
# the blob read back, a manifest pushed, that manifest and a small blob read over 16 connections,
# 64 blobs pushed at once, small images pushed over one connection, and lists of many names.

registry_subjects=(rregistry docker-registry)
registry_pid=
registry_url=

bench_registry() {
    have curl || die "curl is missing; install it with: apt-get install curl"
    local subject run
    [ -x "$LOAD" ] || die "$LOAD is missing (cargo build --release -p registry --example load)"
    log "writing a blob of $BLOB_MIB MiB"
    head -c $((BLOB_MIB * 1048576)) /dev/urandom >"$work/blob"
    at_exit stop_registry
    for subject in "${registry_subjects[@]}"; do
        wanted "$subject" || continue
        case $subject in
        rregistry)
            [ -x "$BIN/rregistry" ] || {
                log "$BIN/rregistry is missing, its column stays empty (cargo build --release --bins)"
                continue
            }
            ;;
        docker-registry)
            have docker-registry || {
                log "docker-registry is not installed, its column stays empty"
                continue
            }
            ;;
        esac
        for ((run = 0; run < RUNS; run++)); do
            start_registry "$subject"
            measure_registry "$subject"
            stop_registry
        done
    done
    rm -f -- "$work/blob"
}

start_registry() {
    local subject=$1 port i
    port=$(free_port)
    registry_url=http://127.0.0.1:$port
    rm -rf --one-file-system -- "$work/registry"
    mkdir "$work/registry"
    if [ "$subject" = rregistry ]; then
        "$BIN/rregistry" serve --addr "127.0.0.1:$port" --data-dir "$work/registry" \
            >"$work/registry.log" 2>&1 </dev/null &
    else
        # As Debian's own /etc/docker/registry/config.yml has it, without passwords.
        cat >"$work/registry.yml" <<CONFIG
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: $work/registry
  delete:
    enabled: true
http:
  addr: 127.0.0.1:$port
CONFIG
        docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 </dev/null &
    fi
    registry_pid=$!
    for ((i = 0; i < 100; i++)); do
        ! curl -fsS -o /dev/null "$registry_url/v2/" 2>/dev/null || return 0
        kill -0 "$registry_pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/registry.log" >&2
    die "$subject did not answer (its last lines are above)"
}
stop_registry() {
    [ -n "$registry_pid" ] || return 0
    stop_process "$registry_pid"
    registry_pid=
    rm -rf --one-file-system -- "$work/registry"
}

sha256() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# upload_blob FILE HEX: one upload session, the whole blob in one PUT.
upload_blob() {
    local location separator='?'
    location=$(curl -fsS -o /dev/null -D - -X POST "$registry_url/v2/bench/blobs/uploads/" |
        tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
    [ -n "$location" ] || return 1
    [[ $location == http* ]] || location=$registry_url$location
    [[ $location != *\?* ]] || separator='&'
    curl -fsS -o /dev/null -X PUT -H 'Expect:' -H 'Content-Type: application/octet-stream' \
        --upload-file "$1" "${location}${separator}digest=sha256:$2"
}
download_blob() {
    curl -fsS -o /dev/null "$registry_url/v2/bench/blobs/sha256:$1"
}

# What the disk alone allows: the blob as a file that is synced.
write_and_sync() {
    dd if="$work/blob" of="$work/copy" bs=1M conv=fsync status=none
}

# load SUBJECT CASE ARGS...: a case of the load program, recorded as it prints it.
load() {
    local subject=$1 case=$2 value
    shift 2
    value=$("$LOAD" "$registry_url" "$@") || die "$subject failed: load $*"
    record "$subject" "$case" "$value"
}

# requests SUBJECT CASE PATH [WRK-ARGS...]: requests a second over 16 connections.
requests() {
    local subject=$1 case=$2 path=$3
    shift 3
    wrk -t 2 -c 16 -d "${WRK_SECONDS}s" "$@" "$registry_url$path" >"$work/wrk" 2>&1
    if grep -q 'Non-2xx' "$work/wrk"; then
        cat "$work/wrk" >&2
        die "$subject answered requests of $path with errors"
    fi
    record "$subject" "$case" "$(awk '/^Requests\/sec/ { printf "%.0f", $2 }' "$work/wrk")"
}

# rate SUBJECT CASE: turns the seconds last recorded under CASE-seconds into MiB/s.
rate() {
    local seconds=${samples["$1 $2-seconds"]% }
    seconds=${seconds##* }
    record "$1" "$2" "$(awk -v m="$BLOB_MIB" -v s="$seconds" 'BEGIN { printf "%.0f", m / s }')"
}

measure_registry() {
    local subject=$1 digest config size
    # Other bytes in every run: nothing may be known from before.
    head -c 16 /dev/urandom | dd of="$work/blob" conv=notrunc status=none
    digest=$(sha256 "$work/blob")
    timed "$subject" disk-seconds write_and_sync
    rate "$subject" disk
    rm -f -- "$work/copy"
    timed "$subject" push-seconds upload_blob "$work/blob" "$digest"
    rate "$subject" push
    timed "$subject" pull-seconds download_blob "$digest"
    rate "$subject" pull

    printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$digest" >"$work/config.json"
    config=$(sha256 "$work/config.json")
    size=$(stat -c %s "$work/config.json")
    quiet upload_blob "$work/config.json" "$config"
    cat >"$work/manifest.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$size},
"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:$digest","size":$((BLOB_MIB * 1048576))}]}
JSON
    quiet curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$work/manifest.json" "$registry_url/v2/bench/manifests/latest"

    if have wrk; then
        requests "$subject" manifests /v2/bench/manifests/latest \
            -H 'Accept: application/vnd.oci.image.manifest.v1+json'
        head -c 1000 /dev/urandom >"$work/small"
        config=$(sha256 "$work/small")
        quiet upload_blob "$work/small" "$config"
        requests "$subject" small "/v2/bench/blobs/sha256:$config"
    else
        log "wrk is not installed, requests a second are not measured (apt-get install wrk)"
    fi
    load "$subject" heads heads "/v2/bench/blobs/sha256:$digest" 20000
    load "$subject" parallel parallel 64 10
    load "$subject" images images "$IMAGES"
    load "$subject" tag-pushes tags "$NAMES"
    load "$subject" tags latency '/v2/tags/tags/list?n=100' 200
    load "$subject" name-pushes repositories "$NAMES"
    load "$subject" catalog latency '/v2/_catalog?n=100' 50
    record "$subject" memory "$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$registry_pid/status")"
}

print_registry_table() {
    local case title unit own peer format
    cat <<TEXT
Registries: rregistry $(version_rregistry), docker-registry $(version_docker_registry).

| Case | rregistry | docker-registry | ratio in rregistry's favour |
|---|---:|---:|---:|
TEXT
    for case in disk push pull parallel manifests small heads images tags catalog memory; do
        unit=MiB/s format=%.0f
        case $case in
        disk) title="a file of $BLOB_MIB MiB written and synced, for comparison" ;;
        push) title="push of a blob of $BLOB_MIB MiB" ;;
        pull) title='pull of it' ;;
        parallel) title='64 blobs of 10 MiB pushed at once' ;;
        manifests) title='manifest GETs, 16 connections' unit=/s ;;
        small) title='GETs of a blob of 1 kB, 16 connections' unit=/s ;;
        heads) title='HEADs of a blob, 16 connections' unit=/s ;;
        images) title='small images pushed over one connection' unit=/s ;;
        tags) title="100 of $NAMES tags listed" unit=ms format=%.2f ;;
        catalog) title="100 of $NAMES repositories listed" unit=ms format=%.2f ;;
        memory) title='peak resident memory' unit=MiB ;;
        esac
        own=$(median rregistry "$case")
        peer=$(median docker-registry "$case")
        printf '| %s | %s | %s ' "$title" "$(cell "$own" "$format" $unit)" \
            "$(cell "$peer" "$format" $unit)"
        case $case in
        disk) printf '| |\n' ;;
        memory | tags | catalog) printf '| %s |\n' "$(ratio "$peer" "$own")" ;;
        *) printf '| %s |\n' "$(ratio "$own" "$peer")" ;;
        esac
    done
    echo
}
version_rregistry() {
    if [ -x "$BIN/rregistry" ]; then first_line "$BIN/rregistry" --version | sed 's/^rregistry //'; else echo '(not built)'; fi
}
version_docker_registry() {
    if have docker-registry; then first_line docker-registry --version | sed 's/.* //'; else echo '(not installed)'; fi
}
