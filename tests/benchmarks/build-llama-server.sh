#!/usr/bin/env bash
# Builds llama-server and llama-bench from the very llama.cpp that the pinned
# llama-cpp-python sdist vendors, so that Pensieve and the reference server run
# the same kernels (Release, -O3, -march=native, static libraries, CPU only).
#
#   build-llama-server.sh [DEST]     DEST/bin/llama-server, DEST/bin/llama-bench
#
# NPROC: compile jobs (default: all cores this process may use).
# SDIST: an sdist already on disk (default: downloaded through pip).
set -euo pipefail

VERSION=0.3.36
SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

DEST=$(mkdir -p "${1:-./llama-server}" && cd "${1:-./llama-server}" && pwd)
NPROC=${NPROC:-$(nproc)}

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

if [[ -z "${SDIST:-}" ]]; then
    if python3 -m pip --version >/dev/null 2>&1; then PIP=(python3 -m pip); else PIP=(uvx pip); fi
    "${PIP[@]}" download --quiet --disable-pip-version-check --no-deps \
        --no-binary llama-cpp-python --dest "$WORK" "llama-cpp-python==$VERSION"
    SDIST=$WORK/llama_cpp_python-$VERSION.tar.gz
fi
echo "$SHA256  $SDIST" | { sha256sum -c - 2>/dev/null || shasum -a 256 -c -; }
tar -xzf "$SDIST" -C "$WORK"

GENERATOR=()
command -v ninja >/dev/null 2>&1 && GENERATOR=(-G Ninja)

cmake -S "$WORK/llama_cpp_python-$VERSION/vendor/llama.cpp" -B "$WORK/build" "${GENERATOR[@]}" \
    -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_SHARED_LIBS=OFF \
    -DGGML_NATIVE=ON \
    -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_OPENSSL=OFF
cmake --build "$WORK/build" --parallel "$NPROC" --target llama-server llama-bench

mkdir -p "$DEST/bin"
cp "$WORK/build/bin/llama-server" "$WORK/build/bin/llama-bench" "$DEST/bin/"
"$DEST/bin/llama-server" --version
