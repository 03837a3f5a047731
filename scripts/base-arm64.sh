#!/usr/bin/env bash
# Writes a root file system with Debian's static busybox for arm64 as a tar archive: what tests run
# through qemu.
#
# Usage: scripts/base-arm64.sh OUT.tar
#
# The package comes from the mirrors that apt has here; apt's own lists stay as they are.
set -euo pipefail
umask 022
export LC_ALL=C

die() {
    echo "base-arm64: $*" >&2
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

work=$(mktemp -d "${TMPDIR:-/tmp}/base-arm64.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root/bin" \
    "$work/root/etc" "$work/root/tmp"
: >"$work/status"
apt=(apt-get -qq -o Acquire::Retries=3 -o "Dir::State::lists=$work/lists"
    -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root)
cd "$work"
"${apt[@]}" update </dev/null >"$work/log" 2>&1 || die "apt-get update: $(tail -n 3 "$work/log")"
"${apt[@]}" download busybox-static </dev/null >"$work/log" 2>&1 ||
    die "apt-get download busybox-static: $(tail -n 3 "$work/log")"
dpkg-deb --extract busybox-static_*_arm64.deb "$work/package"
busybox=$(find "$work/package" -name busybox -type f -perm -0100 | head -n 1)
[ -n "$busybox" ] || die "there is no busybox in the package"
install -m 0755 "$busybox" "$work/root/bin/busybox"
for applet in sh cat echo id ls uname; do
    ln -s busybox "$work/root/bin/$applet"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$work/root/etc/passwd"
chmod 1777 "$work/root/tmp"
cd - >/dev/null
tar --create --file="$out.part" --directory="$work/root" --sort=name --owner=0 --group=0 \
    --numeric-owner --mtime=@0 .
mv -- "$out.part" "$out"
