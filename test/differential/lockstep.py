"""Runs one script (test/helpers/script.py) on two filesystems, line by line, and says where they differ.

Usage: lockstep.py SCRATCH HELPERS SERVER   each line of standard input is a request {"lower": STACK, "lines": [LINE...], "left": KIND,
       "right": KIND, "vars": {}, "hasDirectoryTimes": BOOLEAN}; the answer is one line {"difference": TEXT or null} or {"failed": WHY}

KIND is `plain` (the layers in one directory), `kernel` (overlayfs with redirect_dir, index and metacopy) or `lamina`. Besides the calls a line may be
  remount              unmounts both and mounts them again; inode numbers must be the same
  swap                 mounts the upper of each by the other: what one wrote the other reads, and goes on writing
  {"parallel": [...]}  lists of lines, each run by a process of its own, all at once
After each of these and at the end the dumps are compared, with `now` for every time that lies after the start of the program.
"""
import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, sys.argv[2])
from dump_directory import dump_directory  # noqa: E402
from script import LINE, Process, Script, shown, word  # noqa: E402
from script_calls import STARTED_NS, die_with_parent  # noqa: E402
from unpack import Undefined, unpack  # noqa: E402

FEATURES = 'redirect_dir=on,index=on,metacopy=on'
MNT_DETACH = 2
PARALLEL_LIMIT_S = 60
TIME = re.compile(r' (\d+)\.(\d{9}) ')
DIRECTORY_TIME = re.compile(r'^(\S+ d \d{4} - \d+:\d+ -) -?\d+\.\d{9} -', re.MULTILINE)
DIRECTORY_AGE = re.compile(r'^(dir \S+ - \S+ \S+ -) \S+')
libc = ctypes.CDLL(None, use_errno=True)


class Difference(Exception):
    pass


def checked(result, doing):
    if result != 0:
        raise OSError(ctypes.get_errno(), '%s: %s' % (doing, os.strerror(ctypes.get_errno())))


class Side:
    """A filesystem: its mount, and the script that runs there."""

    def __init__(self, kind, base, lowers, request):
        self.kind, self.base, self.lowers, self.stack = kind, base, lowers, request['lower']
        self.has_directory_times = request['hasDirectoryTimes']
        variables, stack = request['vars'], self.stack
        self.mounted = False
        self.dir = os.path.join(base, 'mnt')
        for name in ('mnt', 'upper', 'work'):
            os.makedirs(os.path.join(base, name))
        shutil.copystat(lowers[0], os.path.join(base, 'upper'))
        if kind == 'plain':
            os.rmdir(self.dir)
            unpack('flat', os.fsencode(self.dir), stack)
        self.script = Script(variables)
        self.open = {}
        self.mount()

    def mount(self):
        options = 'lowerdir=%s,upperdir=%s/upper,workdir=%s/work' % (':'.join(self.lowers), self.base, self.base)
        if self.kind == 'kernel':
            self.mount_kernel(('%s,%s' % (options, FEATURES)).encode())
        elif self.kind == 'lamina':
            with open(os.path.join(self.base, 'log'), 'a+') as log:
                done = subprocess.run([sys.argv[3], '-o', options + ',dev', self.dir], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=20)
                if done.returncode != 0:
                    log.seek(0)
                    raise Difference('the server does not mount: %s' % log.read().strip())
        self.mounted = True
        self.root = os.open(self.dir, os.O_RDONLY | os.O_DIRECTORY)

    def mount_kernel(self, options):
        """The upper of an overlayfs that was just unmounted is in use for a moment longer."""
        for _ in range(500):
            if libc.mount(b'overlay', self.dir.encode(), b'overlay', 0, options) == 0:
                return
            if ctypes.get_errno() != errno.EBUSY:
                break
            time.sleep(0.01)
        checked(-1, 'mount overlay')

    def unmount(self, lazily=False):
        """`lazily`: also when something went wrong and holds it."""
        for fd in self.open.values():
            try:
                os.close(fd)
            except OSError:
                pass
        for name in self.open:
            self.script.variables.pop(name, None)
        self.open = {}
        if not self.mounted:
            return
        os.chdir('/')
        os.close(self.root)
        self.mounted = False
        if self.kind != 'plain':
            result = libc.umount2(self.dir.encode(), 0)
            if result != 0 and lazily:
                libc.umount2(self.dir.encode(), MNT_DETACH)
            else:
                checked(result, 'umount')

    def wait_for_end(self):
        """Until the server has let go of the work directory."""
        if self.kind != 'lamina':
            return
        fd = os.open(os.path.join(self.base, 'work'), os.O_RDONLY | os.O_DIRECTORY)
        end = time.monotonic() + 5
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Difference('the server holds the work directory 5 s after the unmount') from None
                    time.sleep(0.002)
        finally:
            os.close(fd)

    def run(self, line):
        """-> what the line gave, as text; None when a name in it is not known (any more)"""
        os.fchdir(self.root)
        result = run_line(self.script, line, self.open)
        if result is not None and result.startswith('dir ') and not self.has_directory_times:
            result = DIRECTORY_AGE.sub(r'\1 -', result)
        # overlayfs is not of one mind with itself about files of an upper that another wrote, without its attribute `origin`.
        return 'agree' if result is not None and result.startswith('differs:') and self.kind == 'kernel' else result

    def dump(self):
        try:
            text = dump_directory(os.fsencode(self.dir), skip_vanished=self.kind == 'kernel')
        except OSError as error:
            raise Difference('%s cannot be dumped: %s' % (self.kind, error)) from None
        os.chdir('/')
        if not self.has_directory_times:
            text = DIRECTORY_TIME.sub(r'\1 - -', text)
        return TIME.sub(lambda m: ' now ' if int(m[1]) * 10**9 > STARTED_NS else m[0], text)

    def inodes(self):
        try:
            return self.all_inodes()
        except OSError as error:
            raise Difference('%s cannot be walked: %s' % (self.kind, error)) from None

    def all_inodes(self):
        found = {}
        for top, directories, files, fd in os.fwalk(self.dir, follow_symlinks=False):
            for name in directories + files:
                found[os.path.join(top, name)[len(self.dir):]] = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino
        return found


def run_line(script, line, descriptors):
    head = LINE.match(line)
    words = head['rest'].split()
    try:
        arguments = [word(one, script.variables) for one in words[1:]]
    except KeyError:
        return None
    kind, value = script.here.call(head['user'], words[0], arguments)
    if head['name'] is not None and kind == 'ok':
        old = descriptors.pop(head['name'], None)
        if old is not None:
            os.close(old)
        script.variables[head['name']] = value[0]
        descriptors[head['name']] = int(value[0])
        return 'opened'
    if words[0] == 'close':
        descriptors.pop(words[1][1:], None)
        script.variables.pop(words[1][1:], None)
    if words[0] == 'removexattr' and words[2].startswith('system.posix_acl') and value == 'ENODATA':
        return '0'  # filesystems are not of one mind about it
    return value if kind == 'errno' else shown(value)


def in_parallel(side, lists):
    """-> for each list what its lines gave"""
    children = []
    for lines in lists:
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                die_with_parent()
                os.close(source)
                os.fchdir(side.root)
                script, descriptors = Script({}), {}
                # Descriptors stay behind: with them the processes would share offsets.
                script.variables = {name: value for name, value in side.script.variables.items() if name not in side.open}
                with open(sink, 'w') as out:
                    json.dump([run_line(script, line, descriptors) for line in lines], out)
                status = 0
            finally:
                os._exit(status)
        os.close(sink)
        children.append((child, source))
    signal.alarm(PARALLEL_LIMIT_S)
    results = []
    for child, source in children:
        with open(source) as incoming:
            text = incoming.read()
        os.waitpid(child, 0)
        results.append(json.loads(text) if text else ['(the process died)'])
    signal.alarm(0)
    return results


def first_difference(sides, left, right):
    lefts, rights = left.split('\n'), right.split('\n')
    for one, other in zip(lefts + ['(end)'], rights + ['(end)']):
        if one != other:
            return '%s: %s\n%s: %s' % (sides[0].kind, one, sides[1].kind, other)
    return 'more on one side'


# overlayfs moves the mtime of a file whose data follows its attributes (metacopy) as soon as it is opened for writing, although
# nothing is written: ovl_copy_up_meta_inode_data does not put it back. The same line with an older time is right.
FILE_MADE_NOW = re.compile(r'^(\S+ f \d{4} \d+ \d+:\d+ -) now (\d+ \S+ .*)$')


def without_moved_times(kernel, other):
    lines, others = kernel.split('\n'), other.split('\n')
    if len(lines) != len(others):
        return kernel
    for at, (line, one) in enumerate(zip(lines, others)):
        made = FILE_MADE_NOW.match(line)
        if made and re.fullmatch(re.escape(made[1]) + r' 1700000000\.0{9} ' + re.escape(made[2]), one):
            lines[at] = one
    return '\n'.join(lines)


def same_result(sides, left, right):
    if left == right:
        return True
    kernel, other = (left, right) if sides[0].kind == 'kernel' else (right, left)
    if 'kernel' not in (sides[0].kind, sides[1].kind) or None in (left, right):
        return False
    return kernel.startswith('file ') and kernel.replace(' now ', ' 1700000000000000000 ') == other


def compare_dumps(sides, when):
    left, right = (side.dump() for side in sides)
    if sides[0].kind == 'kernel' and sides[1].kind != 'kernel':
        left = without_moved_times(left, right)
    elif sides[1].kind == 'kernel' and sides[0].kind != 'kernel':
        right = without_moved_times(right, left)
    if left != right:
        raise Difference('dumps differ %s\n%s' % (when, first_difference(sides, left, right)))


def step(sides, number, line):
    if isinstance(line, dict):
        results = [in_parallel(side, line['parallel']) for side in sides]
        for at, lines in enumerate(line['parallel']):
            for text, left, right in zip(lines, results[0][at], results[1][at]):
                if not same_result(sides, left, right):
                    raise Difference('line %d, process %d: %s\n%s: %s\n%s: %s' % (number, at, text, sides[0].kind, left, sides[1].kind, right))
        compare_dumps(sides, 'after line %d' % number)
    elif line == 'remount':
        for side in sides:
            before = side.inodes()
            side.unmount()
            side.wait_for_end()
            side.mount()
            after = side.inodes()
            # overlayfs shows other numbers itself for some of its copied-up files; ours must not.
            if before != after and side.kind != 'kernel':
                name = next(name for name in list(before) + list(after) if before.get(name) != after.get(name))
                raise Difference('inode numbers differ on %s after a remount (line %d): %r was %s, is %s' % (
                    side.kind, number, name, before.get(name), after.get(name)))
        compare_dumps(sides, 'after the remount of line %d' % number)
    elif line == 'swap':
        for side in sides:
            side.unmount()
            side.wait_for_end()
        sides[0].kind, sides[1].kind = sides[1].kind, sides[0].kind
        for side in sides:
            side.mount()
        compare_dumps(sides, 'after the swap of line %d (each shows what the other wrote)' % number)
    else:
        left, right = (side.run(line) for side in sides)
        if not same_result(sides, left, right):
            raise Difference('line %d: %s\n%s: %s\n%s: %s' % (number, line, sides[0].kind, left, sides[1].kind, right))


def answer(request, base):
    os.makedirs(base)
    sides = []
    try:
        if not request['lower']:
            raise Undefined('no layers')
        lowers = [os.fsdecode(place) for place in unpack('lowers', os.fsencode(base) + b'/lower', request['lower'])]
        os.umask(0)
        for name in ('left', 'right'):
            sides.append(Side(request[name], os.path.join(base, name), lowers, request))
        for number, line in enumerate(request['lines'], 1):
            step(sides, number, line)
        compare_dumps(sides, 'at the end')
        return {'difference': None}
    except Difference as difference:
        return {'difference': str(difference)}
    except Undefined:  # what shrinking left means nothing
        return {'difference': None}
    except Exception:
        return {'failed': traceback.format_exc()}
    finally:
        os.chdir('/')
        for side in sides:
            try:
                side.unmount(lazily=True)
                side.wait_for_end()
            except (OSError, Difference):
                pass
        shutil.rmtree(base, ignore_errors=True)


for count, incoming_line in enumerate(sys.stdin):
    print(json.dumps(answer(json.loads(incoming_line), os.path.join(sys.argv[1], 's%d' % count))), flush=True)
