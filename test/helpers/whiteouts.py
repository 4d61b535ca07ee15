"""Turns OCI whiteouts (image-spec, layer.md) of one unpacked layer into overlayfs's (filesystems/overlayfs.rst): `.wh.x`
becomes a 0:0 character device, `.wh..wh..opq` the attribute trusted.overlay.opaque of its directory. A directory that the
layer both hides and holds becomes opaque. Times of the directories stay as they are.

Usage: whiteouts.py DIRECTORY
"""
import os
import stat
import sys

PREFIX = b'.wh.'
OPAQUE = b'.wh..wh..opq'


def translate(directory):
    before = os.lstat(directory)
    changed = False
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if name.startswith(PREFIX):
            os.unlink(path)
            changed = True
            if name == OPAQUE:
                os.setxattr(directory, 'trusted.overlay.opaque', b'y')
                continue
            hidden = os.path.join(directory, name[len(PREFIX):])
            if not os.path.lexists(hidden):
                os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))
            elif stat.S_ISDIR(os.lstat(hidden).st_mode):
                os.setxattr(hidden, 'trusted.overlay.opaque', b'y')
        elif stat.S_ISDIR(os.lstat(path).st_mode):
            translate(path)
    if changed:
        os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


translate(os.fsencode(sys.argv[1]))
