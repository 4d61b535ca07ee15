/** The commands that prune, in docker's words (docker/cli cli/command/{image,container,system}/prune.go and its golden files). */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, dockerSave25, hexOf, image, layer, Scratch } from '../helpers/archive-builder.js';
import type { BuiltImage } from '../helpers/archive-builder.js';
import { isLaminaBuilt, LAMINA_MAIN, lamina, laminaOk } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { needs, requirement } from '../helpers/require.js';

const able = needs('root') && requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!able)('pruning', () => {
  let scratch: Scratch;
  let root: string;
  beforeEach(() => {
    scratch = new Scratch();
    root = join(scratch.path, 'store');
  });
  afterEach(() => scratch.remove());

  const run = (...args: string[]): Promise<string> => laminaOk(args, root);
  const load = async (
    texts: string[],
    tags: string[] | null,
    overrides: Record<string, unknown> = {},
  ): Promise<BuiltImage> => {
    const built = image(texts.map(layer), overrides);
    await run('load', '-q', '-i', scratch.tar(dockerSave25([{ image: built, tags }])));
    return built;
  };
  const blobs = (): string[] => readdirSync(join(root, 'blobs/sha256')).sort();
  const names = async (): Promise<string[]> =>
    (await run('images', '-a', '--format', '{{.Repository}}:{{.Tag}}')).split('\n').filter(Boolean).sort();
  const files = (): string[] =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => !/^(summaries\.json|.*lock)$/.test(name))
      .sort();

  /** Runs it with an answer, or none, on its standard input. */
  function answering(answer: string, ...args: string[]): Promise<CommandResult> {
    return new Promise((resolve) => {
      const env = { ...process.env, LAMINA_ROOT: root };
      const child = execFile(process.execPath, [LAMINA_MAIN, ...args], { env }, (_, stdout, stderr) =>
        resolve({ exitCode: child.exitCode ?? 128, stdout, stderr }),
      );
      child.stdin!.on('error', () => {});
      child.stdin!.end(answer);
    });
  }

  const DANGLING =
    'WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ';
  const UNUSED =
    'WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue? [y/N] ';

  test('image prune asks, and takes dangling images alone', async () => {
    const dangling = await load(['shared', 'one'], null);
    await load(['shared', 'two'], ['kept:1']);
    const before = blobs();
    for (const answer of ['', '\n', 'n\n', 'yes\n']) {
      const { exitCode, stdout, stderr } = await answering(answer, 'image', 'prune');
      expect([exitCode, stdout]).toEqual([1, DANGLING]);
      expect(stderr).toContain('image prune has been cancelled [ECANCELLED]');
    }
    expect(blobs()).toEqual(before);
    const { exitCode, stdout } = await answering('Y\n', 'image', 'prune');
    const [shared, one] = [layer('shared').diffId, layer('one').diffId];
    expect(stdout).toMatch(
      new RegExp(
        `^${DANGLING.replace(/[?[\]/]/g, '\\$&')}Deleted Images:\ndeleted: ${dangling.imageId}\ndeleted: ${digestOf(Buffer.from(`${shared} ${one}`))}\n\nTotal reclaimed space: [\\d.]+kB\n$`,
      ),
    );
    expect([exitCode, await names()]).toEqual([0, ['kept:1']]);
    expect(await run('image', 'prune', '-f')).toBe('Total reclaimed space: 0B\n');
    expect((await answering('y', 'image', 'prune', '-a')).stdout).toMatch(
      new RegExp(`^${UNUSED.replace(/[?[\]/]/g, '\\$&')}Deleted Images:\nuntagged: kept:1\n`),
    );
    expect([blobs(), await names()]).toEqual([[], []]);
  });

  test('image prune -a leaves what a container uses, with all its names', async () => {
    await load(['one'], ['used:1', 'used:2']);
    await load(['two'], ['free:1', 'free:2']);
    await run('create', '--name', 'holder', 'used:1');
    const dry = await run('image', 'prune', '-a', '--dry-run');
    expect(dry).toMatch(/^Would delete Images:\nuntagged: free:1\nuntagged: free:2\ndeleted: /);
    expect(await names()).toEqual(['free:1', 'free:2', 'used:1', 'used:2']);
    const real = await run('image', 'prune', '-a', '-f');
    expect(dry).toBe(real.replace('Deleted ', 'Would delete ').replace('reclaimed', 'reclaimable'));
    expect(await names()).toEqual(['used:1', 'used:2']);
    expect(await run('fs', 'cat', 'used:1', '/one')).toBe('one\n');
  });

  test('image prune goes by label and time', async () => {
    const labels = (text: string): Record<string, unknown> => ({ config: { Labels: { stage: text } } });
    await load(['a'], ['a:1'], { ...labels('build'), created: '2020-01-01T00:00:00Z' });
    await load(['b'], ['b:1'], { ...labels('run'), created: '2020-01-02T00:00:00Z' });
    await load(['c'], ['c:1'], { created: '2020-01-03T00:00:00Z' });
    const left = async (...filters: string[]): Promise<string[]> => {
      const text = await run('image', 'prune', '-a', '--dry-run', ...filters.flatMap((f) => ['--filter', f]));
      return [...text.matchAll(/^untagged: (\w)/gm)].map(([, name]) => name!).sort();
    };
    expect(await left()).toEqual(['a', 'b', 'c']);
    expect(await left('label=stage')).toEqual(['a', 'b']);
    expect(await left('label=stage=build')).toEqual(['a']);
    expect(await left('label!=stage=build')).toEqual(['b', 'c']);
    // docker: what was made at that very moment goes too.
    expect(await left('until=2020-01-02T00:00:00Z')).toEqual(['a', 'b']);
    expect(await left('until=2020-01-02T00:00:00Z', 'label=stage=run')).toEqual(['b']);
    expect(await left('until=24h')).toEqual(['a', 'b', 'c']);
    const wrong = await lamina(['image', 'prune', '-f', '--filter', 'colour=red'], root);
    expect([wrong.exitCode, wrong.stderr]).toEqual([1, expect.stringContaining("invalid filter 'colour'")]);
    expect(wrong.stderr).toContain('[EFILTER]');
    expect(await names()).toEqual(['a:1', 'b:1', 'c:1']);
  });

  test('blobs that a killed process left go, and are shown before', async () => {
    await load(['one'], ['kept:1']);
    const orphan = Buffer.alloc(1500, 'orphan');
    writeFileSync(join(root, 'blobs/sha256', hexOf(digestOf(orphan))), orphan);
    const said = `Blobs:\n${digestOf(orphan)}\n\nTotal`;
    expect(await run('image', 'prune', '--dry-run')).toBe(`Would delete ${said} reclaimable space: 1.5kB\n`);
    expect(await run('image', 'prune', '-f')).toBe(`Deleted ${said} reclaimed space: 1.5kB\n`);
    expect(await run('fs', 'cat', 'kept:1', '/one')).toBe('one\n');
  });

  test('container prune asks, leaves what is mounted, and goes by time', async () => {
    await load(['one'], ['base:1']);
    const ids = [await run('create', 'base:1'), await run('create', 'base:1')].map((id) => id.trim());
    const dir = join(scratch.path, 'mnt');
    mkdirSync(dir);
    await run('mount', ids[0]!, dir);
    try {
      const asked = await answering('', 'container', 'prune');
      expect([asked.exitCode, asked.stdout]).toEqual([
        1,
        'WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ',
      ]);
      expect(asked.stderr).toContain('container prune has been cancelled');
      expect(await run('container', 'prune', '-f', '--filter', 'until=1h')).toBe(
        'Total reclaimed space: 0B\n',
      );
      expect(await run('container', 'prune', '--dry-run')).toBe(
        `Would delete Containers:\n${ids[1]}\n\nTotal reclaimable space: 0B\n`,
      );
      expect(await run('container', 'prune', '-f')).toBe(
        `Deleted Containers:\n${ids[1]}\n\nTotal reclaimed space: 0B\n`,
      );
      expect((await run('ps', '-aq', '--no-trunc')).trim()).toBe(ids[0]);
    } finally {
      await run('umount', dir);
    }
  });

  test('rm takes the blobs of an image that was removed by force before', async () => {
    await load(['one'], ['base:1']);
    await load(['other'], ['other:1']);
    const kept = blobs().length / 2;
    await run('create', '--name', 'holder', 'base:1');
    await run('rmi', '-f', 'base:1');
    expect(blobs()).toHaveLength(2 * kept);
    await run('export', '-o', join(scratch.path, 'x.tar'), 'holder');
    await run('rm', 'holder');
    expect(blobs()).toHaveLength(kept);
    expect(await run('fs', 'cat', 'other:1', '/other')).toBe('other\n');
  });

  test('system prune shows what goes, and then exactly that goes', async () => {
    const built = await load(['one'], ['used:1']);
    await load(['two'], ['free:1']);
    await load(['three'], null);
    const archive = scratch.tar(dockerSave25([{ image: image([layer('outside')]), tags: ['outside:1'] }]));
    await run('fs', 'ls', archive);
    await run('fs', 'ls', 'used:1');
    const chains = readdirSync(join(root, 'chains'));
    expect(chains).toHaveLength(2);
    const id = (await run('create', 'used:1')).trim();
    const before = files();
    const dry = await run('system', 'prune', '--dry-run');
    expect(files()).toEqual(before);
    expect(dry).toContain(`Would delete Containers:\n${id}\n`);
    expect(dry).toMatch(/^chains\/[0-9a-f]{64}$/m);
    const asked = await answering('', 'system', 'prune', '--filter', 'until=1h');
    expect(asked.stdout).toBe(
      'WARNING! This will remove:\n  - all stopped containers\n  - all dangling images\n  - derived data that no image and no container needs\n\n  Items to be pruned will be filtered with:\n  - until=1h\n\nAre you sure you want to continue? [y/N] ',
    );
    expect(asked.stderr).toContain('system prune has been cancelled');
    const real = await run('system', 'prune', '-f');
    expect(dry).toBe(real.replaceAll(/^Deleted /gm, 'Would delete ').replace('reclaimed', 'reclaimable'));
    expect(await names()).toEqual(['free:1', 'used:1']);
    expect(readdirSync(join(root, 'chains'))).toHaveLength(1);
    expect(await run('system', 'prune', '--dry-run')).toBe('Total reclaimable space: 0B\n');
    // With -a an image goes whose only container goes.
    const again = (await run('create', 'used:1')).trim();
    const dryAll = await run('system', 'prune', '-a', '--dry-run');
    const all = await run('system', 'prune', '-a', '-f');
    expect(dryAll).toBe(all.replaceAll(/^Deleted /gm, 'Would delete ').replace('reclaimed', 'reclaimable'));
    expect(all).toContain(`Deleted Containers:\n${again}\n\nDeleted Images:\n`);
    expect(all).toContain(`untagged: used:1\ndeleted: ${built.imageId}\n`);
    for (const directory of ['blobs/sha256', 'layers', 'chains', 'tmp'])
      expect([directory, readdirSync(join(root, directory))]).toEqual([directory, []]);
  });

  test('an archive outside is still read when what was derived from it has gone', async () => {
    const archive = scratch.tar(dockerSave25([{ image: image([layer('outside')]), tags: ['outside:1'] }]));
    const dir = join(scratch.path, 'mnt');
    mkdirSync(dir);
    await run('mount', archive, dir);
    try {
      await run('system', 'prune', '-a', '-f');
      expect(readdirSync(join(root, 'chains'))).toEqual([]);
      expect(readFileSync(join(dir, 'outside'), 'utf8')).toBe('outside\n');
      expect(await run('fs', 'cat', archive, '/outside')).toBe('outside\n');
    } finally {
      await run('umount', dir);
    }
  });

  test('a mount holds the image of its own store, and no other', async () => {
    const built = await load(['one'], ['one:1', 'one:2']);
    const archive = scratch.tar(dockerSave25([{ image: built, tags: ['one:1'] }]));
    const other = join(scratch.path, 'other');
    await laminaOk(['load', '-q', '-i', archive], other);
    const dirs = ['archive', 'other', 'own'].map((name) => join(scratch.path, name, 'mnt'));
    for (const dir of dirs) mkdirSync(dir, { recursive: true });
    const [byArchive, byOther, byOwn] = dirs as [string, string, string];
    await run('mount', archive, byArchive);
    await laminaOk(['mount', 'one:1', byOther], other);
    try {
      // The same image, as a container's tools would say; yet nothing of this store is in use.
      expect(await run('image', 'prune', '-a', '--dry-run')).toContain(`deleted: ${built.imageId}\n`);
      // By another path to the store.
      const link = join(scratch.path, 'link');
      symlinkSync(root, link);
      await laminaOk(['mount', 'one:1', byOwn], link);
      expect(await run('image', 'prune', '-a', '--dry-run')).toBe('Total reclaimable space: 0B\n');
      expect(await run('rmi', 'one:2')).toBe('Untagged: one:2\n');
      const refused = await lamina(['rmi', 'one:1'], root);
      expect([refused.exitCode, refused.stderr]).toEqual([
        1,
        expect.stringContaining(
          `conflict: unable to remove repository reference "one:1" (must force) - mount ${byOwn} is using its referenced image`,
        ),
      ]);
      await run('umount', byOwn);
      expect(await run('rmi', 'one:1')).toMatch(/^Untagged: one:1\nDeleted: /);
      for (const dir of [byArchive, byOther]) expect(readFileSync(join(dir, 'one'), 'utf8')).toBe('one\n');
    } finally {
      for (const dir of dirs) await lamina(['umount', dir], root);
    }
  });

  test('nothing is removed while nobody knows what a container needs', async () => {
    await load(['one'], null);
    const id = (await run('create', (await run('images', '-aq')).trim())).trim();
    const record = join(root, 'containers', id, 'container.json');
    rmSync(record);
    writeFileSync(record, '{');
    await load(['two'], null);
    const before = blobs();
    const { exitCode, stderr } = await lamina(['system', 'prune', '-a', '-f'], root);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('no blob is removed')]);
    expect(blobs()).toEqual(before);
    expect(existsSync(record)).toBe(true);
  });
});
