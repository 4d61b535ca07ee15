#!/usr/bin/env bash
# pjdfstest (https://github.com/pjd/pjdfstest, built: autoreconf -ifs && ./configure && make pjdfstest) in mounts of several kinds:
#   pjdfstest.sh CHECKOUT KIND...
# Prints what prove says at the end, and each file that fails.
set -euo pipefail
checkout=$(realpath "$1")
shift
for kind in "$@"; do
  log=$(mktemp)
  status=0
  "$(dirname "$0")/mounted.sh" "$kind" "${PLACE:-tmpfs}" prove -Q -r "$checkout/tests" >"$log" 2>&1 || status=$?
  echo "$kind: $(grep -E '^Files=' "$log" || tail -n 1 "$log")"
  echo "$kind: $(grep -E '^Result:' "$log" || echo "ended with $status")"
  grep -E 'Failed: [1-9]|Failed tests?:' "$log" || true
  rm "$log"
done
