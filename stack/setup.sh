#!/bin/sh
# Makes .venv from a Python 3.11 to 3.13 and installs the lock file and this package into it.
# Does nothing where .venv is in step with requirements/dev.lock and pyproject.toml.
# First argument: the interpreter to use, or nothing.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.in-step
want=$(cat requirements/dev.lock pyproject.toml | cksum)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    exit 0
fi

# 3.11, because the dashboards' builder asks for it; the package itself also runs on 3.10.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

if ! [ -x .venv/bin/python ]; then
    python=
    for candidate in ${1:-python3 python3.13 python3.12 python3.11 "$HOME"/.pyenv/versions/3.1[123].*/bin/python}; do
        if fits "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "setup: development needs Python 3.11, 3.12 or 3.13, and ${1:-python3} here is" \
            "$({ "${1:-python3}" --version || echo missing; } 2>/dev/null). Install one, or name one: make PYTHON=/path/to/python3.13" >&2
        exit 1
    fi
    echo "setup: making .venv with $("$python" --version)" >&2
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "setup: $python cannot make virtual environments (Debian: apt install python3-venv)" >&2
        exit 1
    fi
fi

# uv installs in seconds what takes pip half a minute; where uv cannot reach the package index as pip is set up to, pip does it.
echo "setup: installing requirements/dev.lock" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$(grep '^uv==' requirements/dev.lock)"
if ! .venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements/dev.lock; then
    echo "setup: uv could not; trying pip" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.lock
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
echo "$want" > "$stamp"
