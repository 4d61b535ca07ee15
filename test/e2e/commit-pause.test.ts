/**
 * `lamina commit` of a mounted container that is written to: what it takes is what was there at one moment. A writer keeps two files in step,
 * the one first by name and the other last, with much to read between them.
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withUring } from '../helpers/drop-in.js';
import { isLaminaBuilt, laminaOk } from '../helpers/lamina.js';
import { Scratch, unmount } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file, ociLayout } from '../helpers/stack.js';

const COMMITS = Number(process.env['LAMINA_COMMITS'] ?? 12);

/** Writes N to `a`, then to `z`, then N + 1 to `a`...; says how far it is when its input ends. */
const WRITER = `
import os, sys, threading
place, how = sys.argv[1:]
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
names = [os.path.join(place, name) for name in ('a', 'z')]
kept = [os.open(name, os.O_RDWR | os.O_CREAT) for name in names] if how == 'kept' else None
n = 0
while not done.is_set():
    n += 1
    text = b'%020d' % n
    for index, name in enumerate(names):
        if how == 'kept':
            os.pwrite(kept[index], text, 0)
        elif how == 'replaced':
            with open(name + '.new', 'wb') as out: out.write(text)
            os.rename(name + '.new', name)
        else:
            fd = os.open(name, os.O_RDWR | os.O_CREAT)
            os.pwrite(fd, text, 0)
            os.close(fd)
print(n)
`;

const capable =
  requirement('the built command (npm run build)', isLaminaBuilt('native')) &&
  needs('root', '/dev/fuse', 'command python3');

describe.skipIf(!capable)('commit of a container that is written to', () => {
  let scratch: Scratch;
  let root: string;
  let mnt: string;
  let writer: ChildProcess | undefined;

  beforeEach(() => {
    scratch = new Scratch('pause');
    root = scratch.directory('root');
    mnt = scratch.directory('mnt');
    process.env['LAMINA_RUN'] = scratch.directory('run');
    ociLayout([[dir('.'), file('a', ''), file('z', '')]], join(scratch.path, 'image'));
  });
  afterEach(async () => {
    writer?.kill('SIGKILL');
    writer = undefined;
    await unmount(mnt).catch(() => {});
    scratch.close();
  });

  async function start(how: string, options: string): Promise<void> {
    await laminaOk(
      ['mount', '--rw', '--name', 'pair', '-o', options, `oci:${scratch.path}/image`, mnt],
      root,
    );
    writeFileSync(join(mnt, 'm'), Buffer.alloc(24 << 20, 'm'));
    writer = spawn('python3', ['-c', WRITER, mnt, how], { stdio: ['pipe', 'pipe', 'inherit'] });
    while (statSync(join(mnt, 'z')).size === 0) await setTimeout(5);
  }
  async function stop(): Promise<number> {
    writer!.stdin!.end();
    const ended = once(writer!, 'exit');
    const [said] = (await once(writer!.stdout!, 'data')) as Buffer[];
    await ended;
    return Number(said);
  }
  /** What a commit took of the two files. */
  async function committed(...options: string[]): Promise<[number, number]> {
    const target = join(scratch.path, 'out');
    execFileSync('rm', ['-rf', target]);
    await laminaOk(['commit', ...options, 'pair', `oci:${target}`], root);
    const blob = (digest: string): string => join(target, 'blobs', digest.replace(':', '/'));
    const json = (path: string): { layers: { digest: string }[]; manifests: { digest: string }[] } =>
      JSON.parse(readFileSync(path, 'utf8')) as never;
    const manifest = json(blob(json(join(target, 'index.json')).manifests[0]!.digest));
    const layer = blob(manifest.layers.at(-1)!.digest);
    const read = (name: string): number => Number(execFileSync('tar', ['-xOf', layer, name]));
    return [read('a'), read('z')];
  }

  const WAYS = [
    ['N', 'kept', 'no_uring'],
    ['N', 'opened', 'no_uring'],
    ['N', 'replaced', 'no_uring'],
    ['Y', 'kept', 'no_passthrough'],
    ['Y', 'opened', 'passthrough,nosuid'],
  ] as const;
  test.each(WAYS)(
    `io_uring %s, files %s (%s): ${COMMITS} times, each of one moment`,
    async (uring, how, options) => {
      await withUring(uring, () => start(how, options));
      const found: [number, number][] = [];
      for (let left = COMMITS; left > 0; left--) found.push(await committed());
      expect(found.filter(([a, z]) => a !== z && a !== z + 1)).toEqual([]);
      // It went on between them.
      expect(new Set(found.map(([a]) => a)).size).toBe(COMMITS);
      expect(await stop()).toBeGreaterThan(found.at(-1)![0]);
    },
    30_000 + COMMITS * 4_000,
  );

  test('without --pause they are of several moments: this can fail', async () => {
    await withUring('N', () => start('kept', 'no_uring'));
    for (let left = 50; ; left--) {
      const [a, z] = await committed('--no-pause');
      if (a !== z && a !== z + 1) break;
      expect(left).toBeGreaterThan(0);
    }
  }, 120_000);

  test('who holds it and dies lets it go on, and so does a server that is killed meanwhile', async () => {
    await withUring('N', () => start('kept', 'no_uring'));
    const mounts = join(process.env['LAMINA_RUN']!, 'mounts');
    const name = readdirSync(mounts).find((one) => one.endsWith('.hold'))!;
    // Not by the mount: a page that is being written is locked until the write is over.
    const [container] = readdirSync(join(root, 'containers')).filter((one) => /^[0-9a-f]{64}$/.test(one));
    const count = (): number =>
      Number(readFileSync(join(root, 'containers', container!, 'upper/z'), 'latin1'));
    const socket = connect(join(mounts, name));
    const [said] = (await once(socket, 'data')) as Buffer[];
    expect(String(said)).toBe('held writers=0\n');
    const before = count();
    await setTimeout(300);
    expect(count()).toBe(before);
    const stats = readFileSync(join(mounts, name.replace('hold', 'stats')));
    process.kill(Number(stats.readBigUInt64LE(16)), 'SIGKILL');
    await setTimeout(500);
    expect(count()).toBe(before);
    socket.destroy();
    await setTimeout(300);
    expect(count()).toBeGreaterThan(before);
    expect(await stop()).toBeGreaterThan(before);
    await unmount(mnt);
    for (let left = 200; existsSync(join(mounts, name)) && left > 0; left--) await setTimeout(10);
    expect(readdirSync(mounts)).toEqual([]);
  }, 60_000);
});
