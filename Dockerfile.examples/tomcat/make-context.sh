#!/usr/bin/env bash
# Makes apache-tomcat.tar.gz for the Dockerfile beside it, from Debian's tomcat10 packages.
#
# Usage: ./make-context.sh [OUT.tar.gz]
#
# Needs a Debian (bookworm or newer) with apt lists (`apt-get update`); installs nothing and does
# not need root. The archive is the same, byte for byte, for the same package versions.
set -euo pipefail
umask 022
export LC_ALL=C

die() {
    echo "make-context: $*" >&2
    exit 1
}

here=$(cd -- "$(dirname -- "$0")" && pwd)
out=$(realpath -m -- "${1:-$here/apache-tomcat.tar.gz}")
if [ -s "$out" ] && [ "$out" -nt "$0" ]; then
    echo "make-context: $out is up to date" >&2
    exit 0
fi
for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool is missing; this script needs a Debian system"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/make-context.XXXXXX")
trap 'rm -rf -- "$work"; rm -f -- "$out.tmp.$$"' EXIT

# The packages whose jars Tomcat's own lib folder links to.
packages=(tomcat10-common tomcat10 libtomcat10-java libeclipse-jdt-core-java)
cd "$work"
apt-get -o APT::Sandbox::User=root download "${packages[@]}" >"$work/apt.log" 2>&1 || {
    cat "$work/apt.log" >&2
    die "apt-get download failed; run 'apt-get update' first, and check that the sources hold ${packages[*]}"
}
for deb in *.deb; do
    dpkg-deb -x "$deb" "$work/tree"
done


# Debian spreads Tomcat over the file system; put it together again as upstream ships it.
share=$work/tree/usr/share
name=apache-tomcat-10
tomcat=$work/$name
mkdir -p "$tomcat"/{bin,conf,lib,logs,temp,webapps,work}
for file in bootstrap.jar catalina.sh configtest.sh setclasspath.sh shutdown.sh startup.sh version.sh; do
    cp -- "$share/tomcat10/bin/$file" "$tomcat/bin/"
done
cp -L -- "$share/tomcat10/bin/tomcat-juli.jar" "$tomcat/bin/"
cp -L -- "$share"/tomcat10/lib/*.jar "$tomcat/lib/"
cp -L -- "$share/java/eclipse-jdt-core.jar" "$tomcat/lib/ecj.jar"
cp -- "$share"/tomcat10/etc/* "$tomcat/conf/"
cp -r -- "$share/tomcat10-root/default_root" "$tomcat/webapps/ROOT"
chmod 0755 "$tomcat"/bin/*.sh

# The Dockerfile speaks of /opt/tomcat whatever the version.
ln -s "$name" "$work/tomcat"
tar --create --directory="$work" --format=gnu --sort=name --numeric-owner --owner=0 --group=0 \
    --mtime='@0' "$name" tomcat | gzip --no-name >"$out.tmp.$$"
mv -f -- "$out.tmp.$$" "$out"
echo "make-context: wrote $out ($(du -h "$out" | cut -f1))" >&2
