#!/usr/bin/env bash
# Installs the OpenID provider that tests log in with, into a folder of its own.
#
# Usage: scripts/test-oidc.sh DIR
#
# DIR gets registry/tests/oidc with its packages, of the versions that package-lock.json has.
# Nothing is done when they are there. Needs npm.
set -euo pipefail

die() {
    echo "test-oidc: $*" >&2
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
source=$(cd -- "$(dirname -- "$0")/../registry/tests/oidc" && pwd)

mkdir -p -- "$dir"
# Several tests may want it at once; the first one makes it.
exec 9>"$dir/lock"
flock 9
for file in "$source"/*; do
    copy=$dir/${file##*/}
    # Whoever reads it meanwhile has the old one or the new one.
    cmp -s "$file" "$copy" || { cp -- "$file" "$copy.new" && mv -- "$copy.new" "$copy"; }
done
if cmp -s "$source/package-lock.json" "$dir/done"; then
    exit 0
fi
(cd -- "$dir" && npm ci --no-audit --no-fund --ignore-scripts >&2)
cp -- "$source/package-lock.json" "$dir/done"
