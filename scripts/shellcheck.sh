#!/usr/bin/env bash
# Runs shellcheck over every shell script in the repository; says so if it is not installed.
#
# Usage: scripts/shellcheck.sh
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

if ! command -v shellcheck >/dev/null; then
    echo "shellcheck: not installed, shell scripts are not checked (apt-get install shellcheck)" >&2
    [ "${RBUILD_TEST_REQUIRE_ALL:-0}" != 1 ]
    exit
fi
scripts=()
while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    IFS= read -r first <"$file" || true
    if [[ "$first" =~ ^'#!'.*[/[:space:]](ba)?sh([[:space:]]|$) ]]; then
        scripts+=("$file")
    fi
done < <(git ls-files -z --cached --others --exclude-standard -- scripts .ci benches Dockerfile.examples)
shellcheck --external-sources -- "${scripts[@]}"
