"""Makes system calls as it is told and answers what they returned: for those that Node has no name for, for errno values as they
are, and for being another user.

Usage: syscalls.py   each line of standard input is a request {"id", "dir", "user": [UID, GID] or null, "calls": [[NAME, ARGUMENT...]]};
                     the answer is one line {"id", "results"} or {"id", "failed"}. Paths are relative to dir, as bytes in Latin-1;
                     a failed call gives {"errno": "ENOENT"}. Each request has a process of its own, so that nothing holds
                     a mount when it has been answered.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import socket
import stat
import struct
import sys
import threading
import traceback

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.getxattr.restype = libc.lgetxattr.restype = libc.listxattr.restype = libc.llistxattr.restype = ctypes.c_ssize_t
libc.readlink.restype = ctypes.c_ssize_t
SYS_GETDENTS64 = {'x86_64': 217, 'aarch64': 61}[os.uname().machine]
AT_FDCWD = -100


def raw(text):
    return text.encode('latin-1')


def text(data):
    return bytes(data).decode('latin-1')


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Opened:
    """A descriptor for the length of one call. Flags are names of os constants, joined by |."""

    def __init__(self, path, flags='O_RDONLY'):
        self.fd = os.open(raw(path), flag_bits(flags), 0o600)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def flag_bits(flags):
    bits = 0
    for name in flags.split('|'):
        bits |= getattr(os, name)
    return bits


def call_stat(path, follow=False):
    st = os.stat(raw(path), follow_symlinks=follow)
    return {
        'ino': str(st.st_ino), 'dev': str(st.st_dev), 'mode': st.st_mode, 'nlink': st.st_nlink, 'uid': st.st_uid,
        'gid': st.st_gid, 'size': st.st_size, 'blocks': st.st_blocks, 'blksize': st.st_blksize,
        'mtimeNs': str(st.st_mtime_ns), 'rdev': [os.major(st.st_rdev), os.minor(st.st_rdev)],
    }


def call_statfs(path):
    st = os.statvfs(raw(path))
    return {'bsize': st.f_bsize, 'blocks': st.f_blocks, 'bavail': st.f_bavail, 'files': st.f_files,
            'namemax': st.f_namemax, 'readonly': bool(st.f_flag & os.ST_RDONLY)}


def call_open(path, flags):
    with Opened(path, flags):
        return 0


def call_pread(path, length, offset):
    with Opened(path) as fd:
        return text(os.pread(fd, length, offset))


def call_read_direct(path):
    """Whole blocks with O_DIRECT, into aligned memory."""
    with Opened(path, 'O_RDONLY|O_DIRECT') as fd:
        size = os.fstat(fd).st_size
        area = mmap.mmap(-1, (size + 4095) // 4096 * 4096)
        done = os.preadv(fd, [area], 0)
        return text(area[:done])


def call_sendfile(path):
    with Opened(path) as fd:
        size = os.fstat(fd).st_size
        out = os.memfd_create('copy')
        done = 0
        while done < size:
            done += os.sendfile(out, fd, done, size - done)
        data = os.pread(out, size, 0)
        os.close(out)
        return text(data)


def call_mmap(path, shared, length=0):
    """`length` bytes (0: the file), rounded up to pages: what lies behind the end of the file is seen as well."""
    with Opened(path) as fd:
        size = os.fstat(fd).st_size
        flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        libc.mmap.restype = ctypes.c_void_p
        pages = ((length or size) + 4095) // 4096 * 4096
        address = libc.mmap(None, ctypes.c_size_t(pages), mmap.PROT_READ, flags, fd, ctypes.c_long(0))
        if address == ctypes.c_void_p(-1).value:
            checked(-1)
        data = ctypes.string_at(address, pages)
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(pages))
        return text(data)


def call_mmap_write(path):
    with Opened(path) as fd:
        mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE).close()


def call_lseek(path, offset, whence):
    with Opened(path) as fd:
        return os.lseek(fd, offset, getattr(os, whence))


def call_fadvise(path):
    with Opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        return 0


def dirents(fd, size):
    """One getdents64 -> entries; none at the end."""
    buffer = ctypes.create_string_buffer(size)
    count = checked(libc.syscall(SYS_GETDENTS64, fd, buffer, ctypes.c_size_t(size)))
    entries, at = [], 0
    while at < count:
        ino, offset, length, kind = struct.unpack_from('<QqHB', buffer.raw, at)
        name = buffer.raw[at + 19:at + length].split(b'\0', 1)[0]
        entries.append({'name': text(name), 'ino': str(ino), 'offset': offset, 'type': kind})
        at += length
    return entries


def rest_of(fd, size):
    entries = []
    while True:
        some = dirents(fd, size)
        if not some:
            return entries
        entries += some


def call_getdents(path, size=32768):
    with Opened(path, 'O_RDONLY|O_DIRECTORY') as fd:
        return [{**entry, 'offset': str(entry['offset'])} for entry in rest_of(fd, size)]


def call_seekdir(path, after):
    """Names in order; then, for each position in `after`, the names from there on when the offset is sought again."""
    with Opened(path, 'O_RDONLY|O_DIRECTORY') as fd:
        entries = rest_of(fd, 4096)
        tails = []
        for position in after:
            os.lseek(fd, entries[position]['offset'], os.SEEK_SET)
            tails.append([entry['name'] for entry in rest_of(fd, 4096)])
        os.lseek(fd, 0, os.SEEK_SET)
        return {'names': [entry['name'] for entry in entries], 'tails': tails,
                'again': [entry['name'] for entry in rest_of(fd, 4096)]}


def call_interleaved(path):
    """Two descriptors of one directory, read in turn by small steps."""
    with Opened(path, 'O_RDONLY|O_DIRECTORY') as one, Opened(path, 'O_RDONLY|O_DIRECTORY') as two:
        names = ([], [])
        open_fds = {one, two}
        while open_fds:
            for fd, list_ in ((one, names[0]), (two, names[1])):
                if fd in open_fds:
                    some = dirents(fd, 512)
                    list_ += [entry['name'] for entry in some]
                    if not some:
                        open_fds.discard(fd)
        return names


def call_getxattr(path, name, size, follow=False):
    """The value; with size 0 its length."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    call = libc.getxattr if follow else libc.lgetxattr
    count = checked(call(raw(path), raw(name), buffer if size else None, ctypes.c_size_t(size)))
    return text(buffer.raw[:count]) if size else count


def call_listxattr(path, size):
    """The names in byte order; with size 0 the length of the list."""
    buffer = ctypes.create_string_buffer(max(size, 1))
    count = checked(libc.llistxattr(raw(path), buffer if size else None, ctypes.c_size_t(size)))
    return sorted(text(buffer.raw[:count]).split('\0')[:-1]) if size else count


def call_readlink(path, size=8192):
    buffer = ctypes.create_string_buffer(size)
    count = checked(libc.readlink(raw(path), buffer, ctypes.c_size_t(size)))
    return text(buffer.raw[:count])


def call_access(path, mode):
    checked(libc.access(raw(path), flag_bits(mode)))
    return 0


def call_bind(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(raw(path))


def call_connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(raw(path))


def call_fifo(path):
    """A byte through the FIFO."""
    reader = os.open(raw(path), os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(raw(path), os.O_WRONLY)
    os.write(writer, b'x')
    data = os.read(reader, 1)
    os.close(writer)
    os.close(reader)
    return text(data)


def call_lock(path):
    with Opened(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return 0


def call_exec(path, *arguments):
    """Runs the program; its standard output."""
    out = os.memfd_create('out')
    back, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(out, 1)
            os.execv(raw(path), [raw(path), *map(raw, arguments)])
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
    return text(data)


def call_fd_relative(directory, path):
    with Opened(directory, 'O_PATH') as fd:
        return str(os.stat(raw(path), dir_fd=fd, follow_symlinks=False).st_ino)


def zero(work):
    work()
    return 0


CALLS = {
    'mkdir': lambda path: zero(lambda: os.mkdir(raw(path))),
    'rmdir': lambda path: zero(lambda: os.rmdir(raw(path))),
    'unlink': lambda path: zero(lambda: os.unlink(raw(path))),
    'rename': lambda a, b: zero(lambda: os.rename(raw(a), raw(b))),
    'link': lambda a, b: zero(lambda: os.link(raw(a), raw(b), follow_symlinks=False)),
    'symlink': lambda a, b: zero(lambda: os.symlink(raw(a), raw(b))),
    'mkfifo': lambda path: zero(lambda: os.mkfifo(raw(path))),
    'mknod': lambda path: zero(lambda: os.mknod(raw(path), stat.S_IFREG | 0o600)),
    'truncate': lambda path, size: zero(lambda: os.truncate(raw(path), size)),
    'chmod': lambda path, mode: zero(lambda: os.chmod(raw(path), mode)),
    'chown': lambda path, uid, gid: zero(lambda: os.chown(raw(path), uid, gid, follow_symlinks=False)),
    'utimes': lambda path: zero(lambda: os.utime(raw(path), ns=(1, 1), follow_symlinks=False)),
    'setxattr': lambda path, name: zero(lambda: os.setxattr(raw(path), raw(name), b'1')),
    'removexattr': lambda path, name: zero(lambda: os.removexattr(raw(path), raw(name))),
    **{name[5:]: call for name, call in list(globals().items()) if name.startswith('call_')},
}


def results_of(request):
    os.chdir(os.fsencode(request['dir']))
    if request['user'] is not None:
        uid, gid = request['user']
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    results = []
    for name, *arguments in request['calls']:
        try:
            results.append(CALLS[name](*arguments))
        except OSError as error:
            results.append({'errno': errno.errorcode.get(error.errno, str(error.errno))})
    return results


def serve(request):
    """On a thread of the request's own: the calls are made by a child."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = {'id': request['id'], 'results': results_of(request)}
        except BaseException:
            answer = {'id': request['id'], 'failed': traceback.format_exc()}
        with open(sink, 'w') as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(sink)
    with open(source) as incoming:
        answer = incoming.read()
    os.waitpid(child, 0)
    with printing:
        print(answer or json.dumps({'id': request['id'], 'failed': 'the process died'}), flush=True)


printing = threading.Lock()
for line in sys.stdin:
    threading.Thread(target=serve, args=(json.loads(line),)).start()
