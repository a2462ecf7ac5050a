#!/usr/bin/env bash
# `python -m benchmarks.golden` on an emulated 64-bit ARM processor: the same bits as on x86?
#
#     benchmarks/golden/arm64.sh [FOLDER [ARGUMENT ...]]      # on Debian; default: a new folder, all digests
#
# Everything it needs goes into the folder, which may be used again: Debian's Python for arm64 and the wheels of NumPy and
# Numba. Only qemu-user-static is installed, by root, where it is missing. docs/dev/arm.md tells what came out.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(realpath -m "${1:-$(mktemp -d)}")
shift || true
mkdir -p "$folder"

command -v qemu-aarch64-static > /dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-user-static > /dev/null
}

root=$folder/root
if [ ! -e "$folder/complete" ]; then
    # apt with a state of its own, in which nothing is installed: the packages and all that they depend on are downloaded.
    apt=$folder/apt
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$root"
    touch "$apt/status"
    options=(
        -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$apt/state"
        -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
    )
    apt-get "${options[@]}" update
    apt-get "${options[@]}" --yes --download-only --no-install-recommends install python3 libstdc++6 > /dev/null
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    version=$(basename "$(readlink "$root/usr/bin/python3")")
    mapfile -t needed < <(grep '^dependencies' "$here/pyproject.toml" | grep -oE '"[^"]+"' | tr -d '"')
    "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --upgrade --target "$folder/packages" \
        --implementation cp --python-version "${version#python}" --only-binary=:all: \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        "${needed[@]}"
    touch "$folder/complete"
fi

qemu-aarch64-static --version | head -n 1
cd "$here"
PYTHONPATH="$here:$folder/packages" NUMBA_CACHE_DIR=$folder/numba PYTHONDONTWRITEBYTECODE=1 \
    exec qemu-aarch64-static -L "$root" "$root/usr/bin/python3" "${@:--mbenchmarks.golden}"
