/** The native server alone: its own tests, what it tells its starter, what it makes the kernel remember, how it survives. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, needs, requirement } from '../helpers/require.js';
import { dir, file } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';
import { SERVER } from '../helpers/server-binary.js';
import { NATIVE, OPCODE, ServerBench } from './server.js';

const ENABLE_URING = '/sys/module/fuse/parameters/enable_uring';
const BIG = 4 << 20;
const BIG_CONTENT = Buffer.alloc(BIG, 'not all the same byte, and no power of two in length. ');
const STACK: Stack = [
  [
    dir('etc'),
    file('etc/name', 'below'),
    file('big', BIG_CONTENT.toString('latin1')),
    ...Array.from({ length: 60 }, (_, index) => [
      dir(`tree/${index}`),
      ...Array.from({ length: 40 }, (_unused, leaf) =>
        file(`tree/${index}/leaf-${leaf}`, `${index}.${leaf}`),
      ),
    ]).flat(),
  ],
  [file('etc/name', 'above')],
];

const hasServer = requirement('the native server (npm run build:native)', existsSync(SERVER));

describe('the native sources', () => {
  it('pass their tests under the sanitizers', { timeout: 600_000 }, () => {
    if (!needs('command make') || !requirement('command g++', hasCommand(process.env['CXX'] ?? 'g++')))
      return;
    const result = spawnSync('make', ['-C', NATIVE, '-j2', 'check'], { encoding: 'utf8' });
    expect(result.stderr).not.toMatch(/ERROR: AddressSanitizer|runtime error/);
    expect(result.status, result.stdout + result.stderr).toBe(0);
    for (const suite of ['xxh64', 'image', 'toc fuzz', 'request fuzz'])
      expect(result.stdout).toMatch(new RegExp(`^${suite}: `, 'm'));
  });
});

describe.runIf(hasServer && needs('root', '/dev/fuse'))('the server', () => {
  let bench: ServerBench;
  beforeEach(async () => {
    bench = new ServerBench();
    await bench.prepare(STACK);
  });
  afterEach(() => bench.remove());

  const supervisor = (): number => bench.child!.pid!;
  const until = async (what: string, isTrue: () => boolean): Promise<void> => {
    for (const end = Date.now() + 10_000; !isTrue();) {
      if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };

  it('says that it is ready, and removes its record at the end', async () => {
    expect(await bench.serve('ro', '--no-uring')).toMatch(
      new RegExp(`^ready pid=${supervisor()} uring=0 ms=[0-9.]+\n$`),
    );
    expect(readFileSync(join(bench.mnt, 'etc/name'), 'utf8')).toBe('above');
    expect(existsSync(bench.record)).toBe(true);
    execFileSync(SERVER, ['umount', bench.mnt]);
    expect(await bench.ended()).toBe(0);
    expect(existsSync(bench.record)).toBe(false);
  });

  it.each<[string, string, (mnt: string, base: string) => string[]]>([
    ['a writable mount without an upper', 'options errno=22', () => ['--options', 'rw']],
    ['an unknown option', 'options errno=22', () => ['--options', 'nonsense']],
    ['an option without a meaning', 'options errno=22', () => ['--nonsense', '1']],
    ['a descriptor that is not open', 'options errno=22', () => ['--toc-fd', '99']],
    [
      'a directory that is not there',
      'mount errno=2',
      (mnt) => {
        execFileSync('rmdir', [mnt]);
        return [];
      },
    ],
    [
      'a TOC with a changed byte',
      'toc errno=22',
      (_mnt, base) => {
        const bytes = readFileSync(join(base, 'toc'));
        bytes[1000]! ^= 1;
        writeFileSync(join(base, 'toc'), bytes);
        return [];
      },
    ],
    [
      'a layer that is too short',
      'source errno=22',
      (_mnt, base) => {
        truncateSync(join(base, 'layer0.tar'), 1000);
        return [];
      },
    ],
  ])('refuses %s', async (_what, step, make) => {
    const args = make(bench.mnt, bench.base);
    expect(await bench.serve('ro', ...args)).toMatch(new RegExp(`^failed step=${step} .+\n$`));
    expect(await bench.ended()).toBe(1);
    expect(bench.isMounted()).toBe(false);
  });

  it('is asked for nothing twice', async () => {
    await bench.serve('ro', '--no-uring');
    const pass = (): void => {
      for (let index = 0; index < 60; index++)
        for (let leaf = 0; leaf < 40; leaf++) {
          const path = join(bench.mnt, `tree/${index}/leaf-${leaf}`);
          expect(statSync(path).size).toBe(`${index}.${leaf}`.length);
          expect(readFileSync(path, 'utf8')).toBe(`${index}.${leaf}`);
          expect(existsSync(`${path}-absent`)).toBe(false);
        }
      expect(execFileSync('ls', ['-l', join(bench.mnt, 'etc')], { encoding: 'utf8' })).toContain('name');
    };
    pass();
    const first = bench.counters();
    expect(first.requests[OPCODE.open]).toBe(1);
    expect(first.requests[OPCODE.opendir]).toBe(1);
    pass();
    const second = bench.counters();
    const more = second.requests.map((count, opcode) => count - first.requests[opcode]!);
    for (const opcode of [OPCODE.lookup, OPCODE.getattr, OPCODE.open, OPCODE.read, OPCODE.opendir])
      expect(more[opcode], `opcode ${opcode}`).toBe(0);
  });

  it('raises the readahead of the mount', async () => {
    await bench.serve();
    const device = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((line) => line.includes(` ${bench.mnt} `))!
      .split(' ')[2]!;
    expect(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, 'utf8').trim()).toBe('1024');
  });

  it('tells statfs of the image', async () => {
    await bench.serve();
    const fs = statfsSync(bench.mnt);
    expect(fs.bfree).toBe(0);
    expect(fs.blocks * fs.bsize).toBeGreaterThan(BIG);
    // 60 directories of 40 files, /tree, /etc and its file, /big, and the root.
    expect(fs.files).toBe(60 * 41 + 5);
  });

  it('answers EIO where a layer was cut off under it', async () => {
    await bench.serve('ro', '--no-uring');
    truncateSync(join(bench.base, 'layer0.tar'), 100_000);
    expect(spawnSync('cat', [join(bench.mnt, 'big')], { encoding: 'utf8' }).stderr).toContain('Input/output');
    expect(readFileSync(bench.log, 'utf8').match(/cannot be read/g)).toHaveLength(1);
    expect(bench.counters().ioErrors).toBeGreaterThan(0);
  });

  it('is unmounted by a signal to either process', async () => {
    for (const target of ['supervisor', 'server'] as const) {
      await bench.serve();
      process.kill(target === 'server' ? bench.counters().serverPid : supervisor(), 'SIGTERM');
      expect(await bench.ended()).toBe(0);
      expect(bench.isMounted()).toBe(false);
      expect(existsSync(bench.record)).toBe(false);
    }
  });

  it('serves on when its supervisor is killed, and still removes the record', async () => {
    await bench.serve();
    const server = bench.counters().serverPid;
    process.kill(supervisor(), 'SIGKILL');
    await bench.ended();
    expect(readFileSync(join(bench.mnt, 'tree/3/leaf-4'), 'utf8')).toBe('3.4');
    process.kill(server, 'SIGTERM');
    await until('it is unmounted', () => !bench.isMounted() && !existsSync(bench.record));
  });

  it('needs no supervisor', async () => {
    await bench.serve('ro', '--no-supervisor');
    expect(bench.counters().serverPid).toBe(supervisor());
    expect(readFileSync(join(bench.mnt, 'etc/name'), 'utf8')).toBe('above');
    process.kill(supervisor(), 'SIGTERM');
    expect(await bench.ended()).toBe(0);
    expect(bench.isMounted()).toBe(false);
  });

  it('gives the mount up when servers crash one after the other', async () => {
    await bench.serve('ro', '--no-uring');
    for (let round = 0; round < 5; round++) {
      const server = bench.counters().serverPid;
      process.kill(server, 'SIGSEGV');
      if (round < 4) await until('another server runs', () => bench.counters().serverPid !== server);
    }
    expect(await bench.ended()).toBe(1);
    expect(bench.isMounted()).toBe(false);
    expect(existsSync(bench.record)).toBe(false);
  });

  describe.each([
    ['/dev/fuse', ['--no-uring']],
    ['io_uring', []],
  ])('by %s', (transport, args) => {
    const byUring = transport === 'io_uring';
    let before = 'N';
    const usable =
      !byUring || requirement('FUSE over io_uring in the kernel (Linux 6.14)', existsSync(ENABLE_URING));
    beforeAll(() => {
      if (!byUring || !usable) return;
      before = readFileSync(ENABLE_URING, 'utf8').trim();
      writeFileSync(ENABLE_URING, 'Y');
    });
    afterAll(() => {
      if (byUring && usable) writeFileSync(ENABLE_URING, before);
    });

    it.runIf(usable)('gives the bytes of the archive', async () => {
      expect(await bench.serve('ro', ...args)).toContain(byUring ? 'uring=1' : 'uring=0');
      const unpacked = join(bench.base, 'unpacked');
      mkdirSync(unpacked);
      for (const layer of [0, 1])
        execFileSync('tar', ['-xf', join(bench.base, `layer${layer}.tar`), '-C', unpacked]);
      execFileSync('diff', ['-r', unpacked, bench.mnt]);
      expect(bench.counters()).toMatchObject({ uring: byUring, ioErrors: 0 });
    });

    it.runIf(usable)('loses no request when servers are killed', { timeout: 120_000 }, async () => {
      await bench.serve('ro', ...args);
      const readers = [spawnReader(LOOKUPS), spawnReader(DIRECT_READS)];
      for (let round = 0; round < 20; round++) {
        await new Promise((resolve) => setTimeout(resolve, 100 + 7 * round));
        const { serverPid } = bench.counters();
        process.kill(serverPid, 'SIGKILL');
        // On a busy machine the next one takes its time.
        while (bench.counters().serverPid === serverPid)
          await new Promise((resolve) => setTimeout(resolve, 5));
      }
      for (const reader of readers) reader.stop();
      for (const reader of readers)
        expect(await reader.result).toMatch(/^[1-9][0-9]* requests, errors: \{\}$/);
      expect(bench.counters()).toMatchObject({ uring: byUring, restarts: 20, ioErrors: 0 });
      // The load must have been there when servers were killed, or this shows nothing.
      expect(bench.counters().takenOver).toBeGreaterThan(0);
    });
  });

  /** Every request of these programs goes to the server: names that are new each time, reads past the page cache. */
  const PROGRAM = `
import collections, mmap, os, signal, sys
mnt, errors, count, go_on = sys.argv[1], collections.Counter(), 0, True
def stop(*_):
    global go_on
    go_on = False
signal.signal(signal.SIGUSR1, stop)
print('started', flush=True)
`;
  const LOOKUPS = `
while go_on:
    try:
        os.stat(f'{mnt}/tree/{count % 60}/absent-{os.getpid()}-{count}')
    except FileNotFoundError:
        pass
    except OSError as error:
        errors[error.strerror] += 1
    count += 1
`;
  const DIRECT_READS = `
expected = open(f'{mnt}/big', 'rb').read()
fd, buffer = os.open(f'{mnt}/big', os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
while go_on:
    size, offset = (4096, 65536, 1 << 20)[count % 3], (count * 7 % 3) << 20
    try:
        if os.preadv(fd, [memoryview(buffer)[:size]], offset) != size or buffer[:size] != expected[offset:offset + size]:
            errors['wrong bytes'] += 1
    except OSError as error:
        errors[error.strerror] += 1
    count += 1
`;

  function spawnReader(loop: string): { stop(): void; result: Promise<string> } {
    const program = `${PROGRAM}${loop}print(f'{count} requests, errors: {dict(errors)}')`;
    const child = spawn('python3', ['-c', program, bench.mnt], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const result = new Promise<string>((resolve) => {
      // A reader that hangs is what this test is about: it is given up, not waited for.
      const timer = setTimeout(() => resolve('hung'), 20_000);
      child.on('exit', () => {
        clearTimeout(timer);
        resolve(text.replace('started\n', '').trim());
      });
    });
    return { stop: () => child.kill('SIGUSR1'), result };
  }
});
