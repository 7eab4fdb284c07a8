#!/bin/sh
# Builds the MinIO server that the integration tests run against, once per version, into
# .tools/bin. MinIO is published as source only, so a Go toolchain (1.24 or newer) is needed.
set -eu

# The last commit before the project was archived (2026-02-12): newer than the last tagged
# release, and with the fixes to conditional writes.
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
target="$root/.tools/bin/minio-$VERSION"

if [ ! -x "$target" ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # Two packages at a time: the linker alone takes 2 GB.
    GOBIN="$scratch" GOFLAGS="-trimpath" CGO_ENABLED=0 \
        nice -n 15 go install -p 2 -ldflags="-s -w" "github.com/minio/minio@$VERSION"
    mkdir -p "$root/.tools/bin"
    mv "$scratch/minio" "$target"
fi
echo "$target"
