# shellcheck shell=bash
# The registries, each on a loopback port with its data in the temporary folder. Every run starts
# on an empty registry: one blob of random bytes in a single upload (POST, then PUT, both timed),
# the blob read back, a manifest pushed, and that manifest read by tag over 16 connections.

registry_subjects=(rregistry docker-registry)
registry_pid=
registry_url=

bench_registry() {
    have curl || die "curl is missing; install it with: apt-get install curl"
    local subject run
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

# rate SUBJECT CASE: turns the seconds last recorded under CASE-seconds into MiB/s.
rate() {
    local seconds=${samples["$1 $2-seconds"]% }
    seconds=${seconds##* }
    record "$1" "$2" "$(awk -v m="$BLOB_MIB" -v s="$seconds" 'BEGIN { printf "%.0f", m / s }')"
}

measure_registry() {
    local subject=$1 digest config size requests
    # Other bytes in every run: nothing may be known from before.
    head -c 16 /dev/urandom | dd of="$work/blob" conv=notrunc status=none
    digest=$(sha256 "$work/blob")
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
        wrk -t 2 -c 16 -d "${WRK_SECONDS}s" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
            "$registry_url/v2/bench/manifests/latest" >"$work/wrk" 2>&1
        if grep -q 'Non-2xx' "$work/wrk"; then
            cat "$work/wrk" >&2
            die "$subject answered manifest requests with errors"
        fi
        requests=$(awk '/^Requests\/sec/ { printf "%.0f", $2 }' "$work/wrk")
        record "$subject" manifests "$requests"
    else
        log "wrk is not installed, manifests are not measured (apt-get install wrk)"
    fi
    record "$subject" memory "$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$registry_pid/status")"
}

print_registry_table() {
    local case title unit own peer
    cat <<TEXT
Registries: rregistry $(version_rregistry), docker-registry $(version_docker_registry).

| Case | rregistry | docker-registry | ratio in rregistry's favour |
|---|---:|---:|---:|
TEXT
    for case in push pull manifests memory; do
        unit=MiB/s
        case $case in
        push) title="push of a blob of $BLOB_MIB MiB" ;;
        pull) title='pull of it' ;;
        manifests) title='manifest GETs, 16 connections' unit=/s ;;
        memory) title='peak resident memory' unit=MiB ;;
        esac
        own=$(median rregistry "$case")
        peer=$(median docker-registry "$case")
        printf '| %s | %s | %s ' "$title" "$(cell "$own" %.0f $unit)" "$(cell "$peer" %.0f $unit)"
        if [ "$case" = memory ]; then
            printf '| %s |\n' "$(ratio "$peer" "$own")"
        else
            printf '| %s |\n' "$(ratio "$own" "$peer")"
        fi
    done
    echo
}
version_rregistry() {
    if [ -x "$BIN/rregistry" ]; then first_line "$BIN/rregistry" --version | sed 's/^rregistry //'; else echo '(not built)'; fi
}
version_docker_registry() {
    if have docker-registry; then first_line docker-registry --version | sed 's/.* //'; else echo '(not installed)'; fi
}
