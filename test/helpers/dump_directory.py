"""Canonical dump (FORMAT.md, "Canonical dump") of a real directory, through the ordinary system calls and nothing
of Lamina: the independent side of every comparison.

Usage: dump_directory.py ROOT [--no-nlink] [--skip-vanished]
  --no-nlink       prints ? for the link count, for filesystems that count names which are not visible
  --skip-vanished  leaves out names that a listing shows and lstat does not know: kernel overlayfs lists whiteouts
                   of directories that it does not merge (ovl_dir_read_impure, fs/overlayfs/readdir.c)
"""
import errno
import hashlib
import os
import resource
import stat
import sys

HIDDEN = (b'trusted.overlay.', b'user.overlay.')
TYPES = {
    stat.S_IFDIR: 'd', stat.S_IFREG: 'f', stat.S_IFLNK: 'l', stat.S_IFCHR: 'c', stat.S_IFBLK: 'b',
    stat.S_IFIFO: 'p', stat.S_IFSOCK: 's',
}


def table(special):
    return ['\\x%02x' % b if b < 0x21 or b > 0x7e or b == 0x5c or b in special else chr(b) for b in range(256)]


PATH_TABLE = table(b'')
XATTR_TABLE = table(b',=')


def escape(data, by=PATH_TABLE):
    return ''.join([by[b] for b in data])


def mtime_text(ns):
    return '%d.%09d' % (ns // 10**9, ns % 10**9)


def xattr_text(name):
    """`name` lies in the working directory; symlinks are not followed."""
    try:
        names = os.listxattr(name, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return '-'
        raise
    kept = []
    for attribute in sorted(os.fsencode(n) for n in names):
        if attribute == b'security.selinux' or attribute.startswith(HIDDEN):
            continue
        value = os.getxattr(name, attribute, follow_symlinks=False)
        kept.append('%s=%s' % (escape(attribute, XATTR_TABLE), value.hex()))
    return ','.join(kept) or '-'


def content_digest(name):
    digest = hashlib.sha256()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while True:
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                return 'sha256:' + digest.hexdigest()
            digest.update(chunk)
    finally:
        os.close(fd)


class Dump:
    def __init__(self, nlink, skip_vanished):
        self.nlink = nlink
        self.skip_vanished = skip_vanished
        self.first = {}
        self.lines = []

    def line(self, name, path):
        """Adds the line of `name`, which lies in the working directory; returns its lstat, None when it vanished."""
        try:
            st = os.lstat(name)
        except FileNotFoundError:
            if self.skip_vanished:
                return None
            raise
        shown = escape(path)
        is_dir = stat.S_ISDIR(st.st_mode)
        if not is_dir:
            first = self.first.setdefault((st.st_dev, st.st_ino), shown)
            if first is not shown:
                self.lines.append('%s h %s' % (shown, first))
                return st
        kind = TYPES[stat.S_IFMT(st.st_mode)]
        rdev = '%d:%d' % (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in 'cb' else '-'
        content = '-'
        if kind == 'f':
            content = content_digest(name)
        elif kind == 'l':
            content = '->' + escape(os.readlink(name))
        self.lines.append(' '.join((
            shown, kind, '%04o' % stat.S_IMODE(st.st_mode),
            '-' if is_dir else str(st.st_nlink) if self.nlink else '?',
            '%d:%d' % (st.st_uid, st.st_gid), rdev, mtime_text(st.st_mtime_ns),
            str(st.st_size) if kind == 'f' else '-', content, xattr_text(name),
        )))
        return st

    def walk(self, fd, prefix):
        """Everything below the open directory `fd`. Goes by descriptors: a path may be longer than PATH_MAX."""
        for name in sorted(os.fsencode(n) for n in os.listdir(fd)):
            os.fchdir(fd)
            path = prefix + b'/' + name
            st = self.line(name, path)
            if st is not None and stat.S_ISDIR(st.st_mode):
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    self.walk(child, path)
                finally:
                    os.close(child)


def dump_directory(root, nlink=True, skip_vanished=False):
    """The dump of the tree at `root` as text. Leaves the working directory somewhere below it."""
    sys.setrecursionlimit(20000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    dump = Dump(nlink, skip_vanished)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchdir(fd)
        dump.line(b'.', b'/')
        dump.walk(fd, b'')
    finally:
        os.close(fd)
    return '\n'.join(dump.lines) + '\n'


if __name__ == '__main__':
    flags = sys.argv[2:]
    sys.stdout.write(
        dump_directory(os.fsencode(sys.argv[1]), '--no-nlink' not in flags, '--skip-vanished' in flags))
