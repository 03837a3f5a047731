#!/usr/bin/env bash
# Installs the Debian packages that a make target needs, if any of them is missing.
#
# Usage: scripts/install-deps.sh build|demo|dist|lint|test
#
# Nothing happens when all are there. Installing needs root on a Debian-like system; anywhere else
# a missing package is reported and the target goes on, and tests say what they skip for want of
# it. No service is started by an installation: the tests start private daemons.
#
# Environment:
#   RBUILD_TEST_REQUIRE_ALL=1  a package that is missing and cannot be installed is an error
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

log() {
    echo "install-deps: $*" >&2
}

build=(gcc libc6-dev make)
demo=(busybox-static ca-certificates curl)
clients=(docker.io buildah podman skopeo umoci docker-registry crun runc)
browser=(chromium fonts-liberation)
# Node's own packages bring npm along, and Debian's does not go with them.
command -v npm >/dev/null || browser+=(nodejs npm)
tools=(qemu-user-static attr debootstrap uidmap passt iproute2 nftables iptables jq xz-utils bzip2 zstd openssl procps e2fsprogs zsh fish tmux nginx slapd ldap-utils postgresql strace)
# Kubernetes' own package has kubectl under the same path.
command -v kubectl >/dev/null || clients+=(kubernetes-client)
case "${1:-}" in
build) packages=("${build[@]}") ;;
demo) packages=("${build[@]}" "${demo[@]}") ;;
dist) packages=("${build[@]}" musl-tools binutils rpm) ;;
lint) packages=("${build[@]}" shellcheck) ;;
test) packages=("${build[@]}" "${demo[@]}" "${clients[@]}" "${tools[@]}" "${browser[@]}") ;;
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
*)
    log "usage: $0 build|demo|dist|lint|test"
    exit 2
    ;;
esac

give_up() {
    log "$*"
    [ "${RBUILD_TEST_REQUIRE_ALL:-0}" != 1 ] || exit 1
    exit 0
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    give_up "not a Debian system; these Debian packages, or their like, are needed: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install="apt-get install --no-install-recommends ${missing[*]}"
[ "$(id -u)" -eq 0 ] || give_up "missing: ${missing[*]} (as root: $install)"

log "installing ${missing[*]}"
# docker.io, docker-registry and postgresql would start their daemons; policy-rc.d is Debian's way to say no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
fi
apt=(apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
"${apt[@]}" update </dev/null || log "apt-get update failed; trying with the lists there are"
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >&2 ||
    give_up "could not install everything (as root: $install)"
