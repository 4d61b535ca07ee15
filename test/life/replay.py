"""Plays what recorder.cc recorded up to a moment at which the power goes: what came after the last flush is on the disk or not, each write for
itself, as a disk with a cache has it.

Usage: replay.py BEFORE LOG OUT SEED BEGUN   BEFORE is the disk as it was at the start; OUT is made; the first BEGUN records are played in any case.
                                             Prints the records until the power went and the number of the last flush among them: what
                                             was acknowledged by then must be there.
"""
import os
import random
import shutil
import struct
import sys

before, log, out, seed, begun = sys.argv[1:]
chance = random.Random(int(seed))
records = []
with open(log, 'rb') as recorded:
    while len(head := recorded.read(24)) == 24:
        kind, offset, length = struct.unpack('<QQQ', head)
        records.append((kind, offset, recorded.tell(), length))
        recorded.seek(length, os.SEEK_CUR)
    cut = chance.randrange(int(begun), len(records) + 1)
    flush = max((at + 1 for at, one in enumerate(records[:cut]) if one[0] == 2), default=0)
    shutil.copyfile(before, out)
    with open(out, 'r+b') as disk:
        for at, (kind, offset, start, length) in enumerate(records[:cut]):
            if kind == 1 and (at < flush or chance.random() < 0.5):
                recorded.seek(start)
                disk.seek(offset)
                disk.write(recorded.read(length))
print(cut, flush, len(records))
