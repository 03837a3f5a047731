#!/usr/bin/env bash
# Writes a busybox root file system as a tar archive, for `rbuild import` or `docker import`.
#
# Usage: scripts/base-busybox.sh OUT.tar
#
# The content is Debian's static busybox, one symlink for each applet, and the handful of files
# and directories that programs expect. The archive depends only on the busybox binary: entries
# are sorted, owners numeric, times fixed. Root is not needed.
#
# Environment:
#   BUSYBOX            the static busybox to take (default: the first one on PATH)
#   SOURCE_DATE_EPOCH  time stamp of every entry, in seconds (default: 0)
set -euo pipefail
umask 022

die() {
    echo "base-busybox: $*" >&2
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

busybox=${BUSYBOX:-$(command -v busybox || true)}
[ -x "$busybox" ] ||
    die "busybox is missing; install it with: apt-get install --no-install-recommends busybox-static"
# A dynamic program names its loader in an INTERP segment; in a bare root it could not start.
if LC_ALL=C grep -aqE '/lib(64)?/ld-(linux|musl)[^/]*\.so' "$busybox"; then
    die "$busybox is dynamically linked; install the static one: apt-get install --no-install-recommends busybox-static"
fi

mkdir -p -- "$(dirname -- "$out")"
work=$(mktemp -d "${TMPDIR:-/tmp}/base-busybox.XXXXXX")
trap 'rm -rf -- "$work"; rm -f -- "$out.tmp.$$"' EXIT

root=$work/root
mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/tmp,var/spool/mail,var/www}
chmod 0700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
install -m 0755 "$busybox" "$root/bin/busybox"

# `--list-full` gives the usual path of every applet; the links are absolute, as in Docker's image.
"$busybox" --list-full | while IFS= read -r applet; do
    case $applet in
    bin/busybox | linuxrc | init | '') continue ;;
    *..* | /*) die "busybox lists an applet outside the root: $applet" ;;
    esac
    mkdir -p "$root/$(dirname "$applet")"
    ln -sf /bin/busybox "$root/$applet"
done
[ -L "$root/bin/sh" ] || ln -s /bin/busybox "$root/bin/sh"

cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
tty:x:5:
mail:x:8:
users:x:100:
www-data:x:33:
nogroup:x:65534:
GROUP
printf 'root:*:::::::\ndaemon:*:::::::\nbin:*:::::::\nsys:*:::::::\nmail:*:::::::\nwww-data:*:::::::\nnobody:*:::::::\n' \
    >"$root/etc/shadow"
chmod 0600 "$root/etc/shadow"
printf '127.0.0.1\tlocalhost\n' >"$root/etc/hosts"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"

tar --create --file="$out.tmp.$$" --directory="$root" --format=gnu --sort=name \
    --numeric-owner --owner=0 --group=0 --mtime="@${SOURCE_DATE_EPOCH:-0}" .
mv -f -- "$out.tmp.$$" "$out"
echo "base-busybox: wrote $out ($(du -h "$out" | cut -f1))" >&2
