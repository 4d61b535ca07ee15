#!/usr/bin/env bash
# Each stressor of stress-ng's class "filesystem" by itself, verifying, in mounts of several kinds:
#   stress-ng.sh KIND...     SECONDS_EACH=3 WORKERS=2 PLACE=tmpfs STRESSORS="..." by default
# Prints a line for each stressor: "ok", "skipped" (it cannot run on this machine) or "FAILED" and what it said, for each kind.
# Left out: what is about /proc, /sys, binderfs and descriptors alone and never comes to the filesystem, and bind-mount, which mounts the root
# directory, whatever it was given.
set -euo pipefail
left_out='^(bind-mount|binderfs|procfs|sysfs|eventfd|dup|ioprio)$'
stressors=${STRESSORS:-$(stress-ng --class 'filesystem?' | sed 's/.*: //' | tr ' ' '\n' | grep -vE "$left_out")}
for kind in "$@"; do
  for one in $stressors; do
    log=$(mktemp)
    status=0
    timeout -k 10 120 "$(dirname "$0")/mounted.sh" "$kind" "${PLACE:-tmpfs}" \
      stress-ng "--$one" "${WORKERS:-2}" -t "${SECONDS_EACH:-3}" --verify --temp-path . >"$log" 2>&1 || status=$?
    case $status in
      0) echo "$kind $one ok" ;;
      3 | 4) echo "$kind $one skipped" ;;
      *) echo "$kind $one FAILED ($status): $(grep -aE 'fail:|error:' "$log" | head -n 3 | tr '\n' ' ')" ;;
    esac
    rm "$log"
  done
done
