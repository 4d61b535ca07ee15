/**
 * The store under what happens to it: kill -9 at random moments, a full disk, a store that cannot be written to, many processes at once.
 * LAMINA_STORE_KILLS: how often a command is killed; LAMINA_SEED: the random numbers, printed when none is given.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  annotated,
  digestOf,
  dockerSave25,
  image,
  layer,
  LayoutBuilder,
  OCI,
  Scratch,
  tarOf,
} from '../helpers/archive-builder.js';
import type { BuiltLayer } from '../helpers/archive-builder.js';
import { isLaminaBuilt, LAMINA_MAIN } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const KILLS = Number(process.env['LAMINA_STORE_KILLS'] ?? 40);
const SEED = Number(process.env['LAMINA_SEED'] ?? Date.now() % 1e6);
/** Of the killing, whatever KILLS says, unless it is given. */
const LIMIT_MS = process.env['LAMINA_STORE_KILLS'] === undefined ? 50_000 : 3_600_000;

const able = needs('root') && requirement('the built command (npm run build)', isLaminaBuilt('native'));
const mounts = able && needs('/dev/fuse');

describe.skipIf(!able)('a store', () => {
  let scratch: Scratch;
  let run: string;
  beforeEach(() => {
    scratch = new Scratch();
    run = mkdtempSync(join(tmpdir(), 'lamina-run-'));
  });
  afterEach(() => {
    scratch.remove();
    rmSync(run, { recursive: true, force: true });
  });
  const at = (...path: string[]): string => join(scratch.path, ...path);

  interface Job {
    done: Promise<CommandResult>;
    kill(): void;
  }

  /** In a process group of its own, so that its helpers die with it. */
  function start(root: string, args: readonly string[], uid?: number): Job {
    const env = { ...process.env, LAMINA_ROOT: root, LAMINA_RUN: uid === undefined ? run : at('run') };
    const who = uid === undefined ? {} : { uid, gid: uid };
    const child = spawn(process.execPath, [LAMINA_MAIN, ...args], {
      ...{ env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
      ...who,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout!.on('data', (data: Buffer) => (stdout += data.toString('latin1')));
    child.stderr!.on('data', (data: Buffer) => (stderr += data.toString()));
    const done = new Promise<CommandResult>((resolve) =>
      child.once('close', (code) => resolve({ exitCode: code ?? 128, stdout, stderr })),
    );
    return {
      done,
      kill: () => {
        try {
          process.kill(-child.pid!, 'SIGKILL');
        } catch {
          // It has ended.
        }
      },
    };
  }
  const result = (root: string, ...args: string[]): Promise<CommandResult> => start(root, args).done;
  async function ok(root: string, ...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await result(root, ...args);
    if (exitCode !== 0) throw new Error(`lamina ${args.join(' ')}: ${exitCode}: ${stderr}`);
    return stdout;
  }
  const isClean = async (root: string): Promise<void> => {
    const { exitCode, stdout } = await result(root, 'system', 'check');
    expect([exitCode, stdout.match(/^damaged.*$/gm)]).toEqual([0, null]);
  };

  const random = (name: string, bytes: number): BuiltLayer => {
    const tar = tarOf([{ path: name, bytes: randomBytes(bytes) }]);
    return { tar, diffId: digestOf(tar) };
  };
  /** An OCI archive whose layers are compressed: the longest way in. */
  const packed = (layers: readonly BuiltLayer[], tag: string): string => {
    const layout = new LayoutBuilder();
    const how = { pack: gzipSync, layerType: `${OCI}.layer.v1.tar+gzip`, extra: annotated(tag) };
    layout.manifests.push(layout.addImage(image(layers), how));
    return scratch.tar(layout.members());
  };

  test(
    `${KILLS} times killed while others read: it is clean, and no image is lost (seed ${SEED})`,
    {
      timeout: LIMIT_MS + 120_000,
    },
    async () => {
      process.stderr.write(`LAMINA_SEED=${SEED}\n`);
      // Numerical Recipes' generator: any will do that can be started again.
      let state = SEED;
      const draw = (below: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const root = at('store');
      const shared = random('shared', 1 << 20);
      const kept = image([layer('kept'), shared]);
      await ok(
        root,
        'load',
        '-q',
        '-i',
        scratch.tar(dockerSave25([{ image: kept, tags: ['kept:1', 'kept:2'] }])),
      );
      const container = (await ok(root, 'create', 'kept:1')).trim();
      const archives = [
        scratch.tar(
          dockerSave25([{ image: image([shared, random('a', 3 << 20)]), tags: ['moving:1', 'a:1'] }]),
        ),
        scratch.tar(dockerSave25([{ image: image([shared, random('b', 3 << 20)]), tags: ['moving:1'] }])),
        packed([shared, random('c', 2 << 20)], 'moving:1'),
      ];
      const commands: (() => string[])[] = [
        () => ['load', '-q', '-i', archives[draw(3)]!],
        () => ['load', '-q', '-i', archives[draw(3)]!],
        () => ['commit', container, `committed:${draw(3)}`],
        () => ['rmi', '-f', ['moving:1', 'a:1', 'committed:0', 'committed:1'][draw(4)]!],
        () => ['image', 'prune', '-f'],
        () => ['image', 'prune', '-a', '-f'],
        () => ['tag', 'kept:1', `other:${draw(3)}`],
      ];
      const complaints: string[] = [];
      let isOver = false;
      const reader = async (...args: string[]): Promise<void> => {
        while (!isOver) {
          const { exitCode, stderr } = await result(root, ...args);
          if (exitCode !== 0) complaints.push(`${args.join(' ')}: ${stderr}`);
        }
      };
      const readers = [reader('images', '-a'), reader('save', '-o', at('saved.tar'), 'kept:2')];
      const end = Date.now() + LIMIT_MS;
      let [killed, finished] = [0, 0];
      try {
        while (killed < KILLS && Date.now() < end && complaints.length === 0) {
          const job = start(root, commands[draw(commands.length)]!());
          const timer = setTimeout(job.kill, 60 + draw(500));
          const { exitCode } = await job.done;
          clearTimeout(timer);
          if (exitCode === 128) killed++;
          else finished++;
          await isClean(root);
          expect((await ok(root, 'images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n')).toEqual(
            expect.arrayContaining(['kept:1', 'kept:2']),
          );
          expect(await ok(root, 'fs', 'cat', 'kept:1', '/kept')).toBe('kept\n');
        }
      } finally {
        isOver = true;
        await Promise.all(readers);
      }
      process.stderr.write(`killed ${killed}, finished before ${finished}\n`);
      expect(complaints).toEqual([]);
      expect(killed).toBeGreaterThan(5);
      // All that was left over goes, and then what is left is what one image takes.
      await ok(root, 'system', 'check', '--repair');
      await ok(root, 'rm', container);
      for (const tag of (await ok(root, 'images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n'))
        if (tag !== '' && !tag.startsWith('kept')) await ok(root, 'rmi', '-f', tag);
      await ok(root, 'system', 'prune', '-f');
      const clean = await ok(root, 'system', 'check');
      expect(clean).toMatch(/^Checked 1 images, 4 blobs, 2 layers, .*: all is well\n$/);
      expect(readdirSync(join(root, 'tmp'))).toEqual([]);
    },
  );

  test('on a disk that is full in the middle: a clear error, and all as before', async () => {
    const disk = at('disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'small', disk]);
    const root = join(disk, 'store');
    try {
      const small = scratch.tar(dockerSave25([{ image: image([layer('small')]), tags: ['small:1'] }]));
      await ok(root, 'load', '-q', '-i', small);
      const files = (): string[] =>
        readdirSync(root, { recursive: true, encoding: 'utf8' })
          .filter((name) => !name.endsWith('.lock'))
          .sort();
      const before = [files(), readFileSync(join(root, 'index.json'), 'utf8')];
      const huge = random('huge', 16 << 20);
      for (const archive of [
        scratch.tar(
          dockerSave25([{ image: image([layer('small'), random('fits', 4 << 20), huge]), tags: ['huge:1'] }]),
        ),
        packed([{ ...random('x', 0), ...zeros(64 << 20) }], 'packed:1'),
      ]) {
        const { exitCode, stdout, stderr } = await result(root, 'load', '-i', archive);
        expect([exitCode, stdout, stderr]).toEqual([1, '', expect.stringContaining('[ENOSPC]')]);
        expect([files(), readFileSync(join(root, 'index.json'), 'utf8')]).toEqual(before);
        await isClean(root);
      }
      const fits = scratch.tar(dockerSave25([{ image: image([random('fits', 4 << 20)]), tags: ['fits:1'] }]));
      await ok(root, 'load', '-q', '-i', fits);
      expect(await ok(root, 'fs', 'cat', 'small:1', '/small')).toBe('small\n');
      await isClean(root);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  const zeros = (bytes: number): BuiltLayer => {
    const tar = tarOf([{ path: 'zeros', bytes: Buffer.alloc(bytes) }]);
    return { tar, diffId: digestOf(tar) };
  };

  test.each(['a read-only mount', 'the store of another user'])('reads from %s', async (kind) => {
    const root = at('store');
    const uid = kind === 'a read-only mount' ? undefined : 65_534;
    await ok(root, 'load', '-q', '-i', packed([layer('one'), layer('two')], 'ours:1'));
    if (uid !== undefined)
      for (const directory of [scratch.path, root, at('store/blobs'), at('store/blobs/sha256')])
        chmodSync(directory, 0o755);
    // What was derived is made anew: elsewhere.
    rmSync(join(root, 'layers'), { recursive: true });
    const before = readdirSync(root, { recursive: true }).sort();
    const here = uid === undefined ? at('ro') : root;
    mkdirSync(here, { recursive: true });
    for (const directory of ['tmp', 'run', 'mnt']) mkdirSync(at(directory), { mode: 0o700 });
    if (uid !== undefined) execFileSync('chown', ['-R', `${uid}:${uid}`, at('tmp'), at('run'), at('mnt')]);
    if (uid === undefined) {
      execFileSync('mount', ['--bind', root, here]);
      execFileSync('mount', ['-o', 'remount,ro,bind', here]);
    }
    const temporary = process.env['TMPDIR'];
    process.env['TMPDIR'] = at('tmp');
    const said = async (...args: string[]): Promise<string> => {
      const { exitCode, stdout, stderr } = await start(here, args, uid).done;
      expect([args[0], exitCode, stderr]).toEqual([args[0], 0, '']);
      return stdout;
    };
    try {
      expect(await said('images', '--format', '{{.Repository}}:{{.Tag}}')).toBe('ours:1\n');
      expect(JSON.parse(await said('inspect', 'ours:1'))).toMatchObject([{ RepoTags: ['ours:1'] }]);
      expect((await said('history', '-q', 'ours:1')).split('\n')).toHaveLength(3);
      expect(await said('fs', 'cat', 'ours:1', '/two')).toBe('two\n');
      expect((await said('save', 'ours:1')).length).toBeGreaterThan(1000);
      await said('system', 'check');
      if (mounts && uid === undefined) {
        await said('mount', 'ours:1', at('mnt'));
        try {
          expect(readFileSync(at('mnt/one'), 'utf8')).toBe('one\n');
        } finally {
          await said('umount', at('mnt'));
        }
      }
      const { exitCode, stderr } = await start(here, ['tag', 'ours:1', 'other:1'], uid).done;
      expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/\[(EROFS|EACCES)\]/)]);
      expect(readdirSync(root, { recursive: true }).sort()).toEqual(before);
      expect(readdirSync(at('tmp'))).toEqual([`lamina-cache-${uid ?? 0}`]);
    } finally {
      if (temporary === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = temporary;
      if (uid === undefined) execFileSync('umount', [here]);
    }
  });

  test('20 processes at once: nothing fails but what truly conflicts', { timeout: 180_000 }, async () => {
    const root = at('store');
    const shared = random('shared', 1 << 20);
    const common = scratch.tar(
      dockerSave25([{ image: image([shared, layer('common')]), tags: ['common:1'] }]),
    );
    const complaints: string[] = [];
    const worker = async (id: number): Promise<void> => {
      const own = image([shared, layer(`own${id}`)]);
      const archive =
        id % 2 === 0
          ? scratch.tar(dockerSave25([{ image: own, tags: [`own:${id}`] }]))
          : packed(own.layers, `own:${id}`);
      const expectOk = async (...args: string[]): Promise<string> => {
        const { exitCode, stdout, stderr } = await result(root, ...args);
        if (exitCode !== 0) complaints.push(`${args.join(' ')}: ${stderr}`);
        return stdout;
      };
      /** Others remove and use it at the same moment. */
      const maybe = async (...args: string[]): Promise<void> => {
        const { exitCode, stderr } = await result(root, ...args);
        if (exitCode !== 0 && !/\[(ENOIMAGE|ECONFLICT)\]/.test(stderr))
          complaints.push(`${args.join(' ')}: ${stderr}`);
      };
      await expectOk('load', '-q', '-i', archive);
      await expectOk('load', '-q', '-i', common);
      await expectOk('tag', `own:${id}`, `tagged:${id}`);
      await expectOk('rmi', `own:${id}`);
      if ((await expectOk('fs', 'cat', `tagged:${id}`, `/own${id}`)) !== `own${id}\n`)
        complaints.push(`tagged:${id} has another content`);
      await maybe('fs', 'cat', 'common:1', '/common');
      await expectOk('save', '-o', at(`${id}.out`), `tagged:${id}`);
      if (mounts) {
        mkdirSync(at(`mnt${id}`));
        await expectOk('mount', `tagged:${id}`, at(`mnt${id}`));
        if (readFileSync(at(`mnt${id}`, `own${id}`), 'utf8') !== `own${id}\n`)
          complaints.push(`the mount of ${id} has another content`);
        await expectOk('umount', at(`mnt${id}`));
      }
      await maybe('rmi', 'common:1');
      if (id % 4 === 0) await expectOk('system', 'prune', '-f');
      if (id % 3 === 0) await expectOk('rmi', `tagged:${id}`);
    };
    await Promise.all(Array.from({ length: 20 }, (_, id) => worker(id)));
    expect(complaints).toEqual([]);
    const left = (await ok(root, 'images', '--format', '{{.Repository}}:{{.Tag}}')).trim().split('\n');
    const expected = Array.from({ length: 20 }, (_, id) => id).filter((id) => id % 3 !== 0);
    expect(left.filter((name) => name !== 'common:1').sort()).toEqual(
      expected.map((id) => `tagged:${id}`).sort(),
    );
    expect(await ok(root, 'system', 'check')).toContain(': all is well\n');
    expect(readdirSync(join(root, 'tmp'))).toEqual([]);
  });
});
