"""Runs a program that may not make whiteout devices, as on Linux before 5.8 without privileges: mknod of character
devices and RENAME_WHITEOUT fail with EPERM (seccomp(2)).

Usage: no_whiteouts.py PROGRAM [ARGUMENT...]
"""
import ctypes
import os
import platform
import struct
import sys

SYSCALLS = {'x86_64': (259, 316), 'aarch64': (33, 276)}  # mknodat, renameat2
LOAD, AND, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x54, 0x15, 0x45, 0x06
ALLOW, EPERM = 0x7fff0000, 0x00050001
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38


def step(code, operand, when_true=0, when_false=0):
    return struct.pack('HBBI', code, when_true, when_false, operand)


def argument(index):
    return 16 + 8 * index


mknodat, renameat2 = SYSCALLS[platform.machine()]
program = b''.join([
    step(LOAD, 0),
    step(JUMP_EQUAL, mknodat, 0, 4),
    step(LOAD, argument(2)),
    step(AND, 0o170000),
    step(JUMP_EQUAL, 0o020000, 0, 1),
    step(RETURN, EPERM),
    step(LOAD, 0),
    step(JUMP_EQUAL, renameat2, 0, 3),
    step(LOAD, argument(4)),
    step(JUMP_SET, 4, 0, 1),
    step(RETURN, EPERM),
    step(RETURN, ALLOW),
])


class Filter(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('program', ctypes.c_void_p)]


buffer = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None, use_errno=True)
# A setuid helper could still be run by root alone: programs that mount by fusermount3 must not be run by this.
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), 'PR_SET_NO_NEW_PRIVS')
filter_ = Filter(len(program) // 8, ctypes.addressof(buffer))
if libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(filter_), 0, 0) != 0:
    raise OSError(ctypes.get_errno(), 'PR_SET_SECCOMP')
os.execvp(sys.argv[1], sys.argv[1:])
