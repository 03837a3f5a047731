#!/usr/bin/env bash
# Installs the docker of Debian's next release, with its BuildKit and compose, into a folder of its
# own: tests compare with it beside the one that this Debian has.
#
# Usage: scripts/modern-docker.sh DIR
#
# DIR becomes a root file system in which tests start a dockerd by chroot. Nothing is done when
# docker is in it already; what is interrupted leaves no DIR. Needs root, and about 700 MB.
#
# Environment:
#   PEERS_SUITE    the release (default: forky)
#   DEBIAN_MIRROR  as for base-debian.sh
set -euo pipefail
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin

die() {
    echo "modern-docker: $*" >&2
    exit 1
}

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac
[ $# -eq 1 ] || die "usage: $0 DIR"
dir=$1
suite=${PEERS_SUITE:-forky}

[ "$(id -u)" -eq 0 ] || die "root is needed, the packages are installed by chroot"
mkdir -p -- "$(dirname -- "$dir")"
# Several tests may want it at once; the first one makes it.
exec 9>"$dir.lock"
flock 9
if [ -x "$dir/usr/sbin/dockerd" ] && [ -x "$dir/usr/libexec/docker/cli-plugins/docker-compose" ]; then
    echo "modern-docker: $dir is there" >&2
    exit 0
fi

# Beside DIR, so that it can be renamed.
work=$(mktemp -d "$dir.XXXXXX")
cleanup() {
    rm -rf --one-file-system -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

DEBIAN_SUITE=$suite "$(dirname -- "$0")/base-debian.sh" "$work/base.tar"
root=$work/root
mkdir "$root"
tar --extract --numeric-owner --file="$work/base.tar" --directory="$root"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"

echo "modern-docker: fetching docker of $suite" >&2
# Unpacked, but not configured: package scripts want a running system, and dockerd does not.
apt=(chroot "$root" apt-get -qq -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false)
fetch=(install -y --no-install-recommends --download-only docker.io docker-compose iptables xz-utils)
if ! { "${apt[@]}" update && "${apt[@]}" "${fetch[@]}"; } </dev/null >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    die "could not fetch docker (the last lines are above)"
fi
for package in "$root"/var/cache/apt/archives/*.deb; do
    dpkg-deb --extract "$package" "$root"
done
# What configuring the package would have done; for daemons with a bridge of their own.
for name in iptables ip6tables; do
    ln -sf xtables-nft-multi "$root/usr/sbin/$name"
done
chroot "$root" apt-get clean
version=$(chroot "$root" dockerd --version) || die "dockerd does not run"
# One of before, without compose.
rm -rf --one-file-system -- "$dir"
mv -- "$root" "$dir"
echo "modern-docker: $version" >&2
