#!/usr/bin/env bash
# fio's verifying jobs in mounts of several kinds: what was written is read back and its checksums compared.
#   fio.sh KIND...     SIZE_MIB=32 PLACE=tmpfs by default
# New files and one of a lower layer; buffered, O_DIRECT and mapped; one job and several; each in a mount of its own.
set -euo pipefail
size=${SIZE_MIB:-32}
jobs=(
  'new-sequential --rw=write --bs=128k --ioengine=psync'
  'new-random --rw=randwrite --bs=4k --ioengine=psync'
  'new-odd-blocks --rw=randwrite --bsrange=512-70000 --bs_unaligned=1 --ioengine=psync'
  'new-fsync --rw=randwrite --bs=16k --ioengine=psync --fsync=64'
  'new-mixed --rw=randrw --rwmixread=50 --bs=4k --ioengine=psync'
  'new-mapped --rw=randwrite --bs=4k --ioengine=mmap'
  'new-mapped-sequential --rw=write --bs=64k --ioengine=mmap'
  'new-libaio --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16'
  'new-libaio-direct --rw=randwrite --bs=4k --ioengine=libaio --iodepth=16 --direct=1'
  'new-io-uring --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16'
  'new-io-uring-direct --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16 --direct=1'
  'new-direct-sequential --rw=write --bs=1m --ioengine=psync --direct=1'
  'new-vectors --rw=randwrite --bs=64k --ioengine=pvsync2'
  'new-preallocated --rw=randwrite --bs=8k --ioengine=psync --fallocate=posix'
  'new-several-jobs --rw=randwrite --bs=8k --ioengine=psync --numjobs=4'
  'new-several-jobs-direct --rw=randwrite --bs=8k --ioengine=libaio --iodepth=8 --direct=1 --numjobs=4'
  'new-several-jobs-mapped --rw=randwrite --bs=4k --ioengine=mmap --numjobs=4'
  'new-many-files --rw=randwrite --bs=4k --ioengine=psync --nrfiles=64 --numjobs=2'
  'old-sequential --rw=write --bs=128k --ioengine=psync --filename=old --overwrite=1'
  'old-random --rw=randwrite --bs=4k --ioengine=psync --filename=old --overwrite=1'
  'old-mapped --rw=randwrite --bs=4k --ioengine=mmap --filename=old --overwrite=1'
  'old-io-uring-direct --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16 --direct=1 --filename=old --overwrite=1'
  # Four jobs, each with a part of one file.
  "old-shared --rw=randwrite --bs=4k --ioengine=psync --filename=old --overwrite=1 --numjobs=4 --size=$((size / 4))m --offset_increment=$((size / 4))m"
)
for kind in "$@"; do
  for job in "${jobs[@]}"; do
    read -r name options <<<"$job"
    [ -z "${JOBS:-}" ] || [[ " $JOBS " = *" $name "* ]] || continue
    log=$(mktemp)
    status=0
    # shellcheck disable=SC2086
    OLD_MIB=$size timeout -k 10 120 "$(dirname "$0")/mounted.sh" "$kind" "${PLACE:-tmpfs}" \
      fio --name="$name" --directory=. --size="${size}m" --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_dump=0 \
      --randrepeat=0 --group_reporting $options >"$log" 2>&1 || status=$?
    if [ $status = 0 ] && ! grep -qE 'verify: bad|err=[^ ]*[1-9]' "$log"; then
      echo "$kind $name ok"
    else
      echo "$kind $name FAILED ($status): $(grep -aE 'verify|error|err=' "$log" | head -n 3 | tr '\n' ' ')"
    fi
    rm "$log"
  done
done
