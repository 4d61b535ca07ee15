#!/usr/bin/env bash
# Runs a command inside a writable mount of one kind, made for it and taken away afterwards:
#   mounted.sh KIND PLACE COMMAND...    PLACE: a directory of a filesystem for the layers, or "tmpfs"
# KIND: plain, overlayfs (every feature on), fuse-overlayfs, lamina (/dev/fuse alone), lamina-uring, lamina-passthrough (io_uring, and
# the kernel reads and writes the upper's files). The command starts in a directory of the lower layer, which holds a file "old" of OLD_MIB
# MiB. The status is the command's; 99 when the mount could not be made. Root.
set -euo pipefail
kind=$1 place=$2
shift 2
server=${LAMINA_FUSE:-$(cd "$(dirname "$0")/../.." && echo "$PWD/prebuilds/linux-$(node -p process.arch)/lamina-fuse")}
parameter=/sys/module/fuse/parameters/enable_uring

base=$(mktemp -d "$([ "$place" = tmpfs ] && echo "${TMPDIR:-/tmp}" || echo "$place")/lamina-external-XXXXXX")
chmod 755 "$base"
[ "$place" != tmpfs ] || mount -t tmpfs lamina-external "$base"
take_away() {
  cd /
  umount "$base/mnt" 2>/dev/null || umount -l "$base/mnt" 2>/dev/null || true
  if [ "$place" = tmpfs ]; then
    for _ in 1 2 3 4 5; do umount "$base" 2>/dev/null && break || sleep 1; done
  fi
  rm -rf --one-file-system "$base"
}
trap take_away EXIT

mkdir "$base"/{lower,upper,work,mnt}
mkdir -m 1777 "$base/lower/d"
head -c "${OLD_MIB:-0}M" /dev/urandom >"$base/lower/d/old"
layers=lowerdir=$base/lower,upperdir=$base/upper,workdir=$base/work
lamina() { "$server" -o "$layers,dev,suid,stats=$base/stats$1" "$base/mnt"; }
lamina_by_uring() {
  local before
  before=$(cat "$parameter")
  echo Y >"$parameter"
  lamina "$1" || { echo "$before" >"$parameter"; return 1; }
  echo "$before" >"$parameter"
}
case $kind in
  plain) mount --bind "$base/lower" "$base/mnt" ;;
  overlayfs) mount -t overlay -o "$layers,redirect_dir=on,index=on,metacopy=on" overlay "$base/mnt" ;;
  fuse-overlayfs) fuse-overlayfs -o "$layers,dev,suid,allow_other" "$base/mnt" ;;
  lamina) lamina ,no_uring ;;
  lamina-uring) lamina_by_uring ,no_passthrough ;;
  lamina-passthrough) lamina_by_uring ,passthrough ;;
  *) echo "no such kind: $kind" >&2; exit 99 ;;
esac || exit 99
cd "$base/mnt/d"
status=0
"$@" || status=$?
exit $status
