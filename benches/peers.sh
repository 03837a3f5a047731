#!/usr/bin/env bash
# Measures rbuild and rregistry beside the tools they stand next to, in one run on one machine.
#
# Usage: benches/peers.sh [build|registry|all]
#
#   build     20 tiny RUN steps and a COPY of 20,000 files, cold, cached and with one file changed,
#             stages side by side, a layer of 512 MiB built and pushed, and a large image pushed and
#             pulled: rbuild, docker build (classic and BuildKit), BuildKit of Debian's next
#             release, and buildah bud --layers
#   registry  1 GiB pushed and pulled, 64 blobs at once, small images, requests a second, lists of
#             many names: rregistry and docker-registry
#
# The result is a Markdown table of medians on standard output; every single figure goes to
# standard error. Needs root. A tool that is not installed leaves its column empty. Everything
# runs from a temporary folder with daemons of its own, in network and mount namespaces of their
# own, and is removed at the end; a docker or buildah in use on the machine is not touched.
#
# Environment:
#   RUNS=5       runs of each case; the table shows medians
#   ONLY="..."   subjects: rbuild docker buildkit modern buildah rregistry docker-registry
#   BIN=...      folder of rbuild and rregistry (default: target/release)
#   BLOB_MIB     size of the pushed blob (default: 1024)
#   FILES        number of files of the COPY case, of 8,000 bytes each (default: 20000)
#   LARGE_MIB    size of the image that is pushed and pulled (default: 500)
#   PUSH_MIB     size of the layer that builders push (default: 512)
#   WRK_SECONDS  length of each run of wrk (default: 5)
#   IMAGES       number of small images (default: 500)
#   NAMES        number of tags, and of repositories (default: 10000)
#   TMPDIR       where to work; 6 GB of disk are needed
#   MODERN=...   root file system of scripts/modern-docker.sh (default: target/test-docker)
#   DOCKER       docker client (default: the one beside dockerd's packages, else on PATH)
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
RUNS=${RUNS:-5}
BIN=$(realpath -m -- "${BIN:-$top/target/release}")
BLOB_MIB=${BLOB_MIB:-1024}
FILES=${FILES:-20000}
PUSH_MIB=${PUSH_MIB:-512}
LARGE_MIB=${LARGE_MIB:-500}
WRK_SECONDS=${WRK_SECONDS:-5}
IMAGES=${IMAGES:-500}
NAMES=${NAMES:-10000}
LOAD=$BIN/examples/load
MODERN=$(realpath -m -- "${MODERN:-$top/target/test-docker}")
ONLY=${ONLY:-rbuild docker buildkit modern buildah rregistry docker-registry}
if [ -z "${DOCKER:-}" ]; then
    DOCKER=docker
    [ ! -x /usr/bin/docker ] || DOCKER=/usr/bin/docker
fi

# shellcheck source=benches/lib/common.sh
. "$top/benches/lib/common.sh"
# shellcheck source=benches/lib/build.sh
. "$top/benches/lib/build.sh"
# shellcheck source=benches/lib/registry.sh
. "$top/benches/lib/registry.sh"

what=${1:-all}
case $what in
build | registry | all) ;;
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
*) die "usage: $0 [build|registry|all]" ;;
esac
[ $# -le 1 ] || die "usage: $0 [build|registry|all]"
[[ $RUNS =~ ^[1-9][0-9]*$ ]] || die "RUNS is not a number of runs: $RUNS"
[[ $BLOB_MIB =~ ^[1-9][0-9]*$ ]] || die "BLOB_MIB is not a size in MiB: $BLOB_MIB"
[[ $PUSH_MIB =~ ^[1-9][0-9]*$ ]] || die "PUSH_MIB is not a size in MiB: $PUSH_MIB"
[[ $LARGE_MIB =~ ^[1-9][0-9]*$ ]] || die "LARGE_MIB is not a size in MiB: $LARGE_MIB"
[[ $FILES =~ ^[1-9][0-9]*$ ]] || die "FILES is not a number of files: $FILES"
[ "$(id -u)" -eq 0 ] || die "root is needed, for dockerd and for containers"

bench_setup
describe_machine
if [ "$what" != registry ]; then
    bench_build
    print_build_table
fi
if [ "$what" != build ]; then
    bench_registry
    print_registry_table
fi
