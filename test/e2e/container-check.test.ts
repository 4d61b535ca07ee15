/** `lamina container check` against uppers that were damaged by hand, and kernel overlayfs to tell that a repair changes nothing shown. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { kernelContainer } from '../helpers/container.js';
import type { KernelContainer } from '../helpers/container.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, lamina } from '../helpers/lamina.js';
import { Scratch } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file } from '../helpers/stack.js';
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

  test('finds files that were kept for names of another image, and takes them away', async () => {
    const links = join(upper, '../work/links');
    mkdirSync(links, { recursive: true });
    writeFileSync(join(links, 'toc:dead:2'), 'x');
    writeFileSync(join(links, '0:12:3.4:5'), 'x');
    const found = await check();
    expect(found.exitCode).toBe(1);
    for (const name of ['toc:dead:2', '0:12:3.4:5'])
      expect(found.stdout + found.stderr).toContain(`work/links/${name}`);
    await check('--repair');
    expect(readdirSync(links)).toEqual([]);
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
});
