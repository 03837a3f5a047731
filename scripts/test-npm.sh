#!/usr/bin/env bash
# Installs a server of npm's that tests talk to, into a folder of its own.
#
# Usage: scripts/test-npm.sh NAME DIR
#
# DIR gets registry/tests/NAME with its packages, of the versions that package-lock.json has: oidc,
# the OpenID provider that tests log in with, or azurite, a store that speaks Azure's protocol.
# Nothing is done when they are there. Needs npm.
set -euo pipefail

die() {
    echo "test-npm: $*" >&2
    exit 1
}

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac
[ $# -eq 2 ] || die "usage: $0 NAME DIR"
dir=$2
source=$(cd -- "$(dirname -- "$0")/../registry/tests/$1" && pwd)

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
