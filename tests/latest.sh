#!/bin/sh
# Installs the newest versions that pyproject.toml allows into .local/latest, says which are newer than the locked ones,
# and runs the quick tests with them, deprecations being errors.  What it finds is mended, or narrowed in pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
python=.local/latest/bin/python
[ -x "$python" ] || .venv/bin/python -m venv .local/latest
"$python" -m pip --quiet --disable-pip-version-check install --upgrade 'setuptools>=80'
"$python" -m pip --quiet --disable-pip-version-check install --upgrade --upgrade-strategy eager --no-build-isolation \
    -e '.[local,dev,bench,build]'
"$python" -m pip --disable-pip-version-check list --format=freeze | sort >.local/latest/installed.txt
echo "newer than deploy/requirements/all.lock:"
sed -n 's/^\([a-zA-Z0-9._-]*==[^ ;]*\).*/\1/p' deploy/requirements/all.lock | tr 'A-Z_' 'a-z-' | sort >.local/latest/locked.txt
tr 'A-Z_' 'a-z-' <.local/latest/installed.txt | sort | comm -23 - .local/latest/locked.txt | grep -v '^\(pip\|hitline\)==' |
    sed 's/^/  /' || true
exec "$python" -m pytest -q -n auto --dist loadfile -m "not full and not processes" -W error::DeprecationWarning \
    -W error::PendingDeprecationWarning "$@"
