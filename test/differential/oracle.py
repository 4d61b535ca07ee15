"""Answers for one stack of layers after another, so that a run of hundreds needs one process.

Usage: oracle.py SCRATCH HELPERS   each line of standard input is a stack (the JSON of test/helpers/stack.ts); the answer is one
                                   line {"overlay": DUMP, "flat": DUMP} or {"undefined": WHY} or {"failed": WHY}

overlay: kernel overlayfs over the unpacked layers, without link counts. flat: the layers unpacked into one directory.
"""
import ctypes
import json
import os
import shutil
import sys
import traceback

sys.path.insert(0, sys.argv[2])
from dump_directory import dump_directory  # noqa: E402
from unpack import Attributes, Undefined, unpack  # noqa: E402

MS_RDONLY = 1
libc = ctypes.CDLL(None, use_errno=True)


def check(result, doing):
    if result != 0:
        raise OSError(ctypes.get_errno(), '%s: %s' % (doing, os.strerror(ctypes.get_errno())))


def overlay_dump(stack, base):
    """The kernel wants at least two lowers; names are relative, as mount(2) takes one page of options."""
    places = unpack('lowers', base + b'/lowers', stack)
    for extra in (b'/lowers/empty', b'/lowers/bottom', b'/merged'):
        os.mkdir(base + extra)
    os.chdir(base + b'/lowers')
    Attributes().apply('empty')  # the root of an image without layers
    options = b'lowerdir=' + b':'.join([os.path.basename(place) for place in places] + [b'empty', b'bottom'])
    merged = base + b'/merged'
    check(libc.mount(b'overlay', merged, b'overlay', MS_RDONLY, options), 'mount overlay')
    try:
        return dump_directory(merged, nlink=False, skip_vanished=True)
    finally:
        os.chdir('/')
        check(libc.umount2(merged, 0), 'umount')


def answer(stack, base):
    os.mkdir(base)
    try:
        overlay = overlay_dump(stack, base)
        unpack('flat', base + b'/flat', stack)
        return {'overlay': overlay, 'flat': dump_directory(base + b'/flat')}
    except Undefined as why:
        return {'undefined': str(why)}
    except Exception:
        return {'failed': traceback.format_exc()}
    finally:
        os.chdir('/')
        shutil.rmtree(base)


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line), os.fsencode(sys.argv[1]) + b'/stack')), flush=True)
