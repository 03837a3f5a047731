#!/usr/bin/env bash
# Makes what is installed elsewhere: static programs, manual pages, completions, packages.
#
# Usage: scripts/dist.sh [FOLDER]          (target/dist if not named)
#
#   FOLDER/bin            rbuild and rregistry, which need no library of the system
#   FOLDER/man            manual pages, a page a command
#   FOLDER/completions    for bash, zsh and fish
#   FOLDER/*.deb, *.rpm   packages of each program
#   FOLDER/etc, empty     what the images in packaging/images take besides
#
# Environment:
#   PROFILE=dev    a build that is quick to make, for tests (release if not set)
#   TARGET         another target of Rust's; without musl's there, glibc is linked in
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
CARGO=${CARGO:-cargo}
profile=${PROFILE:-release}
out=${1:-target/dist}

log() {
    echo "dist: $*" >&2
}

target=${TARGET:-$(uname -m)-unknown-linux-musl}
sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/$target/lib" ] && ! rustup target add "$target" >&2; then
    target=${target%-musl}-gnu
    log "without the target of musl, glibc is linked in: $target"
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi
"$CARGO" build --locked --profile "$profile" --target "$target" -p rbuild -p registry --bins
built=${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}

rm -rf -- "$out"
mkdir -p "$out"/{bin,man,completions,empty,etc/ssl/certs}
for program in rbuild rregistry; do
    strip -o "$out/bin/$program" "$built/$program"
    "$out/bin/$program" __man "$out/man"
    for shell in bash zsh fish; do
        "$out/bin/$program" completions "$shell" >"$out/completions/$program.$shell"
    done
done
gzip -9n "$out"/man/*.1
cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"

version=$("$out/bin/rregistry" --version)
version=${version##* }
if command -v rpmbuild >/dev/null; then
    here=$PWD
    files=$(realpath -- "$out")
    for program in rbuild rregistry; do
        rpmbuild -bb --quiet --target "${target%%-*}-linux" --define "_topdir $files/rpmbuild" \
            --define "_rpmdir $files" --define "_rpmfilename %%{name}-%%{version}.%%{arch}.rpm" \
            --define "dist_dir $files" --define "source_dir $here" \
            --define "program_version $version" "packaging/rpm/$program.spec" >&2
    done
    rm -rf -- "$files/rpmbuild"
else
    log "no rpm packages are made without rpmbuild (Debian's package rpm)"
    [ "${RBUILD_TEST_REQUIRE_ALL:-0}" != 1 ] || exit 1
fi

if ! command -v cargo-deb >/dev/null; then
    log "no Debian packages are made without cargo-deb (cargo install cargo-deb --locked)"
    [ "${RBUILD_TEST_REQUIRE_ALL:-0}" != 1 ] || exit 1
    exit 0
fi
# The packages take their files from one place, whatever was named.
[ "$out" -ef target/dist ] || { rm -rf target/dist && mkdir -p target && cp -a "$out" target/dist; }
for package in rbuild registry; do
    "$CARGO" deb --no-build --no-strip --package "$package" --output "$out/" >&2
done
