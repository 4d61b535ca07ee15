"""The calls of script.py: each takes its arguments as bytes, and returns what is compared. Files are named by path where
the argument is a path, and by descriptor (what `open` gave) where it is a number after `f`-calls. Modes are octal, sizes may
end in K or M, flags are names of constants joined by |.
"""
import ctypes
import fcntl
import hashlib
import mmap
import os
import signal
import socket
import stat
import struct
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
for _name in ('getxattr', 'lgetxattr', 'fgetxattr', 'listxattr', 'llistxattr', 'flistxattr'):
    getattr(libc, _name).restype = ctypes.c_ssize_t
X86 = os.uname().machine == 'x86_64'
SYS_GETDENTS64 = 217 if X86 else 61
SYS_RENAMEAT2 = 316 if X86 else 276
SYS_FACCESSAT2 = 439
AT_FDCWD = -100
PAGE = 4096
EXTRA = {
    'O_TMPFILE': 0o20200000, 'O_DIRECT': os.O_DIRECT, 'O_LARGEFILE': 0, 'RENAME_NOREPLACE': 1, 'RENAME_EXCHANGE': 2,
    'RENAME_WHITEOUT': 4, 'XATTR_CREATE': 1, 'XATTR_REPLACE': 2, 'KEEP_SIZE': 1, 'PUNCH_HOLE': 2,
    'COLLAPSE_RANGE': 8, 'ZERO_RANGE': 16, 'INSERT_RANGE': 32, 'ALLOCATE': 0, 'F_OK': 0, 'NONE': 0,
    'AT_SYMLINK_FOLLOW': 0x400, 'AT_EMPTY_PATH': 0x1000,
}
KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'symlink', stat.S_IFCHR: 'char', stat.S_IFBLK: 'block',
         stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket'}
STARTED_NS = time.time_ns() - 3600 * 10**9
CLOCK_REALTIME_COARSE = 5  # what files get their times from; a busy machine moves it late
TICK_S = 0.001


def die_with_parent():
    libc.prctl(1, signal.SIGKILL)


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def bits(text):
    value = 0
    for name in text.decode().split('|'):
        for module in (os, fcntl, mmap):
            if name not in EXTRA and hasattr(module, name):
                value |= getattr(module, name)
                break
        else:
            value |= EXTRA[name]
    return value


def size(text):
    scale = {b'K': 1 << 10, b'M': 1 << 20, b'G': 1 << 30}.get(text[-1:], 0)
    return int(text[:-1]) * scale if scale else int(text)


def octal(text):
    return int(text, 8)


def names(listed):
    return sorted(listed) or [b'(none)']


class Opened:
    """A descriptor for the length of one call."""

    def __init__(self, path, flags):
        self.fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)  # a FIFO would wait

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


# --- attributes

def fields(st, wanted):
    mode = st.st_mode
    table = {
        'type': lambda: KINDS[stat.S_IFMT(mode)], 'mode': lambda: '%04o' % stat.S_IMODE(mode), 'ino': lambda: st.st_ino,
        'nlink': lambda: st.st_nlink, 'uid': lambda: st.st_uid, 'gid': lambda: st.st_gid, 'size': lambda: st.st_size,
        'dev': lambda: st.st_dev, 'rdev': lambda: '%d:%d' % (os.major(st.st_rdev), os.minor(st.st_rdev)),
        'mtime': lambda: st.st_mtime_ns, 'ctime': lambda: st.st_ctime_ns, 'atime': lambda: st.st_atime_ns,
        'age': lambda: 'now' if st.st_mtime_ns > STARTED_NS else st.st_mtime_ns,
        'links': lambda: '-' if stat.S_ISDIR(mode) else st.st_nlink,
        'length': lambda: st.st_size if stat.S_ISREG(mode) else '-', 'blocks': lambda: st.st_blocks, 'allocated': lambda: st.st_blocks * 512,
    }
    return [table[name.decode()]() for name in wanted]


def call_moved(path, call, *arguments):
    """Which times of `path` the call changed; before them, how it failed."""
    before = os.lstat(path)
    start = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= max(start, before.st_ctime_ns):
        time.sleep(TICK_S)
    told = []
    try:
        CALLS[call.decode()](*arguments)
    except OSError as error:
        told = [os.strerror(error.errno).replace(' ', '_')]
    after = os.lstat(path)
    moved = [name for name in ('mtime', 'ctime') if getattr(before, 'st_%s_ns' % name) != getattr(after, 'st_%s_ns' % name)]
    return told + [','.join(moved) or 'none']


def call_utimens(path, atime, mtime):
    """Nanoseconds, `now` or `omit`."""
    checked(libc.utimensat(AT_FDCWD, path, times(atime, mtime), 0x100))


def times(atime, mtime):
    def pair(text):
        special = {b'now': (1 << 30) - 1, b'omit': (1 << 30) - 2}
        return (0, special[text]) if text in special else divmod(int(text), 10**9)
    return struct.pack('=qqqq', *pair(atime), *pair(mtime))


def call_access(path, mode):
    checked(libc.syscall(SYS_FACCESSAT2, AT_FDCWD, path, bits(mode), 0x200))


# --- extended attributes

def listed(call, target):
    count = checked(call(target, None, ctypes.c_size_t(0)))
    buffer = ctypes.create_string_buffer(count + 1)
    count = checked(call(target, buffer, ctypes.c_size_t(count)))
    return names([one for one in buffer.raw[:count].split(b'\0') if one and one != b'security.selinux'])


def got(call, target, name, length):
    buffer = ctypes.create_string_buffer(max(length, 1))
    count = checked(call(target, name, buffer if length else None, ctypes.c_size_t(length)))
    return buffer.raw[:count] if length else count


def call_setxattr(path, name, value, flags=b'NONE'):
    checked(libc.lsetxattr(path, name, value, ctypes.c_size_t(len(value)), bits(flags)))


def call_fsetxattr(fd, name, value, flags=b'NONE'):
    checked(libc.fsetxattr(int(fd), name, value, ctypes.c_size_t(len(value)), bits(flags)))


# --- content

def call_put(path, data, flags=b'O_WRONLY|O_CREAT|O_TRUNC'):
    with Opened(path, bits(flags)) as fd:
        written(os.write(fd, data), data)


def written(count, data):
    assert count == len(data), 'a short write'
    return count


def whole(path):
    with Opened(path, os.O_RDONLY) as fd:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b''.join(parts)


def call_direct_write(path, length, offset):
    """A page-aligned buffer of d's."""
    with Opened(path, os.O_WRONLY | os.O_DIRECT) as fd:
        area = mmap.mmap(-1, size(length))
        area.write(b'd' * size(length))
        return os.pwritev(fd, [area], size(offset))


def call_direct_read(path, length, offset):
    with Opened(path, os.O_RDONLY | os.O_DIRECT) as fd:
        area = mmap.mmap(-1, size(length))
        return area[:os.preadv(fd, [area], size(offset))]


def call_copy_file_range(source, destination, length, from_offset, to_offset):
    return os.copy_file_range(int(source), int(destination), size(length), size(from_offset), size(to_offset))


def call_sendfile(out, source, length):
    return os.sendfile(int(out), int(source), 0, size(length))


def call_fallocate(fd, mode, offset, length):
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    checked(libc.fallocate(int(fd), bits(mode), size(offset), size(length)))


def call_segments(fd):
    """The data of a file as SEEK_DATA and SEEK_HOLE tell it: `from-to`."""
    found, at = [], 0
    while True:
        try:
            start = os.lseek(int(fd), at, os.SEEK_DATA)
        except OSError:
            return found or ['(none)']
        at = os.lseek(int(fd), start, os.SEEK_HOLE)
        found.append('%d-%d' % (start, at))


# --- memory

MAPS = {}


def call_mmap(fd, protection, flags, length, offset=b'0'):
    address = libc.mmap(None, ctypes.c_size_t(size(length)), bits(protection), bits(flags), int(fd), ctypes.c_long(size(offset)))
    if address == ctypes.c_void_p(-1).value:
        checked(-1)
    MAPS[len(MAPS)] = (address, size(length))
    return len(MAPS) - 1


def call_peek(area, offset, length):
    return ctypes.string_at(MAPS[int(area)][0] + size(offset), size(length))


def call_poke(area, offset, data):
    ctypes.memmove(MAPS[int(area)][0] + size(offset), data, len(data))


def call_msync(area):
    address, length = MAPS[int(area)]
    checked(libc.msync(ctypes.c_void_p(address), ctypes.c_size_t(length), 4))


def call_munmap(area):
    address, length = MAPS[int(area)]
    checked(libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(length)))


# --- names

def call_rename(old, new, flags=b'NONE'):
    checked(libc.syscall(SYS_RENAMEAT2, AT_FDCWD, old, AT_FDCWD, new, bits(flags)))


def call_link(old, new, flags=b'NONE'):
    checked(libc.linkat(AT_FDCWD, old, AT_FDCWD, new, bits(flags)))


def call_flink(fd, new):
    """A name for an open file, by its name in /proc."""
    checked(libc.linkat(AT_FDCWD, b'/proc/self/fd/' + fd, AT_FDCWD, new, 0x400))


def call_mknod(path, kind, mode=b'644', rdev=b'0:0'):
    formats = {name.encode(): bits_ for bits_, name in KINDS.items()}
    major, minor = map(int, rdev.split(b':'))
    checked(libc.mknod(path, formats[kind] | octal(mode), ctypes.c_ulong(os.makedev(major, minor))))


def call_bind(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


def call_make(kind, path):
    """A new file of any kind."""
    if kind == b'dir':
        os.mkdir(path)
    elif kind == b'symlink':
        os.symlink(b'target', path)
    elif kind in (b'char', b'block'):
        call_mknod(path, kind, b'644', b'1:3')
    else:
        call_mknod(path, kind)


def call_remove(path):
    (os.rmdir if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink)(path)


def call_remove_tree(path):
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in sorted(os.listdir(path)):
            call_remove_tree(os.path.join(path, name))
    call_remove(path)


def call_chain(name, count):
    """Makes `count` directories, each in the one before, and stays in the last."""
    for _ in range(int(count)):
        os.mkdir(name)
        os.chdir(name)


# --- directories

def dirents(fd, length):
    """One getdents64 -> (name, ino, offset, type)"""
    buffer = ctypes.create_string_buffer(length)
    count = checked(libc.syscall(SYS_GETDENTS64, fd, buffer, ctypes.c_size_t(length)))
    entries, at = [], 0
    while at < count:
        ino, offset, length, kind = struct.unpack_from('<QqHB', buffer.raw, at)
        entries.append((buffer.raw[at + 19:at + length].split(b'\0', 1)[0], ino, offset, kind))
        at += length
    return entries


def all_dirents(fd, length=4096):
    entries = []
    while some := dirents(fd, length):
        entries += some
    return entries


def call_ls(path):
    return names(os.listdir(path))


def call_read_dir(fd, length=b'32768'):
    """The names from where the descriptor stands to the end, without the two that are always there."""
    return names([name for name, *_ in all_dirents(int(fd), size(length)) if name not in (b'.', b'..')])


def call_count_dir(fd, length=b'512'):
    """How many names from here on, and how many different ones."""
    entries = [name for name, *_ in all_dirents(int(fd), size(length))]
    return [len(entries), len(set(entries))]


def call_some_dir(fd, length=b'512'):
    """One getdents: how many names it gave."""
    return len(dirents(int(fd), size(length)))


def call_resume_everywhere(path):
    """From the offset of each entry, the names that follow it: `same` when they are those of the first pass."""
    with Opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        first = all_dirents(fd)
        for at, (_, _, offset, _) in enumerate(first):
            os.lseek(fd, offset, os.SEEK_SET)
            if [one[0] for one in all_dirents(fd)] != [one[0] for one in first[at + 1:]]:
                return 'differs after %d' % at
        return 'same'


def call_agree(path):
    """Whether the inode number and type of each entry are those of lstat."""
    with Opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        for name, ino, _, kind in all_dirents(fd):
            if name == b'..':
                continue
            st = os.lstat(os.path.join(path, name))
            if (st.st_ino, stat.S_IFMT(st.st_mode) >> 12) != (ino, kind):
                return 'differs:%s %d %d' % (name.decode('latin-1'), ino, st.st_ino)
        return 'agree'


# --- locks and processes

def call_lock(fd, how, start=b'0', length=b'0'):
    """A lock of fcntl: LOCK_SH, LOCK_EX or LOCK_UN, with |LOCK_NB."""
    fcntl.lockf(int(fd), bits(how), size(length), size(start))


def call_ofd_lock(fd, how, start=b'0', length=b'0'):
    kinds = {b'LOCK_SH': fcntl.F_RDLCK, b'LOCK_EX': fcntl.F_WRLCK, b'LOCK_UN': fcntl.F_UNLCK}
    fcntl.fcntl(int(fd), 37, struct.pack('hhqqi4x', kinds[how], 0, size(start), size(length), 0))


def call_get_lock(fd, how):
    """What stands in the way of a lock."""
    kinds = {b'LOCK_SH': fcntl.F_RDLCK, b'LOCK_EX': fcntl.F_WRLCK}
    answer = fcntl.fcntl(int(fd), fcntl.F_GETLK, struct.pack('hhqqi4x', kinds[how], 0, 0, 0, 0))
    return {fcntl.F_RDLCK: 'LOCK_SH', fcntl.F_WRLCK: 'LOCK_EX', fcntl.F_UNLCK: 'LOCK_UN'}[struct.unpack('hhqqi4x', answer)[0]]


def call_append_many(path, text, count):
    with Opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as fd:
        for _ in range(int(count)):
            os.write(fd, text)


def call_word_counts(path):
    """How often each byte is in a file: a3 b4."""
    data = whole(path)
    return ['%s%d' % (chr(one), data.count(one)) for one in sorted(set(data))]


def call_exec(path, *arguments, before=None):
    """Runs the program; its standard output."""
    out = os.memfd_create('out')
    back, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(out, 1)
            if before is not None:
                before()
            os.execv(path, [path, *arguments])
        except OSError as error:
            os.write(told, b'%d' % error.errno)
        os._exit(127)
    os.close(told)
    number = os.read(back, 16)
    os.waitpid(child, 0)
    data = os.pread(out, 1 << 16, 0)
    os.close(back)
    os.close(out)
    if number:
        raise OSError(int(number), 'exec')
    return data.strip()


def call_exec_as(uid, path, *arguments):
    """As exec, by a process that has given up everything it had of root."""
    def give_up():
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
    return call_exec(path, *arguments, before=give_up)


def call_statx_mode(path):
    """The mode when nothing else is asked for: a cache may know it where it does not know all."""
    area = ctypes.create_string_buffer(256)
    checked(libc.statx(AT_FDCWD, path, 0x100, 2, area))
    return '%04o' % stat.S_IMODE(struct.unpack_from('<H', area.raw, 28)[0])


def call_copy(source, destination):
    data = whole(source)
    with Opened(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        os.fchmod(fd, 0o755)
        written(os.write(fd, data), data)


def call_statfs(path):
    st = os.statvfs(path)
    return [st.f_namemax, 'ro' if st.f_flag & os.ST_RDONLY else 'rw', 'free' if st.f_bavail > 0 else 'full']


def call_fill(fd, piece):
    """Writes until the disk is full; how it ended, and whether the file is as long as what was taken."""
    data, total = b'f' * size(piece), 0
    try:
        while True:
            total += os.write(int(fd), data)
    except OSError as error:
        return [os.strerror(error.errno).replace(' ', '_'), 'whole' if os.fstat(int(fd)).st_size == total else 'torn']


CALLS = {
    'open': lambda path, flags, mode=b'644': os.open(path, bits(flags) | os.O_CLOEXEC, octal(mode)),
    'close': lambda fd: os.close(int(fd)),
    'read': lambda fd, length: os.read(int(fd), size(length)),
    'pread': lambda fd, length, offset: os.pread(int(fd), size(length), size(offset)),
    'write': lambda fd, data: os.write(int(fd), data),
    'pwrite': lambda fd, data, offset: os.pwrite(int(fd), data, size(offset)),
    'lseek': lambda fd, offset, whence: os.lseek(int(fd), size(offset), bits(whence)),
    'cat': whole,
    'sum': lambda path: hashlib.sha256(whole(path)).hexdigest(),
    'truncate': lambda path, length: os.truncate(path, size(length)),
    'ftruncate': lambda fd, length: os.ftruncate(int(fd), size(length)),
    'fsync': lambda fd: os.fsync(int(fd)),
    'fdatasync': lambda fd: os.fdatasync(int(fd)),
    'syncfs': lambda fd: checked(libc.syncfs(int(fd))),
    'fadvise_drop': lambda fd: os.posix_fadvise(int(fd), 0, 0, os.POSIX_FADV_DONTNEED),
    'mkdir': lambda path, mode=b'755': os.mkdir(path, octal(mode)),
    'mkfifo': lambda path, mode=b'644': os.mkfifo(path, octal(mode)),
    'rmdir': os.rmdir,
    'unlink': os.unlink,
    'symlink': os.symlink,
    'readlink': os.readlink,
    'chdir': os.chdir,
    'fchdir': lambda fd: os.fchdir(int(fd)),
    'umask': lambda mask: os.umask(octal(mask)),
    'lstat': lambda path, *wanted: fields(os.lstat(path), wanted),
    'stat': lambda path, *wanted: fields(os.stat(path), wanted),
    'fstat': lambda fd, *wanted: fields(os.fstat(int(fd)), wanted),
    'gone': lambda path: 'no' if os.path.lexists(path) else 'yes',
    'chmod': lambda path, mode: os.chmod(path, octal(mode)),
    'fchmod': lambda fd, mode: os.fchmod(int(fd), octal(mode)),
    'chown': lambda path, uid, gid: os.chown(path, int(uid), int(gid)),
    'lchown': lambda path, uid, gid: os.lchown(path, int(uid), int(gid)),
    'fchown': lambda fd, uid, gid: os.fchown(int(fd), int(uid), int(gid)),
    'futimens': lambda fd, atime, mtime: checked(libc.futimens(int(fd), times(atime, mtime))),
    'getxattr': lambda path, name, length=b'65536': got(libc.lgetxattr, path, name, size(length)),
    'fgetxattr': lambda fd, name, length=b'65536': got(libc.fgetxattr, int(fd), name, size(length)),
    'listxattr': lambda path: listed(libc.llistxattr, path),
    'flistxattr': lambda fd: listed(libc.flistxattr, int(fd)),
    'removexattr': lambda path, name: checked(libc.lremovexattr(path, name)),
    'fremovexattr': lambda fd, name: checked(libc.fremovexattr(int(fd), name)),
    'flock': lambda fd, how: fcntl.flock(int(fd), bits(how)),
    'sleep': lambda seconds: time.sleep(float(seconds)),
    **{_name[5:]: _call for _name, _call in list(globals().items()) if _name.startswith('call_')},
}
