"""Random changes to the tree at ROOT, the same for the same SEED and tree: what a container may do to its image. Errors that a
filesystem may give (a name that is gone, a directory that is not empty) are part of it.

Usage: random_changes.py ROOT SEED COUNT
"""
import os
import random
import shutil
import stat
import sys

NAMES = [b'a', b'b', b'c', b'd', b'e', b'n1', b'n2', b'\xff\xfe', b'sp ace', b'x' * 255]
TIMES = [1_700_000_000_000_000_000, 1_700_000_000_123_456_789, 0, -1_500_000_000, 3]


def main(root, seed, count):
    choose = random.Random(seed)
    root = os.fsencode(root)

    def everything():
        found = []
        for directory, dirs, files in os.walk(root):
            dirs.sort()
            found += [os.path.join(directory, name) for name in sorted(dirs + files)]
        return found

    def directories():
        return [root] + [path for path in everything() if stat.S_ISDIR(os.lstat(path).st_mode)]

    def any_path():
        paths = everything()
        return choose.choice(paths) if paths else None

    def new_path():
        return os.path.join(choose.choice(directories()), choose.choice(NAMES))

    def write(path, flags):
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, choose.choice([0o644, 0o600, 0o755]))
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.write(fd, bytes(choose.randrange(256) for _ in range(choose.randrange(3000))))
        finally:
            os.close(fd)

    def remove(path):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def remake():
        path = choose.choice(directories()[1:])
        shutil.rmtree(path)
        os.mkdir(path)
        for name in choose.sample(NAMES[:6], 2):
            write(os.path.join(path, name), os.O_CREAT | os.O_WRONLY)

    def replace():
        path = any_path()
        was_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        remove(path)
        kind = choose.randrange(3)
        if kind == 0 and not was_directory:
            os.mkdir(path)
            write(os.path.join(path, b'in'), os.O_CREAT | os.O_WRONLY)
        elif kind == 1:
            os.symlink(b'../a', path)
        else:
            write(path, os.O_CREAT | os.O_WRONLY)

    def attributes():
        path = any_path()
        kind = choose.randrange(4)
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        if kind == 0 and not is_link:
            os.chmod(path, choose.choice([0o600, 0o755, 0o4755, 0o1777, 0o2711, 0o700]))
        elif kind == 1:
            os.chown(path, choose.choice([0, 1000, 3_000_000]), choose.choice([0, 5]), follow_symlinks=False)
        elif kind == 2:
            time = choose.choice(TIMES)
            os.utime(path, ns=(time, time), follow_symlinks=False)
        else:
            os.setxattr(path, choose.choice([b'trusted.t', b'trusted.u']), bytes(choose.randrange(256) for _ in range(9)),
                        follow_symlinks=False)

    def drop_attribute():
        path = any_path()
        for name in os.listxattr(path, follow_symlinks=False)[:1]:
            os.removexattr(path, name, follow_symlinks=False)

    operations = [
        lambda: write(new_path(), os.O_CREAT | os.O_WRONLY | os.O_TRUNC),
        lambda: write(any_path(), os.O_WRONLY | os.O_APPEND),
        lambda: os.truncate(any_path(), choose.randrange(5000)),
        lambda: remove(any_path()),
        lambda: os.mkdir(new_path()),
        lambda: os.rename(any_path(), new_path()),
        lambda: os.rename(choose.choice(directories()[1:]), new_path()),
        lambda: os.rename(any_path(), any_path()),
        lambda: os.link(any_path(), new_path(), follow_symlinks=False),
        lambda: os.symlink(choose.choice([b'/etc', b'../..', b'a', b'']), new_path()),
        lambda: os.mkfifo(new_path()),
        lambda: os.mknod(new_path(), 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
        remake,
        replace,
        attributes,
        attributes,
        drop_attribute,
    ]
    done = 0
    for _ in range(count):
        try:
            choose.choice(operations)()
            done += 1
        except (OSError, IndexError, TypeError):
            pass
    print(done)


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
