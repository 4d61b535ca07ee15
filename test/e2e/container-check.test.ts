/** `lamina container check` against uppers that were damaged by hand, and kernel overlayfs to tell that a repair changes nothing shown. */
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { kernelContainer } from '../helpers/container.js';
import type { KernelContainer } from '../helpers/container.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file, hardlink } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const STACK: Stack = [
  [
    dir('.'),
    dir('d'),
    file('d/one', 'one'),
    file('d/two', 'two'),
    dir('e'),
    file('e/three', 'three'),
    file('f', 'four'),
    file('linked', 'five'),
    hardlink('e/again', 'linked'),
  ],
];

const capable =
  needs('root', 'kernel overlayfs', 'command python3', 'command setfattr') &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!capable)('lamina container check', () => {
  let scratch: Scratch;
  let container: KernelContainer;
  let upper: string;
  beforeAll(() => {
    scratch = new Scratch('check');
    process.env['LAMINA_RUN'] = scratch.directory('run');
  });
  afterAll(() => scratch.close());
  beforeEach(async () => {
    container = await kernelContainer(scratch, STACK);
    ({ upper } = container);
    await container.unmount();
    return async () => {
      await container.unmount().catch(() => {});
    };
  });

  const at = (path: string): string => join(upper, path);
  const attribute = (path: string, name: string, value: string): void =>
    void execFileSync('setfattr', ['-h', '-n', `trusted.overlay.${name}`, '-v', value, at(path)]);
  const whiteout = (path: string): void => void execFileSync('mknod', [at(path), 'c', '0', '0']);
  const check = (...flags: string[]) =>
    lamina(['container', 'check', ...flags, container.name], container.root);
  const shown = async (): Promise<string> => {
    await execFileSync('mount', [
      '-t',
      'overlay',
      '-o',
      `redirect_dir=on,metacopy=on,index=off,lowerdir=${container.lower},upperdir=${upper},workdir=${join(upper, '../work')}`,
      'overlay',
      container.merged,
    ]);
    try {
      return await dumpDirectory(container.merged, { nlink: false, skipVanished: true });
    } finally {
      await container.unmount();
    }
  };

  test('finds nothing in an upper that is well', async () => {
    mkdirSync(at('d'));
    whiteout('d/one');
    mkdirSync(at('moved'));
    attribute('moved', 'redirect', '/e');
    whiteout('e');
    expect(await check()).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  test.each<[what: string, damage: () => void, path: string, message: string]>([
    [
      'a whiteout of nothing',
      () => {
        mkdirSync(at('d'));
        whiteout('d/none');
      },
      '/d/none',
      'a whiteout that hides nothing',
    ],
    [
      'a whiteout in an opaque directory',
      () => {
        mkdirSync(at('d'));
        attribute('d', 'opaque', 'y');
        whiteout('d/one');
      },
      '/d/one',
      'a whiteout that hides nothing',
    ],
    [
      'a redirect to nothing, over a directory of that name',
      () => {
        mkdirSync(at('d'));
        attribute('d', 'redirect', '/none');
      },
      '/d',
      'its redirect leads to "/none", which is no directory of the image',
    ],
    [
      'a redirect to a file',
      () => {
        mkdirSync(at('x'));
        attribute('x', 'redirect', 'f');
      },
      '/x',
      'its redirect leads to "f", which is no directory of the image',
    ],
    [
      'an unknown attribute',
      () => {
        writeFileSync(at('x'), '');
        attribute('x', 'unheard', 'of');
      },
      '/x',
      'the attribute trusted.overlay.unheard means nothing',
    ],
  ])('%s: found, and repaired without a change to what is shown', async (_, damage, path, message) => {
    damage();
    const before = await shown();
    const { exitCode, stdout, stderr } = await check();
    expect([exitCode, stdout]).toEqual([1, `${path}: ${message}\n`]);
    expect(stderr).toContain(`container "/${container.name}" has 1 problem [EUPPER]`);
    expect(await check('--repair')).toEqual({
      exitCode: 0,
      stdout: `${path}: ${message}: repaired\n`,
      stderr: '',
    });
    expect((await check()).stdout).toBe('');
    expect(await shown()).toBe(before);
  });

  test('a metacopy without its file, a redirect that is no path, leftovers', async () => {
    writeFileSync(at('lost'), '');
    attribute('lost', 'metacopy', '0x');
    mkdirSync(at('d'));
    attribute('d', 'redirect', '../x');
    const work = join(upper, '../work/work');
    rmSync(work, { recursive: true, force: true });
    mkdirSync(join(work, 'half/deep'), { recursive: true });
    const { stdout } = await check();
    expect(stdout.trim().split('\n')).toEqual([
      '/d: the attribute trusted.overlay.redirect is no path: "../x"',
      '/lost: its content was to come from the image, which has no such file',
      'work/work/half: left by a server that was killed',
    ]);
    expect((await lamina(['diff', container.name], container.root)).stderr).toContain('[EUPPER]');
    expect((await check('--repair')).exitCode).toBe(0);
    expect((await check()).stdout).toBe('');
    expect([readdirSync(work), readdirSync(upper)]).toEqual([[], ['d']]);
    expect((await lamina(['diff', container.name], container.root)).exitCode).toBe(0);
  });

  test('a file that was being given its names, and files that stand for none', async () => {
    // All its names, as a mount gives them.
    const mnt = scratch.directory('mnt');
    await laminaOk(['mount', container.name, mnt], container.root);
    chmodSync(join(mnt, 'linked'), 0o600);
    await laminaOk(['umount', mnt], container.root);
    const links = join(upper, '../work/links');
    expect([(await check()).stdout, readdirSync(links), statSync(at('linked')).nlink]).toEqual(['', [], 2]);

    const origin = execFileSync(
      'getfattr',
      ['--only-values', '-n', 'trusted.overlay.lamina.origin', at('linked')],
      { encoding: 'latin1' },
    );
    expect(origin).toMatch(/^toc:[0-9a-f]+:[0-9a-f]+$/);
    const key = origin.replace(/:[^:]*$/, '');
    linkSync(at('linked'), join(links, origin));
    rmSync(at('e/again'));
    for (const stray of ['stray', `${key}:ffffff`, `${key}:1`, 'toc:1:2', '0:5:6.7:8'])
      writeFileSync(join(links, stray), '');
    const unfinished = `work/links/${origin}: a file that has not got all its names, left by a server that was killed`;
    const none = 'a file that stands for none of the image';
    const lines = [
      unfinished,
      `work/links/${key}:1: a file that stands for one of the image with one name only`,
      `work/links/${key}:ffffff: ${none}`,
      ...['0:5:6.7:8', 'stray', 'toc:1:2'].map((name) => `work/links/${name}: ${none}`),
    ].sort();
    const found = await check();
    expect([found.exitCode, found.stdout.trim().split('\n').sort()]).toEqual([1, lines]);
    const repaired = await check('--repair');
    expect(repaired).toMatchObject({ exitCode: 0, stderr: '' });
    expect(repaired.stdout.trim().split('\n').sort()).toEqual(lines.map((line) => `${line}: repaired`));
    expect((await check()).stdout).toBe('');
    expect(readdirSync(links)).toEqual([]);
    expect(statSync(at('e/again'))).toMatchObject({ ino: statSync(at('linked')).ino, nlink: 2 });

    writeFileSync(join(links, origin), 'another');
    expect((await check('--repair')).stdout).toBe(
      `work/links/${origin}: a file that is not the one its name says: repaired\n`,
    );
    expect([readdirSync(links), statSync(at('linked')).nlink]).toEqual([[], 2]);
  });
});
