/**
 * The store under what happens to it: kill -9 at random moments, a full disk, a store that cannot be written to, many processes at once.
 * LAMINA_STORE_KILLS: how often a command is killed; LAMINA_SEED: the random numbers, printed when none is given.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
import { FakeRegistry, fakeImage } from '../helpers/fake-registry.js';
import { openImage } from '../../src/image/image.js';
import { ImageStore } from '../../src/store/image-store.js';
import { checkStore } from '../../src/system/check/check.js';

const KILLS = Number(process.env['LAMINA_STORE_KILLS'] ?? 100);
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
      const tree = at('tree.tar');
      writeFileSync(tree, random('imported', 1 << 20).tar);
      const commands: [string, () => string[]][] = [
        ['load', () => ['load', '-q', '-i', archives[draw(3)]!]],
        ['load', () => ['load', '-q', '-i', archives[draw(3)]!]],
        ['commit', () => ['commit', container, `committed:${draw(3)}`]],
        ['rmi', () => ['rmi', '-f', ['moving:1', 'a:1', 'committed:0', 'committed:1'][draw(4)]!]],
        ['prune', () => ['image', 'prune', '-f']],
        ['prune', () => ['image', 'prune', '-a', '-f']],
        ['prune', () => ['system', 'prune', '-f', '--filter', 'label=none']],
        ['tag', () => ['tag', 'kept:1', `other:${draw(3)}`]],
        ['import', () => ['import', tree, `imported:${draw(2)}`]],
      ];
      /** How long each takes here: what is killed dies somewhere between its start and its end. */
      const lastMs = new Map<string, number>();
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
      const killed = new Map<string, number>();
      let finished = 0;
      const sum = (): number => [...killed.values()].reduce((all, count) => all + count, 0);
      const store = new ImageStore(root);
      try {
        while (sum() < KILLS && Date.now() < end && complaints.length === 0) {
          const [kind, args] = commands[draw(commands.length)]!;
          const begun = Date.now();
          const job = start(root, args());
          const wholeMs = lastMs.get(kind) ?? 600;
          const timer = setTimeout(job.kill, wholeMs / 4 + draw(Math.ceil(wholeMs * 0.9)));
          const { exitCode } = await job.done;
          clearTimeout(timer);
          if (exitCode === 128) killed.set(kind, (killed.get(kind) ?? 0) + 1);
          else finished++;
          // One that was killed takes as long at least; one that finished shows how long.
          if (exitCode !== 128) lastMs.set(kind, Date.now() - begun);
          // As `system check` does, in this process, since a hundred of its starts take longer than all else.
          const { findings } = await checkStore(store);
          expect(findings.filter((finding) => finding.kind === 'damage')).toEqual([]);
          const names = store.snapshot().images.flatMap(({ tags }) => tags);
          expect(names).toEqual(expect.arrayContaining(['kept:1', 'kept:2']));
          const image = await openImage('kept:1', { root });
          expect(await image.readFile('/kept', 'utf8')).toBe('kept\n');
          await image.close();
        }
        await isClean(root);
      } finally {
        isOver = true;
        await Promise.all(readers);
      }
      process.stderr.write(
        `killed ${sum()} (${[...killed].map((one) => one.join(' ')).join(', ')}), finished before ${finished}\n`,
      );
      expect(complaints).toEqual([]);
      // On a machine so slow that the time is up before.
      expect(sum()).toBeGreaterThan(Math.min(KILLS, 30) - 1);
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
    const registry = await FakeRegistry.start();
    try {
      const small = scratch.tar(dockerSave25([{ image: image([layer('small')]), tags: ['small:1'] }]));
      await ok(root, 'load', '-q', '-i', small);
      await ok(root, 'create', '--name', 'holder', 'small:1');
      writeFileSync(at('six'), randomBytes(6 << 20));
      await ok(root, 'cp', '-q', at('six'), 'holder:/six');
      writeFileSync(at('huge'), random('huge', 16 << 20).tar);
      registry.add('huge:1', await fakeImage([{ huge: randomBytes(16 << 20) }]));
      const files = (): string[] =>
        readdirSync(root, { recursive: true, encoding: 'utf8' })
          // Locks, and an empty directory for what a pull would go on with.
          .filter((name) => !name.endsWith('.lock') && name !== 'partial')
          .sort();
      const before = [files(), readFileSync(join(root, 'index.json'), 'utf8')];
      const huge = random('huge', 16 << 20);
      const archives = [
        scratch.tar(
          dockerSave25([{ image: image([layer('small'), random('fits', 4 << 20), huge]), tags: ['huge:1'] }]),
        ),
        packed([{ ...random('x', 0), ...zeros(64 << 20) }], 'packed:1'),
      ];
      for (const args of [
        ...archives.map((archive) => ['load', '-i', archive]),
        ['commit', 'holder', 'committed:1'],
        ['import', at('huge'), 'imported:1'],
        ['pull', '-q', `${registry.domain}/huge:1`],
      ]) {
        const { exitCode, stdout, stderr } = await result(root, ...args);
        expect([args[0], exitCode, stdout, stderr]).toEqual([
          args[0],
          1,
          '',
          expect.stringContaining('[ENOSPC]'),
        ]);
        expect([args[0], files(), readFileSync(join(root, 'index.json'), 'utf8')]).toEqual([
          args[0],
          ...before,
        ]);
        await isClean(root);
      }
      await ok(root, 'rm', 'holder');
      const fits = scratch.tar(dockerSave25([{ image: image([random('fits', 4 << 20)]), tags: ['fits:1'] }]));
      await ok(root, 'load', '-q', '-i', fits);
      expect(await ok(root, 'fs', 'cat', 'small:1', '/small')).toBe('small\n');
      await isClean(root);
      // What is saved beside it does not fit: nothing of it is left.
      const saved = await result(root, 'save', '-o', join(disk, 'saved.tar'), 'fits:1', 'small:1');
      const again = await result(root, 'save', '-o', join(disk, 'again.tar'), 'fits:1');
      expect([saved.exitCode, again.exitCode, again.stderr]).toEqual([
        0,
        1,
        expect.stringContaining('[ENOSPC]'),
      ]);
      expect(readdirSync(disk).sort()).toEqual(['saved.tar', 'store']);
    } finally {
      await registry.close();
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
      expect(await said('images', '-a', '--digests', '-q')).toMatch(/^[0-9a-f]{12}\n$/);
      expect(await said('fs', 'ls', 'ours:1')).toBe('one\ntwo\n');
      expect(await said('fs', 'export', 'ours:1')).toContain('two');
      expect(JSON.parse(await said('analyze', '--json', 'ours:1'))).toMatchObject({ layer: [{}, {}] });
      // What is derived, and containers, only their user may see.
      if (uid === undefined) {
        expect(await said('system', 'df', '--format', '{{.TotalCount}}')).toMatch(/^1\n0\n/);
        expect(await said('info', '-f', '{{.Images}}')).toBe('1\n');
        expect(await said('image', 'prune', '--dry-run')).toBe('Total reclaimable space: 0B\n');
      }
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
