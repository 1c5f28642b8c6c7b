#!/bin/sh
# Resolves the lock files again (needs `uv`): for Python 3.11, the oldest supported, with markers for newer ones.
# They name no index host, so any mirror that serves the same files will do.
set -eu
cd "$(dirname "$0")/../.."
lock() {
    out=$1
    shift
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --no-header --quiet --output-file "deploy/requirements/$out" "$@"
}
lock all.lock --extra local --extra otel --extra dev --extra bench --extra build
lock server.lock --extra build
# The same with what traces need (HITLINE_TRACES_RATIO).
lock server-otel.lock --extra otel --extra build
