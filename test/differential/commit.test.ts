/**
 * Random changes made to random images through kernel overlayfs, and through our own mount, committed by the built command: the
 * upper read as a tree, the committed image, what umoci unpacks of it and, now and then, a mount of it, all against what the
 * kernel shows, by canonical dumps.
 * LAMINA_COMMIT_COUNT: how many; LAMINA_COMMIT_SEED: the first seed.
 */
import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kernelContainer, umociUnpack } from '../helpers/container.js';
import { blankNlink, dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { python } from '../helpers/python.js';
import { needs, requirement } from '../helpers/require.js';
import { raw } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';
import { unpackFlat } from '../helpers/unpack.js';
import { randomStack } from './random-stack.js';

const run = promisify(execFile);
const COUNT = Number(process.env['LAMINA_COMMIT_COUNT'] ?? 20);
const FIRST_SEED = Number(process.env['LAMINA_COMMIT_SEED'] ?? 1);
const CHANGES = 60;
const MOUNT_EVERY = 10;

const capable =
  needs('root', 'kernel overlayfs', 'command python3', 'command umoci', 'command tar') &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));
const mountable = capable && needs('/dev/fuse');

describe.skipIf(!capable)('what a container changed', () => {
  let scratch: Scratch;
  beforeAll(() => void (scratch = new Scratch('commit')));
  beforeAll(() => void (process.env['LAMINA_RUN'] = scratch.directory('run')));
  afterAll(() => scratch.close());

  const seeds = Array.from({ length: COUNT }, (_, index) => FIRST_SEED + index);
  const cases = seeds.flatMap((seed) => [
    ['the kernel', seed] as const,
    ...(mountable ? [['lamina', seed] as const] : []),
  ]);
  test.each(cases)('by %s, seed %i', async (writer, seed) => {
    const { packed, directory } = await packedStack(scratch, randomStack(seed));
    const container = await kernelContainer(scratch, packed, directory);
    const { root, base, merged, name } = container;
    try {
      const change = (): Promise<string> =>
        python('../differential/random_changes.py', [merged, String(seed), String(CHANGES)]);
      if (writer === 'the kernel') await change();
      else {
        await container.unmount();
        await laminaOk(['mount', '-o', 'dev,suid', name, merged], root);
        await change();
        const own = await dumpDirectory(merged, { nlink: false });
        await laminaOk(['umount', merged], root);
        await container.mount();
        expect(own).toBe(await dumpDirectory(merged, { nlink: false, skipVanished: true }));
      }
      const shown = await dumpDirectory(merged, { nlink: false, skipVanished: true });

      const exported = join(base, 'export.tar');
      await laminaOk(['export', '-o', exported, name], root);
      const target = join(base, 'exported');
      mkdirSync(target);
      await untar(exported, target);
      expect(await dumpDirectory(target, { nlink: false })).toBe(shown);

      const layout = join(base, 'committed');
      await laminaOk(['commit', name, `oci:${layout}:new`], root);
      const committed = await laminaOk(['fs', 'dump', `oci:${layout}:new`], root);
      expect(blankNlink(committed)).toBe(shown);
      const unpacked = await umociUnpack(layout, 'new', join(base, 'bundle'));
      expect(await dumpDirectory(unpacked)).toBe(withoutEmptyXattrs(committed));

      if (mountable && seed % MOUNT_EVERY === 0) {
        const dir = join(base, 'mounted');
        mkdirSync(dir);
        await laminaOk(['mount', `oci:${layout}:new`, dir], root);
        const mounted = await dumpDirectory(dir);
        await laminaOk(['umount', dir], root);
        expect(mounted).toBe(committed);
      }
      // Nothing is wrong with what was written.
      await container.unmount();
      expect((await lamina(['container', 'check', name], root)).stdout).toBe('');
    } finally {
      await container.unmount().catch(() => {});
      for (const place of [base, directory]) rmSync(place, { recursive: true, force: true });
    }
  });
});

/**
 * One layer with what the stack shows, packed by GNU tar: umoci cannot unpack every stack, and no layer holds the sockets that a
 * directory loses when it moves.
 */
async function packedStack(scratch: Scratch, stack: Stack): Promise<{ packed: Stack; directory: string }> {
  const directory = join(scratch.directory('flat'), 'root');
  const archive = `${directory}.tar`;
  await unpackFlat(stack, directory);
  await run('find', [directory, '-type', 's', '-delete']);
  const options = ['--format=posix', '--numeric-owner', '--xattrs', '--xattrs-include=*', '--sort=name'];
  await run('tar', [
    '-c',
    ...options,
    '--pax-option=delete=atime,delete=ctime',
    '-f',
    archive,
    '-C',
    directory,
    '.',
  ]);
  const bytes = readFileSync(archive);
  rmSync(archive);
  return { packed: [[raw(bytes)]], directory };
}

/** Go's archive/tar, and so umoci and docker, take an empty PAX value as none: they lose such attributes. */
function withoutEmptyXattrs(dump: string): string {
  return dump
    .split('\n')
    .map((line) => {
      const fields = line.split(' ');
      if (fields.length !== 10) return line;
      const kept = fields[9]!.split(',').filter((xattr) => !xattr.endsWith('='));
      return [...fields.slice(0, 9), kept.join(',') || '-'].join(' ');
    })
    .join('\n');
}

async function untar(archive: string, directory: string): Promise<void> {
  const options = [
    '-x',
    '-p',
    '--numeric-owner',
    '--xattrs',
    '--xattrs-include=*',
    '--delay-directory-restore',
  ];
  await run('tar', [...options, '-f', archive, '-C', directory]);
}
