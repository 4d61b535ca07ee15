"""What dive says of layers, computed from their tars by Python's tarfile and nothing of Lamina.

Usage: dive_score.py TAR...   layers, bottom to top; prints JSON: efficiency, sizeBytes, userSizeBytes, wastedBytes,
                              files: [[path, count, bytes], ...], layers: [[[path, type flag, link, bytes, mode, uid, gid],
                              ...], ...]. Paths are Latin-1 for bytes.

The definitions are dive's (dive/filetree/efficiency.go, file_tree.go; dive/image/analysis.go): a path counts in each layer in
which nothing lies below it; a hard link has no size; a whiteout has the size of the directory that it hides in the layers
stacked below, nodes that only lead to others being no directories; opaque markers mean nothing. A whiteout that hides nothing
counts 0: dive gives up on the layer there.
"""
import json
import os
import posixpath
import sys
import tarfile

WHITEOUT = b'.wh.'


def layer_of(path):
    """-> (size of all entries, {path as a tuple of names: (size, is a directory) or None for what only leads to others}, list)"""
    nodes, total, listed = {}, 0, {}
    with tarfile.open(path, encoding='utf-8', errors='surrogateescape') as tar:
        for entry in tar:
            names = [n for n in posixpath.normpath(os.fsencode(entry.name)).split(b'/') if n not in (b'', b'.')]
            if not names:
                continue
            size = entry.size if entry.isreg() else 0
            total += size
            hidden = next((i for i, n in enumerate(names) if n.startswith(WHITEOUT + WHITEOUT)), None)
            for depth in range(1, len(names) if hidden is None else hidden + 1):
                nodes.setdefault(tuple(names[:depth]), None)
            if hidden is None:
                nodes[tuple(names)] = (size, entry.isdir())
                listed[tuple(names)] = [
                    posixpath.normpath(os.fsencode(entry.name)).decode('latin-1'), ord(entry.type),
                    os.fsencode(entry.linkname).decode('latin-1'), size, entry.mode, entry.uid, entry.gid]
    return total, nodes, list(listed.values())


def bottom_up(nodes):
    """Paths, each directory after what is in it, names in byte order."""
    children = {}
    for path in nodes:
        children.setdefault(path[:-1], []).append(path)

    def visit(path):
        for child in sorted(children.get(path, ())):
            yield from visit(child)
            yield child

    yield from visit(())


def below(path, stacked):
    return [other for other in stacked if other[:len(path)] == path]


def real(path):
    last = path[-1]
    return path[:-1] + ((last[len(WHITEOUT):] if last.startswith(WHITEOUT) else last),)


def stack(stacked, nodes):
    for path in bottom_up(nodes):
        if path[-1].startswith(WHITEOUT):
            for other in below(real(path), stacked):
                del stacked[other]
        else:
            for depth in range(1, len(path)):
                stacked.setdefault(path[:depth], None)
            stacked[path] = nodes[path]


sizes, layers, seen, stacked = [], [], {}, {}
for tar_path in sys.argv[1:]:
    total, nodes, listed = layer_of(tar_path)
    layers.append(listed)
    if not sizes:
        stacked = dict(nodes)
    sizes.append(total)
    parents = {path[:-1] for path in nodes}
    for path in nodes:
        if path in parents:
            continue
        size = (nodes[path] or (0, False))[0]
        if path[-1].startswith(WHITEOUT):
            was = stacked.get(real(path))
            size = sum((stacked[p] or (0,))[0] for p in below(real(path), stacked)) if was and was[1] else 0
        seen.setdefault(real(path), []).append(size)
    stack(stacked, nodes)

cumulative = sum(sum(found) for found in seen.values())
files = [(p, len(found), sum(found)) for p, found in seen.items() if len(found) > 1]
print(json.dumps({
    'efficiency': sum(min(found) for found in seen.values()) / cumulative if cumulative else 1.0,
    'sizeBytes': sum(sizes),
    'userSizeBytes': sum(sizes[1:]),
    'wastedBytes': sum(size for _, _, size in files),
    'layers': layers,
    'files': [['/' + b'/'.join(p).decode('latin-1'), count, size] for p, count, size in files],
}))
