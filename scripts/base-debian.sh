#!/usr/bin/env bash
# Writes a minimal Debian root file system as a tar archive, for `rbuild import`.
#
# Usage: scripts/base-debian.sh OUT.tar
#
# The tree is a debootstrap'ed minbase laid out like Docker Hub's debian image: deb822 sources,
# apt settings for small layers, services not started by package scripts, no apt lists or caches.
# What a container needs from this host to reach the network is taken along, where the host has
# it: private certificate authorities (/usr/local/share/ca-certificates) and apt's proxy.
# An archive newer than this script and those certificates is kept as it is.
#
# With a private authority pip needs to be told too; OUT.tar.changes then holds the lines for
# `rbuild import --change` (empty otherwise):
#
#   mapfile -t changes <OUT.tar.changes
#   rbuild import OUT.tar debian:bookworm "${changes[@]/#/--change=}"
#
# Environment:
#   DEBIAN_SUITE   release (default: bookworm)
#   DEBIAN_MIRROR  mirror (default: http://deb.debian.org/debian)
#   FORCE=1        build it even if OUT.tar is up to date
set -euo pipefail
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "base-debian: $*" >&2
    exit 1
}

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac
[ $# -eq 1 ] || die "usage: $0 OUT.tar"
out=$1
suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
certs=/usr/local/share/ca-certificates

up_to_date() {
    [ "${FORCE:-0}" != 1 ] && [ -s "$out" ] && [ -e "$out.changes" ] && [ "$out" -nt "$0" ] || return 1
    [ ! -d "$certs" ] || [ -z "$(find "$certs" -newer "$out" -print -quit)" ]
}

mkdir -p -- "$(dirname -- "$out")"
# Several tests may want the archive at once; the first one makes it.
exec 9>"$out.lock"
flock 9
if up_to_date; then
    echo "base-debian: $out is up to date" >&2
    exit 0
fi

[ "$(id -u)" -eq 0 ] || die "root is needed, debootstrap makes a chroot (try: sudo $0 $out)"
command -v debootstrap >/dev/null ||
    die "debootstrap is missing; install it with: apt-get install --no-install-recommends debootstrap"
command -v tar >/dev/null || die "tar is missing"

work=$(mktemp -d "${TMPDIR:-/tmp}/base-debian.XXXXXX")
root=$work/root
cleanup() {
    # debootstrap leaves these mounted when it is interrupted.
    for mnt in proc sys; do
        ! mountpoint -q "$root/$mnt" || umount -l "$root/$mnt" || true
    done
    rm -rf --one-file-system -- "$work"
    rm -f -- "$out.tmp.$$" "$out.changes.tmp.$$"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "base-debian: bootstrapping $suite from $mirror" >&2
# A release that is newer than this debootstrap is made as the unstable one.
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=${script%/*}/sid
if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" "$script" \
    >"$work/debootstrap.log" 2>&1; then
    tail -n 20 "$work/debootstrap.log" >&2
    if [ -f "$root/debootstrap/debootstrap.log" ]; then
        tail -n 20 "$root/debootstrap/debootstrap.log" >&2
    fi
    die "debootstrap failed (its last lines are above); is $mirror reachable?"
fi

# Sources as in Docker Hub's image, so that Dockerfiles which edit them work on both.
rm -f "$root/etc/apt/sources.list"
cat >"$root/etc/apt/sources.list.d/debian.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: ${mirror%/}-security
Suites: $suite-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES

cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'APT'
// Every RUN is a layer: downloaded packages in it would only take space.
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
APT::AutoRemove::SuggestsImportant "false";
APT

# apt settings without which this host's network cannot be used; only these, and only if set.
if command -v apt-config >/dev/null; then
    apt-config dump --no-empty |
        grep -iE '^Acquire::(https?::Proxy(::|[[:space:]])|Check-Valid-Until|Check-Date|ForceIPv4)' \
            >"$root/etc/apt/apt.conf.d/90host-network" || rm -f "$root/etc/apt/apt.conf.d/90host-network"
fi

# Package scripts must not start services: there is no init in a build step.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
# Syncing every unpacked file only costs time; a build step is kept whole or not at all.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"

: >"$out.changes.tmp.$$"
if [ -d "$certs" ] && [ -n "$(find "$certs" -name '*.crt' -print -quit)" ]; then
    mkdir -p "$root/usr/local/share/ca-certificates"
    find "$certs" -name '*.crt' -exec cp -L --target-directory="$root/usr/local/share/ca-certificates" {} +
    chroot "$root" update-ca-certificates >/dev/null 2>&1 ||
        die "update-ca-certificates failed in the new root"
    # pip brings its own list of authorities and ignores the system's.
    echo 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' >>"$out.changes.tmp.$$"
fi
echo 'CMD ["bash"]' >>"$out.changes.tmp.$$"

chroot "$root" apt-get clean
find "$root/var/lib/apt/lists" "$root/var/cache/apt" "$root/var/cache/debconf" -type f \
    ! -name lock -delete
find "$root/var/log" -type f -delete
find "$root/tmp" "$root/var/tmp" "$root/run" -mindepth 1 -delete
rm -rf "$root/debootstrap" "$root/var/cache/ldconfig"
rm -f "$root"/var/lib/dpkg/*-old "$root/etc/passwd-" "$root/etc/group-" "$root/etc/shadow-" "$root/etc/gshadow-"
# These belong to the host or to the container, not to the image.
: >"$root/etc/resolv.conf"
echo debian >"$root/etc/hostname"
: >"$root/etc/machine-id"

tar --create --file="$out.tmp.$$" --directory="$root" --format=posix \
    --pax-option=delete=atime,delete=ctime --sort=name --numeric-owner --xattrs \
    --xattrs-include='security.capability' --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' .
mv -f -- "$out.changes.tmp.$$" "$out.changes"
mv -f -- "$out.tmp.$$" "$out"
echo "base-debian: wrote $out ($(du -h "$out" | cut -f1))" >&2
