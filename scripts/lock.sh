#!/bin/sh
# Resolve the lock files anew, for every platform, with hashes and without naming an index.
#   lock.sh BIN
set -eu
bin=$1
"$bin/python" -m pip install -q --disable-pip-version-check uv
lock() {
    out=requirements/$1.txt
    shift
    echo "resolving $out" >&2
    "$bin/uv" pip compile pyproject.toml "$@" --universal --python-version 3.11 --upgrade --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --quiet -o "$out"
}
lock run --extra local
# All extras and the SDKs that we compare with: these tests are run, not skipped.
lock dev --extra local --extra bedrock --extra vertex --extra azure --group test --group differential --group lint
lock bench --extra local --group bench
lock failover --group failover
# Without torch, whose build depends on the machine: the set-up installs it beside these.
lock transformers --group transformers
# The proxy is a process beside ours and shares nothing with it: its requirements are locked alone.
"$bin/uv" pip compile --group pyproject.toml:peers --universal --python-version 3.11 --upgrade --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --quiet -o requirements/peers.txt
