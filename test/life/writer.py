"""A write load that checks itself: what fsync acknowledged is written down outside, and looked for after whatever happened.

Usage: writer.py lower DIR                       makes what the lower layer holds for one writer
       writer.py run DIR ACKS SECONDS SEED [POSITION]   writes in DIR until the time is over or standard input ends; ACKS gets a line for each
                                                 acknowledged change. POSITION: a file whose first 8 bytes count the disk's writes
       writer.py check DIR ACKS [BEFORE]         every change that was acknowledged (at a position up to BEFORE) is there, and no file
                                                 has anything but what was written: a copy of a lower file that was half done would show

Files are sequences of records of 128 bytes, each naming its file, generation and number; `low-N` begin with 60,000 bytes of the lower layer. A
change that was begun and not acknowledged may be there or not. A server that was killed may have done what it is asked for once more:
a name that is made and there already, or moved and gone, is right when the result is.
"""
import hashlib
import mmap
import os
import random
import struct
import sys
import time

RECORD = 128
LOWS, NEWS = 6, 6
LOWER_BYTES = 60_000


def base_of(name):
    """What a file begins with: those of the lower layer with bytes of their own."""
    if not name.startswith('low-'):
        return b''
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (LOWER_BYTES // 32 + 1))[:LOWER_BYTES]


def record(name, generation, number):
    head = b'%s %d %d ' % (name.encode(), generation, number)
    return head + bytes((number + at) % 251 for at in range(RECORD - len(head)))


def make_lower(directory):
    for part in ('', 'dir-a', 'dir-a/sub'):
        os.makedirs(os.path.join(directory, part), exist_ok=True)
    for number in range(LOWS):
        name = 'low-%d' % number
        with open(os.path.join(directory, name), 'wb') as out:
            out.write(base_of(name))
    with open(os.path.join(directory, 'dir-a/sub/inside'), 'wb') as out:
        out.write(base_of('low-inside'))


class Load:
    def __init__(self, directory, acks, seed, position):
        self.random = random.Random(seed)
        os.chdir(directory)
        self.acks = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.position = mmap.mmap(os.open(position, os.O_RDONLY), 8, prot=mmap.PROT_READ) if position else None
        names = ['low-%d' % number for number in range(LOWS)] + ['new-%d' % number for number in range(NEWS)]
        self.generation = {name: 0 for name in names}
        self.count = {name: 0 for name in names}
        self.mode = {}
        self.moves = 0
        self.open = {}
        self.repeated = 0
        self.here = os.open('.', os.O_RDONLY | os.O_DIRECTORY)

    def ack(self, *words):
        at = struct.unpack('<Q', self.position[:8])[0] if self.position else 0
        os.write(self.acks, ('%d %s\n' % (at, ' '.join(map(str, words)))).encode())

    def fd(self, name):
        """Kept open for long: it must go on when the server is replaced."""
        if name not in self.open:
            if len(self.open) > 5:
                os.close(self.open.pop(self.random.choice(list(self.open))))
            self.open[name] = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
        return self.open[name]

    def append(self, name):
        fd = self.fd(name)
        data = record(name, self.generation[name], self.count[name])
        start = len(base_of(name)) if self.generation[name] == 0 else 0
        assert os.pwrite(fd, data, start + self.count[name] * RECORD) == RECORD, 'a short write'
        os.fsync(fd)
        self.count[name] += 1
        self.ack('append', name, self.generation[name], self.count[name])

    def replace(self, name):
        """As editors save: a new file over the old one."""
        generation = self.generation[name] + 1
        fd = os.open('tmp-' + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, record(name, generation, 0))
        os.fsync(fd)
        os.close(fd)
        self.moved('tmp-' + name, name)
        os.fsync(self.here)
        if name in self.open:
            os.close(self.open.pop(name))
        self.generation[name], self.count[name] = generation, 1
        self.ack('append', name, generation, 1)

    def moved(self, old, new):
        try:
            os.rename(old, new)
        except FileNotFoundError:
            assert os.path.lexists(new) and not os.path.lexists(old), 'rename of %s lost it' % old
            self.repeated += 1

    def chmod(self, name):
        mode = 0o600 + self.random.randrange(64)
        fd = self.fd(name)
        os.fchmod(fd, mode)
        os.fsync(fd)
        self.ack('mode', name, self.generation[name], mode)

    def move_directory(self):
        names = ('dir-a', 'dir-b')
        self.moved(names[self.moves % 2], names[(self.moves + 1) % 2])
        os.fsync(self.here)
        self.moves += 1
        self.ack('directory', names[self.moves % 2], self.moves)

    def come_and_go(self):
        """What leaves nothing behind: whiteouts, directories, links."""
        def tolerant(call, *arguments):
            try:
                call(*arguments)
            except (FileExistsError, FileNotFoundError):
                self.repeated += 1
        tolerant(os.mkdir, 'gone')
        tolerant(os.symlink, 'x', 'gone/link')
        tolerant(os.unlink, 'gone/link')
        tolerant(os.rmdir, 'gone')

    def verify_open(self):
        name = self.random.choice(list(self.open or {'low-0': 0}))
        fd = self.fd(name)
        whole = os.pread(fd, 1 << 22, 0)
        base = base_of(name) if self.generation[name] == 0 else b''
        right = base + b''.join(record(name, self.generation[name], number) for number in range(self.count[name]))
        assert whole == right, '%s: %d bytes that are not the %d written' % (name, len(whole), len(right))

    def run(self, seconds):
        end = time.monotonic() + seconds
        os.set_blocking(0, False)
        steps = 0
        while time.monotonic() < end and read_ended():
            choice = self.random.random()
            name = self.random.choice(list(self.generation))
            if choice < 0.5:
                self.append(name)
            elif choice < 0.6:
                self.replace(name)
            elif choice < 0.7:
                self.chmod(name)
            elif choice < 0.75:
                self.move_directory()
            elif choice < 0.85:
                self.come_and_go()
            else:
                self.verify_open()
            steps += 1
        print('steps %d repeated %d' % (steps, self.repeated))


def read_ended():
    """Whether standard input is still open."""
    try:
        return os.read(0, 1) != b''
    except BlockingIOError:
        return True


def check_file(path, name, promised):
    """`promised`: (generation, records) that were acknowledged."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except FileNotFoundError:
        assert promised is None and not name.startswith('low-'), '%s is gone, though %s was acknowledged' % (path, promised)
        return
    base = base_of(name)
    if not data:
        assert base == b'' and promised is None, '%s is empty, though %s was acknowledged' % (path, promised)
        return
    generation = 0
    if base and data.startswith(base):
        data = data[len(base):]
    else:
        words = data.split(b' ', 3)
        assert len(words) > 2 and words[0] == name.encode(), '%s: %d bytes that nobody wrote: a copy that was half done' % (path, len(data))
        generation = int(words[1])
        assert base == b'' or generation > 0, '%s lost its lower bytes' % path
    if promised is not None:
        assert generation >= promised[0], '%s is of generation %d, %d was acknowledged' % (path, generation, promised[0])
        if generation == promised[0]:
            assert len(data) >= promised[1] * RECORD, '%s has %d bytes of records, %d were acknowledged' % (path, len(data), promised[1])
    known = promised[1] if promised is not None and promised[0] == generation else 0
    for number in range(len(data) // RECORD):
        got = data[number * RECORD:(number + 1) * RECORD]
        # One that was not acknowledged may have its length on the disk and not yet its bytes.
        is_torn = number >= known and number == len(data) // RECORD - 1
        assert got == record(name, generation, number) or is_torn, '%s: record %d is wrong' % (path, number)


def check(directory, acks, before):
    promised, moves = {}, 0
    for line in open(acks):
        if not line.endswith('\n'):
            break
        at, what, name, *numbers = line.split()
        if before is not None and int(at) > before:
            break
        if what == 'append':
            promised[name] = (int(numbers[0]), int(numbers[1]))
        elif what == 'directory':
            moves = int(numbers[0])
    for name in ['low-%d' % number for number in range(LOWS)] + ['new-%d' % number for number in range(NEWS)]:
        check_file(os.path.join(directory, name), name, promised.get(name))
    there = [name for name in ('dir-a', 'dir-b') if os.path.lexists(os.path.join(directory, name))]
    assert len(there) == 1, 'the moved directory is at %s' % there
    with open(os.path.join(directory, there[0], 'sub/inside'), 'rb') as inside:
        assert inside.read() == base_of('low-inside'), 'the moved directory has lost what was in it'
    extra = set(os.listdir(directory)) - set(promised) - {'dir-a', 'dir-b', 'gone'}
    extra = [name for name in extra if not name.startswith(('tmp-', 'low-', 'new-'))]
    assert not extra, 'names that nobody made: %s' % extra
    print('checked %d files, %d moves' % (len(promised), moves))


if sys.argv[1] == 'lower':
    make_lower(sys.argv[2])
elif sys.argv[1] == 'run':
    load = Load(sys.argv[2], sys.argv[3], int(sys.argv[5]), sys.argv[6] if len(sys.argv) > 6 else None)
    load.run(float(sys.argv[4]))
else:
    check(sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else None)
