#!/usr/bin/env bash
# Installs Garage, a store of several nodes that speaks S3, into a folder of its own.
#
# Usage: scripts/test-garage.sh DIR
#
# DIR gets bin/garage, built from crates.io (some minutes). Nothing is done when it is there.
set -euo pipefail

VERSION=2.5.0

die() {
    echo "test-garage: $*" >&2
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

mkdir -p -- "$dir"
exec 9>"$dir/lock"
flock 9
if [ -x "$dir/bin/garage" ] && [ "$(cat "$dir/done" 2>/dev/null)" = "$VERSION" ]; then
    exit 0
fi
# Optimised a little: hashing without that takes longer than what is saved here.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_INCREMENTAL=0
# Its own cargo may not see the settings of this project.
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET
cargo install garage --version "$VERSION" --locked --debug \
    --no-default-features --features bundled-libs,sqlite --root "$dir"
printf '%s\n' "$VERSION" >"$dir/done"
