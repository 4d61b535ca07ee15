"""Runs scripts of system calls below a directory and says which lines did not give what they should.

Usage: script.py   each line of standard input is a request {"id", "dir", "text", "vars"}; the answer is one line {"id", "problems"}
                   or {"id", "failed"}. Each script runs in a process of its own, which ends with it.

A line of a script:   [PROCESS:] [@UID:GID[,GROUP...]] [NAME :=] CALL ARGUMENT... [= RESULT... | != RESULT | < RESULT | > RESULT]

Without a result the call must succeed; `= ENOENT` (or `= EEXIST|ENOTEMPTY`) says how it must fail. The calls are those of script_calls.py.
A word is taken apart in this order: `$name` is the value of a variable; `{n*255}` repeats; `%41` is a byte; `''` is nothing. `NAME :=`
keeps the result. `@1:2` makes the call as that user, with no capability. `B:` makes it in a second process, which is
started where it is first named and has what the first one had open; `B&` does so without waiting for the result,
which `B: wait` gives. `#` begins a comment.
"""
import errno
import json
import os
import re
import select
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from script_calls import CALLS, die_with_parent  # noqa: E402

TIME_LIMIT_S = 30
REPEAT = re.compile(rb'\{(.)\*(\d+)\}')
BYTE = re.compile(rb'%([0-9a-f]{2})')
ERRNO = re.compile(r'E[A-Z0-9]+(\|E[A-Z0-9]+)*$')
LINE = re.compile(r'(?:(?P<process>[A-Z])(?P<how>[:&])\s+)?(?:@(?P<user>\S+)\s+)?(?:(?P<name>\w+)\s+:=\s+)?(?P<rest>.*)$')


class Failed(Exception):
    """A call failed as calls do."""


def word(text, variables):
    if text.startswith('$'):
        return variables[text[1:]]
    if text == "''":
        return b''
    data = REPEAT.sub(lambda m: m[1] * int(m[2]), text.encode('latin-1'))
    return BYTE.sub(lambda m: bytes([int(m[1], 16)]), data)


def rendered(result):
    """What a call returned, as words."""
    if result is None:
        return [b'0']
    if isinstance(result, (list, tuple)):
        return [one for part in result for one in rendered(part)]
    if isinstance(result, bytes):
        return [result]
    return [str(result).encode()]


def shown(words):
    def escaped(data):
        text = ''.join(chr(b) if 0x21 <= b < 0x7f and b != 0x25 else '%%%02x' % b for b in data)
        return text[:200] + '...' if len(text) > 200 else text or "''"
    return ' '.join(map(escaped, words))


class Identity:
    """The effective user for the length of one call; the real one stays root, which is how it comes back."""

    def __init__(self, user):
        self.user = user

    def __enter__(self):
        if self.user is None:
            return
        uid, groups = self.user.split(':')
        groups = [int(group) for group in groups.split(',')]
        os.setgroups(groups[1:])
        os.setegid(groups[0])
        os.seteuid(int(uid))

    def __exit__(self, *_):
        if self.user is None:
            return
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


class Process:
    """Makes the calls, here or (as a `Remote`) in a child."""

    def __init__(self, variables):
        self.variables = variables

    def call(self, user, name, arguments):
        """-> ('ok', words) or ('errno', NAME)"""
        try:
            with Identity(user):
                return 'ok', rendered(CALLS[name](*arguments))
        except OSError as error:
            return 'errno', 'EOPNOTSUPP' if error.errno == errno.EOPNOTSUPP else errno.errorcode.get(error.errno, str(error.errno))


class Remote:
    def __init__(self):
        down, self.down = os.pipe()
        self.up, up = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            die_with_parent()
            os.close(self.down)
            os.close(self.up)
            self.loop(os.fdopen(down, 'rb'), os.fdopen(up, 'wb'))
            os._exit(0)
        os.close(down)
        os.close(up)
        self.pending = False
        self.up = os.fdopen(self.up, 'rb')

    @staticmethod
    def loop(incoming, outgoing):
        process = Process({})
        for line in incoming:
            user, name, arguments = json.loads(line)
            if name == 'exit':
                return
            kind, value = process.call(user, name, [one.encode('latin-1') for one in arguments])
            if kind == 'ok':
                value = [one.decode('latin-1') for one in value]
            outgoing.write(json.dumps([kind, value]).encode() + b'\n')
            outgoing.flush()

    def send(self, user, name, arguments):
        text = json.dumps([user, name, [one.decode('latin-1') for one in arguments]])
        os.write(self.down, text.encode() + b'\n')
        self.pending = True

    def receive(self):
        line = self.up.readline()
        self.pending = False
        if not line:
            return 'errno', 'EOWNERDEAD'
        kind, value = json.loads(line)
        return kind, [one.encode('latin-1') for one in value] if kind == 'ok' else value

    def call(self, user, name, arguments):
        if name == 'blocked':  # whether the call that was sent still waits
            return 'ok', [b'yes' if not select.select([self.up], [], [], 0.05)[0] else b'no']
        if name == 'wait':
            return self.receive()
        if name == 'kill':
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
            return 'ok', [b'0']
        self.send(user, name, arguments)
        return self.receive()


class Script:
    def __init__(self, variables):
        self.variables = {name: value.encode('latin-1') for name, value in variables.items()}
        self.here = Process(self.variables)
        self.others = {}
        self.problems = []

    def run(self, text):
        for line in text.splitlines():
            line = re.sub(r'(^|\s)#.*', '', line).strip()
            if line:
                self.line(line)

    def line(self, line):
        head = LINE.match(line)
        words = head['rest'].split()
        relation, expected = None, []
        for at, one in enumerate(words):
            if at > 0 and one in ('=', '!=', '<', '>'):
                relation, expected, words = one, words[at + 1:], words[:at]
                break
        arguments = [word(one, self.variables) for one in words[1:]]
        process = self.here
        if head['process'] is not None:
            process = self.others.get(head['process']) or self.others.setdefault(head['process'], Remote())
            if head['how'] == '&':
                process.send(head['user'], words[0], arguments)
                return
        kind, value = process.call(head['user'], words[0], arguments)
        if head['name'] is not None and kind == 'ok':
            self.variables[head['name']] = value[0]
        if not self.is_right(kind, value, relation, expected):
            got = value if kind == 'errno' else shown(value)
            self.problems.append('%s   # gave %s' % (line if len(line) < 300 else line[:300] + '...', got))

    def is_right(self, kind, value, relation, expected):
        if relation == '=' and len(expected) == 1 and ERRNO.match(expected[0]):
            return kind == 'errno' and value in expected[0].split('|')
        if kind == 'errno':
            return False
        if relation is None:
            return True
        right = [word(one, self.variables) for one in expected]
        if relation == '=':
            return value == right
        if relation == '!=':
            return value != right
        left, right = int(value[0]), int(right[0])
        return left < right if relation == '<' else left > right


def answer(request):
    os.setsid()
    die_with_parent()
    os.chdir(os.fsencode(request['dir']))
    os.umask(0)
    script = Script(request['vars'])
    script.run(request['text'])
    return {'id': request['id'], 'problems': script.problems}


def serve(request):
    """On a thread of the request's own: the script is run by a child."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = answer(request)
        except BaseException:
            result = {'id': request['id'], 'failed': traceback.format_exc()}
        with open(sink, 'w') as out:
            json.dump(result, out)
        os.killpg(0, signal.SIGKILL)  # with whatever it has started
    os.close(sink)
    text, end = b'', time.monotonic() + TIME_LIMIT_S
    while True:
        if not select.select([source], [], [], max(0, end - time.monotonic()))[0]:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:
                os.kill(child, signal.SIGKILL)
            text = json.dumps({'id': request['id'], 'failed': 'not done after %d s' % TIME_LIMIT_S}).encode()
            break
        some = os.read(source, 1 << 16)
        if not some:
            break
        text += some
    os.close(source)
    os.waitpid(child, 0)
    with printing:
        print(text.decode() or json.dumps({'id': request['id'], 'failed': 'the process died'}), flush=True)


printing = threading.Lock()
if __name__ == '__main__':
    for incoming_line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(incoming_line),)).start()
