#!/bin/sh
# Makes `.venv`: a virtual environment with everything of deploy/requirements/all.lock, and this project itself.
# Costs nothing when that is done already; a changed lock file installs again. Every `make` target calls it.
set -eu
cd "$(dirname "$0")/../.."

lock=deploy/requirements/all.lock
stamp=.venv/.hitline-installed   # what is installed; written last
begun=.venv/.hitline-installing  # there while an installation is under way, and after one that was interrupted
log=.venv/install.log

say() { printf '%s\n' "$*"; }
fail() { printf 'hitline: %s\n' "$*" >&2; exit 1; }

# A directory that was moved needs a new environment: its scripts hold absolute paths.
wanted() { pwd; cat "$lock" pyproject.toml deploy/local/bootstrap.sh | cksum; }

is_done() { [ -f "$stamp" ] && [ ! -f "$begun" ] && [ "$(cat "$stamp")" = "$(wanted)" ]; }

is_done && exit 0

# Two at once would spoil each other's work; the second finds it done.
if command -v flock >/dev/null 2>&1; then
    exec 9<.
    flock -n 9 || { echo "waiting for another make that installs ..." && flock 9; }
    is_done && exit 0
fi

# Without a home directory, pip would put its cache in the root directory.
if [ -z "${HOME:-}" ]; then
    HOME=$PWD/.local/home
    (umask 077 && mkdir -p "$HOME")
    export HOME
fi

new_enough() { command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The system's own first, then others, newest last: not every wheel exists for the newest at once.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
        if new_enough "$candidate" && "${1:-true}" "$candidate"; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    return 1
}

apt_install() {
    say "installing $* (once) ..."
    output=$(DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        --no-install-recommends install "$@" 2>&1) || {
        printf '%s\n' "$output" | tail -n 5 >&2
        return 1
    }
}

# On Debian and Ubuntu, Python comes without what makes virtual environments.
install_python() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    dpkg --configure -a >/dev/null 2>&1 || true
    apt-get -q update >/dev/null 2>&1 || true
    if python=$(find_python); then
        version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        apt_install "$version-venv" || apt_install python3-venv || true
    else
        apt_install python3-venv || true
    fi
    # Where the distribution's default is older, a newer one may stand beside it.
    find_python has_venv >/dev/null || apt_install python3.11 python3.11-venv || true
}

make_venv() {
    if ! python=$(find_python has_venv); then
        install_python
        python=$(find_python has_venv) || fail "needs Python 3.11 or newer with its venv module:" \
            "install it (Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python3"
    fi
    say "making .venv with $("$python" --version) ..."
    rm -rf .venv
    "$python" -m venv .venv || fail "$python -m venv .venv failed: see above"
}

# Runs pip in the background, so that its hundreds of lines become one that counts.
pip_install() {
    .venv/bin/python -m pip --no-input --disable-pip-version-check install "$@" >>"$log" 2>&1 &
    pip=$!
    # A background process of a script ignores Ctrl-C.
    trap 'kill $pip 2>/dev/null; printf "\n"; exit 130' INT TERM HUP
    while kill -0 "$pip" 2>/dev/null; do
        sleep 1
        count=$(grep -c '^Collecting' "$log" || true)
        if [ -t 1 ]; then
            printf '\r  fetched %s of about %s packages ' "$count" "$total"
        elif [ "$count" -ge $((shown + 25)) ]; then
            shown=$count
            say "  fetched $count of about $total packages"
        fi
    done
    trap - INT TERM HUP
    wait "$pip"
}

install() {
    touch "$begun"
    : >"$log"
    shown=0
    total=$(grep -c '^[a-zA-Z0-9]' "$lock")
    say "installing $total packages from $lock (once; a minute or two) ..."
    if ! pip_install --require-hashes -r "$lock" || ! pip_install --no-deps --no-build-isolation -e .; then
        printf '\n'
        tail -n 20 "$log" >&2
        fail "installing failed: the whole output is in $log; run make again when its cause is gone"
    fi
    [ ! -t 1 ] || printf '\n'
    wanted >"$stamp"
    rm -f "$begun"
    say "installed in .venv"
}

# An environment that is whole is only brought up to date; one that is not is made from scratch.
if [ -f "$begun" ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
    { [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$PWD" ]; }; then
    make_venv
fi
install
