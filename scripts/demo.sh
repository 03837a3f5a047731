#!/usr/bin/env bash
# Builds the hello example with rbuild, pushes it to an rregistry, and shows what is there.
#
# Usage: scripts/demo.sh   (normally through `make demo`, which builds the two programs first)
#
# Environment:
#   DEMO_DIR   where the demo keeps its image store and registry data (default: .demo)
#   DEMO_PORT  the registry's port on 127.0.0.1 (default: 5000)
#   BIN        folder of rbuild and rregistry (default: target/release)
set -euo pipefail

top=$(cd -- "$(dirname -- "$0")/.." && pwd)
dir=$(realpath -m -- "${DEMO_DIR:-$top/.demo}")
port=${DEMO_PORT:-5000}
bin=$(realpath -m -- "${BIN:-$top/target/release}")
address=127.0.0.1:$port
registry=localhost:$port
server=

die() {
    echo "demo: $*" >&2
    exit 1
}
say() {
    printf '\n\033[1m%s\033[0m\n' "$*"
}
# Shows a command the way a user would type it, then runs it.
run() {
    printf '\033[2m$\033[0m %s\n' "$*"
    "$@"
}
finish() {
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for program in rbuild rregistry; do
    [ -x "$bin/$program" ] || die "$bin/$program is missing; run: cargo build --release --bins"
done
[ "$(id -u)" -eq 0 ] || die "root is needed to make containers; run: sudo env PATH=\"\$PATH\" make demo"
command -v curl >/dev/null || die "curl is missing; install it with: apt-get install curl"
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    die "port $port is in use; stop what listens there (ss -ltnp 'sport = :$port') or choose another: make demo DEMO_PORT=5001"
fi

mkdir -p "$dir"
export PATH=$bin:$PATH RBUILD_ROOT=$dir/store

say "1. A base image, from Debian's busybox (with Docker Hub in reach FROM would fetch one)"
run "$top/scripts/base-busybox.sh" "$dir/busybox.tar"
run rbuild import --change 'CMD ["sh"]' "$dir/busybox.tar" busybox:latest

say "2. The build: Dockerfile.examples/hello"
cd "$top/Dockerfile.examples/hello"
run rbuild -t app:v1 .
run rbuild images

say "3. A registry on port $port"
echo "\$ rregistry serve --addr $address --data-dir $dir/registry &"
rregistry serve --addr "$address" --data-dir "$dir/registry" >"$dir/rregistry.log" 2>&1 &
server=$!
ready=
for _ in $(seq 100); do
    if curl -fsS -o /dev/null "http://$registry/v2/" 2>/dev/null; then
        ready=1
        break
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$ready" ]; then
    cat "$dir/rregistry.log" >&2
    die "rregistry did not answer on $address (its log is above)"
fi

say "4. Push"
run rbuild tag app:v1 "$registry/app:v1"
run rbuild push "$registry/app:v1"

say "5. What the registry holds"
run curl -fsS "http://$registry/v2/_catalog"
echo
run curl -fsS "http://$registry/v2/app/tags/list"
echo

finish
server=
say "Done; the registry is stopped. To go on from here:"
cat <<NEXT
  export PATH=$bin:\$PATH RBUILD_ROOT=$RBUILD_ROOT
  rregistry serve --addr $address --data-dir $dir/registry &   # start the registry again
  docker run --rm $registry/app:v1 you         # run the image; podman works as well
  cd Dockerfile.examples/hello                 # change greet or the Dockerfile, then:
  rbuild -t $registry/app:v2 . && rbuild push $registry/app:v2
  rbuild --help                                # everything else
  rm -rf $dir                                  # remove all that the demo made
NEXT
