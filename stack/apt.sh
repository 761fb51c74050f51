#!/bin/sh
# Installs the Debian packages named as arguments where they are missing and we may. Each brings a program of the same
# name, or of the one behind a colon (chromium-driver:chromedriver).
# Else says what to install; the tests that need a missing program are then skipped, and say so. In CI it fails.
set -eu

missing=
for wanted in "$@"; do
    # nginx lives where only root's PATH leads.
    PATH="$PATH:/usr/sbin" command -v "${wanted#*:}" >/dev/null || missing="$missing ${wanted%:*}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "system: installing$missing" >&2
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --yes --no-install-recommends $missing >/dev/null 2>&1 && exit 0
    echo "system: apt-get could not install$missing" >&2
else
    echo "system: a few tests use$missing; on Debian: sudo apt install$missing" >&2
fi
[ -z "${CI:-}" ]
