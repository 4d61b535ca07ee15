"""Unpacks a stack of layers (the JSON of stack.ts, on standard input) into real directories: the oracle for merging.

Usage: unpack.py lowers ROOT   one directory a layer, ROOT/0 the lowest, in the form kernel overlayfs wants: whiteouts as 0:0
                               character devices, opaque directories by trusted.overlay.opaque=y
       unpack.py flat ROOT     all layers applied in turn to the directory ROOT, as extraction does

Rules, from image-spec layer.md: whiteouts and opaque markers concern lower layers only, wherever they stand in their layer; own
entries are applied in their order; a parent that no entry describes keeps the lower directory's attributes, and is 0755, root, the
epoch where there is none. Prints the directories to mount, uppermost first. A stack that the rules leave open is refused.
"""
import json
import os
import shutil
import stat
import sys

FORMATS = {'file': stat.S_IFREG, 'fifo': stat.S_IFIFO, 'socket': stat.S_IFSOCK, 'char': stat.S_IFCHR, 'block': stat.S_IFBLK}
DEFAULT_MODES = {'dir': 0o755, 'symlink': 0o777}
OPAQUE = 'trusted.overlay.opaque'


def split_path(path):
    names = []
    for name in path.encode('latin-1').split(b'/'):
        if name == b'..':
            names.pop()
        elif name not in (b'', b'.'):
            names.append(name)
    return tuple(names)


class Undefined(Exception):
    """The rules leave open what the stack means."""


class Attributes:
    def __init__(self, entry=None):
        entry = entry or {'kind': 'dir', 'mtime': [0, 0]}
        self.mode = entry.get('mode', DEFAULT_MODES.get(entry['kind'], 0o644))
        self.uid = entry.get('uid', 0)
        self.gid = entry.get('gid', 0)
        sec, nsec = entry.get('mtime', [1700000000, 0])
        self.mtime_ns = sec * 10**9 + nsec
        self.xattrs = [(n.encode('latin-1'), v.encode('latin-1')) for n, v in entry.get('xattrs', [])]

    def apply(self, name):
        """Owner first: chown clears setuid and file capabilities. Symlinks have no mode of their own."""
        os.chown(name, self.uid, self.gid, follow_symlinks=False)
        if not os.path.islink(name):
            os.chmod(name, self.mode)
            if os.path.isdir(name):
                for old in os.listxattr(name):
                    if not old.startswith('trusted.overlay.') and not old.startswith('security.selinux'):
                        os.removexattr(name, old)
        for attribute, value in self.xattrs:
            os.setxattr(name, attribute, value, follow_symlinks=False)
        self.apply_mtime(name)

    def apply_mtime(self, name):
        os.utime(name, ns=(self.mtime_ns, self.mtime_ns), follow_symlinks=False)


def make(entry, name):
    """Makes everything but directories and hard links."""
    kind = entry['kind']
    if kind == 'symlink':
        os.symlink(entry['target'].encode('latin-1'), name)
    elif kind == 'file':
        content = entry['content']
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        if isinstance(content, str):
            data = memoryview(content.encode('latin-1'))
            while data:
                data = data[os.write(fd, data):]
        else:
            for run in content['runs']:
                data = run['data'].encode('latin-1')
                assert os.pwrite(fd, data, run['offset']) == len(data)
            os.ftruncate(fd, content['sizeBytes'])
        os.close(fd)
    else:
        rdev = os.makedev(*entry['rdev']) if kind in ('char', 'block') else 0
        os.mknod(name, FORMATS[kind] | 0o600, rdev)
    Attributes(entry).apply(name)


def sort_entries(layer):
    """-> paths of whiteouts, paths of opaque directories, own entries in order with their paths"""
    whiteouts, opaques, own = [], [], []
    for entry in layer:
        if entry['kind'] == 'raw':
            raise Undefined('raw entries cannot be unpacked')
        path = split_path(entry['path'])
        if entry['kind'] == 'whiteout':
            whiteouts.append(path)
        elif entry['kind'] == 'opaque':
            opaques.append(path)
        else:
            own.append((path, entry))
    return whiteouts, opaques, own


class Node:
    """A name's meaning in one layer. `fresh`: an undescribed directory that takes nothing from below."""

    def __init__(self, kind, entry=None):
        self.kind = kind
        self.entry = entry
        self.children = {} if kind == 'dir' else None
        self.opaque = self.fresh = False
        self.place = None


class LowerUnpacker:
    def __init__(self, root):
        self.root = root
        self.trees = []  # upper first

    def lookup(self, path):
        """What the layers show at `path`: nodes, upper first; several where directories merge."""
        here = []
        for tree in self.trees:
            here.append(tree)
            if tree.opaque:
                break
        for name in path:
            here = self.step(here, name)
        return here

    def below(self, path):
        """What the uppermost layer, which has a directory at `path`, finds there below itself."""
        if path == ():
            return self.trees[1:]
        return self.step(self.lookup(path[:-1])[1:], path[-1])

    @staticmethod
    def step(directories, name):
        """The children `name` of merged directories."""
        found = []
        for directory in directories:
            if directory.kind != 'dir':
                break
            child = directory.children.get(name)
            if child is not None:
                if child.kind == 'hidden' or (child.kind != 'dir' and found):
                    break
                found.append(child)
                if child.kind != 'dir' or child.opaque:
                    break
            if directory.opaque:
                break
        return found

    def parent(self, tree, path):
        for name in path[:-1]:
            child = tree.children.setdefault(name, Node('dir'))
            if child.kind != 'dir':
                raise Undefined('undefined: %r lies below an entry of its own layer' % (path,))
            tree = child
        return tree

    def add(self, layer):
        whiteouts, opaques, own = sort_entries(layer)
        tree = Node('dir')
        for path, entry in own:
            self.put(tree, path, entry)
        for path in opaques:
            self.parent(tree, path + (b'.',)).opaque = True
        for path in sorted(whiteouts, key=len, reverse=True):  # what lies below a whiteout may be hidden as well
            children = self.parent(tree, path).children
            node = children.setdefault(path[-1], Node('hidden'))
            if node.kind == 'dir':
                node.opaque = True
                node.fresh = node.entry is None
        index = len(self.trees)
        self.trees.insert(0, tree)
        self.prune(tree, ())
        place = os.path.join(self.root, b'%d' % index)
        os.mkdir(place)
        os.chdir(place)
        self.fill(tree, (), place)

    def put(self, tree, path, entry):
        if path == ():
            tree.entry = entry
            return
        children = self.parent(tree, path).children
        old = children.get(path[-1])
        if entry['kind'] == 'dir':
            if old is None or old.kind != 'dir':
                children[path[-1]] = old = Node('dir')
            old.entry = entry
        elif entry['kind'] == 'hardlink':
            children[path[-1]] = self.link_target(tree, split_path(entry['target']))
        else:
            children[path[-1]] = Node(entry['kind'], entry)

    def link_target(self, tree, path):
        node = tree
        for name in path:
            node = node.children.get(name) if node is not None and node.children is not None else None
        if node is None:
            node = next(iter(self.lookup(path)), None)
        if node is None or node.kind == 'dir':
            raise Undefined('undefined: hard link to %r' % (path,))
        return node

    def prune(self, directory, path):
        """A directory that only hides something, where below it there is no directory, is no directory of the image."""
        for name, child in list(directory.children.items()):
            if child.kind != 'dir':
                continue
            self.prune(child, path + (name,))
            if child.entry is not None or any(c.kind != 'hidden' for c in child.children.values()):
                continue
            below = self.below(path + (name,))
            if child.fresh:
                directory.children[name] = Node('hidden')
            elif not below or below[0].kind != 'dir':
                del directory.children[name]

    def attributes(self, directory, path):
        if directory.entry is not None:
            return Attributes(directory.entry)
        if not directory.fresh:
            below = self.below(path)
            if below and below[0].kind == 'dir':
                return below[0].attributes
        return Attributes()

    def fill(self, directory, path, place):
        """`directory` -> the working directory, which is left as it was found."""
        directory.attributes = self.attributes(directory, path)
        here = os.open('.', os.O_RDONLY | os.O_DIRECTORY)
        for name, child in directory.children.items():
            below = os.path.join(place, name)
            if child.kind == 'hidden':
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0))
            elif child.kind == 'dir':
                os.mkdir(name)
                os.chdir(name)
                self.fill(child, path + (name,), below)
                os.fchdir(here)
            elif child.place is not None:
                os.link(child.place, name, follow_symlinks=False)
            else:
                make(child.entry, name)
                child.place = below
        os.close(here)
        if directory.opaque:
            os.setxattr('.', OPAQUE, b'y')
        directory.attributes.apply('.')

    def to_mount(self):
        """The kernel does not look at an opaque root (fs/overlayfs/super.c): leave out what lies below one."""
        places = []
        for number, tree in enumerate(self.trees):
            places.append(os.path.join(self.root, b'%d' % (len(self.trees) - 1 - number)))
            if tree.opaque:
                break
        return places


class FlatUnpacker:
    def __init__(self, root):
        self.root = root
        self.side = root + b'.links'
        self.directories = {(): Attributes()}
        os.mkdir(self.side)
        os.chdir(root)

    @staticmethod
    def at(path):
        """Relative to the root, which is the working directory: with the root before it a path may exceed PATH_MAX."""
        return b'/'.join(path) or b'.'

    def remove(self, path):
        place = self.at(path)
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
            self.directories = {p: a for p, a in self.directories.items() if p[:len(path)] != path}
        elif os.path.lexists(place):
            os.unlink(place)

    def directory(self, path, attributes=None):
        """Makes `path` a directory; `attributes` None leaves one that is there as it is."""
        if path not in self.directories:
            self.remove(path)
            os.mkdir(self.at(path))
            self.directories[path] = Attributes()
        if attributes is not None:
            self.directories[path] = attributes

    def parents(self, path):
        for length in range(1, len(path)):
            self.directory(path[:length])

    def add(self, layer):
        whiteouts, opaques, own = sort_entries(layer)
        mine = {path for path, entry in own}
        for number, (path, entry) in enumerate(own):
            if entry['kind'] == 'hardlink' and split_path(entry['target']) not in mine:
                target = split_path(entry['target'])
                os.link(self.at(target), os.path.join(self.side, b'%d' % number), follow_symlinks=False)
        for path in whiteouts:
            if path[:-1] in self.directories:
                self.remove(path)
        for path in opaques:
            if path in self.directories:
                for name in os.listdir(self.at(path)):
                    self.remove(path + (name,))
        for number, (path, entry) in enumerate(own):
            self.parents(path)
            side = os.path.join(self.side, b'%d' % number)
            if entry['kind'] == 'dir':
                self.directory(path, Attributes(entry))
            elif entry['kind'] == 'hardlink':
                source = side if os.path.lexists(side) else self.at(split_path(entry['target']))
                keep = self.side + b'.keep'
                os.link(source, keep, follow_symlinks=False)
                self.remove(path)
                os.rename(keep, self.at(path))
                if os.path.lexists(keep):  # rename of one inode onto itself does nothing
                    os.unlink(keep)
            else:
                self.remove(path)
                make(entry, self.at(path))
        for name in os.listdir(self.side):
            os.unlink(os.path.join(self.side, name))

    def finish(self):
        os.rmdir(self.side)
        for path in sorted(self.directories, key=len, reverse=True):
            self.directories[path].apply(self.at(path))


def unpack(mode, root, stack):
    """-> the directories to mount, uppermost first"""
    root = os.path.abspath(root)
    os.umask(0)
    sys.setrecursionlimit(20000)
    os.makedirs(root, exist_ok=True)
    unpacker = LowerUnpacker(root) if mode == 'lowers' else FlatUnpacker(root)
    for layer in stack:
        unpacker.add(layer)
    if mode == 'lowers':
        return unpacker.to_mount()
    unpacker.finish()
    return [root]


if __name__ == '__main__':
    print('\n'.join(os.fsdecode(place) for place in unpack(sys.argv[1], os.fsencode(sys.argv[2]), json.load(sys.stdin))))
