#!/bin/sh
# Install torch into an environment that setup.sh has made, visibly and only once.
#   install_torch.sh VENV STAMP
#
# It is in no lock file: which build is right depends on the machine (CPU, CUDA, Apple), and so do its hashes. The version
# is fixed here; pip takes the build that its configured index offers. To use another one, install it into VENV first.
set -eu
venv=$1 stamp=$2
version=2.13.0

if ! "$venv/bin/python" -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$version')" 2>/dev/null; then
    echo "Installing torch $version (once; 200 MB for a CPU, several GB with CUDA) …" >&2
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "torch==$version" 2>&1 |
        grep -E '^(Collecting|Downloading|Installing|Successfully|ERROR)|error' >&2 || true
    if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
        echo "Not installed. Is the package index reachable? The same command tries again." >&2
        exit 1
    fi
fi
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__)' >&2
: > "$stamp"
