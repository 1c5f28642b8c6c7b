#!/bin/sh
# Builds the image with docker, podman or buildah, whichever is installed:  deploy/docker/build.sh [NAME[:TAG]] [build options]
set -eu
cd "$(dirname "$0")/../.."
name=${1:-hitline}
[ $# -eq 0 ] || shift
for tool in docker podman buildah; do
    # A docker client without an engine can't build; buildah needs no engine.
    if "$tool" info >/dev/null 2>&1; then
        [ "$tool" = docker ] || set -- --format docker --ignorefile deploy/docker/Dockerfile.dockerignore "$@"
        exec "$tool" build -f deploy/docker/Dockerfile -t "$name" "$@" .
    fi
done
echo "build.sh: needs docker, podman or buildah (Debian, Ubuntu: apt-get install buildah)" >&2
exit 1
