#!/bin/sh
# Make a virtual environment from a hashed lock file, visibly and only once.
#   setup.sh PYTHON VENV LOCK STAMP
set -eu
python=$1 venv=$2 lock=$3 stamp=$4

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! new_enough "$python"; then
    echo "core-llm needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || echo missing)." >&2
    echo "Name another one: make PYTHON=/path/to/python3.12 …" >&2
    exit 1
fi
# An environment whose making was interrupted, or that an older Python made, is made again.
if ! new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "Setting up $venv with $("$python" --version) …" >&2
    "$python" -m venv --clear "$venv"
fi
total=$(grep -c '^[a-zA-Z0-9].*==' "$lock")
echo "Installing $total locked packages from $lock (once; about half a minute) …" >&2
# pip says one of these for each line of the lock file: what is for another platform is ignored.
"$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes --no-deps -r "$lock" 2>&1 |
    awk -v total="$total" '/^(Collecting|Processing|Requirement already|Ignoring)/ {
            n++; printf "\r  %d of %d", n, total; fflush() }
        /^(ERROR|error)/ { print "\n" $0; bad = 1 } 
        END { print ""; if (bad) print "Not installed. Is the package index reachable? The same command tries again."
            exit bad }' >&2
"$venv/bin/python" - <<'PY' "$lock"
import importlib.metadata as metadata, re, sys
wanted = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)(?: \\|$)", open(sys.argv[1]).read(), re.M))
missing = [name for name, version in wanted.items() if not any(
    d.metadata["Name"].lower().replace("_", "-") == name.lower() and d.version == version for d in metadata.distributions())]
if missing:
    sys.exit("These packages could not be installed: " + ", ".join(missing))
PY
: > "$stamp"
