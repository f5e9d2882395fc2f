#!/bin/sh
# Make a virtual environment from a hashed lock file, visibly and only once.
#   setup.sh PYTHON VENV LOCK STAMP
set -eu
python=$1 venv=$2 lock=$3 stamp=$4

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "core-llm needs Python 3.11 or newer; '$python' is $("$python" --version 2>&1 || echo missing)." >&2
    echo "Name another one: make PYTHON=/path/to/python3.12 …" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then
    echo "Setting up $venv with $("$python" --version) …" >&2
    "$python" -m venv "$venv"
fi
total=$(grep -c '^[a-zA-Z0-9].*==' "$lock")
echo "Installing $total locked packages from $lock (once; about half a minute) …" >&2
"$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes --no-deps -r "$lock" 2>&1 |
    awk -v total="$total" '/^(Collecting|Requirement already)/ { n++; printf "\r  %d of %d", n, total; fflush() }
        /^(ERROR|error)/ { print; bad = 1 } END { print "" ; exit bad }' >&2
"$venv/bin/python" - <<'PY' "$lock"
import importlib.metadata as metadata, re, sys
wanted = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)(?: \\|$)", open(sys.argv[1]).read(), re.M))
missing = [name for name, version in wanted.items() if not any(
    d.metadata["Name"].lower().replace("_", "-") == name.lower() and d.version == version for d in metadata.distributions())]
if missing:
    sys.exit("These packages could not be installed: " + ", ".join(missing))
PY
: > "$stamp"
