/**
 * `lamina mount -o lowerdir=..[,upperdir=..,workdir=..] IMAGE DIR`: directories above an image, held against kernel overlayfs over
 * the same directories and the image unpacked.
 */
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { mountKernel, unmountBelow } from '../helpers/drop-in.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import { mountOverlay, Scratch, unmount } from '../helpers/overlay.js';
import { needs, requirement } from '../helpers/require.js';
import { runScript } from '../helpers/script.js';
import { dir, dockerArchive, file, opaque, symlink, whiteout } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';
import { unpackLowers } from '../helpers/unpack.js';

/** The lower two are the image, the upper two the directories. */
const STACK: Stack = [
  [
    dir('.'),
    dir('etc', { mode: 0o750 }),
    file('etc/kept', 'image', { uid: 7, gid: 8 }),
    file('etc/hidden', 'image'),
    dir('whole'),
    file('whole/old', 'image'),
    dir('gone'),
    file('gone/x', 'image'),
    file('kind', 'a file below'),
  ],
  [dir('etc'), file('etc/both', 'image, second'), dir('deep'), dir('deep/er'), file('deep/er/one', '1')],
  [
    dir('.', { mode: 0o711 }),
    dir('etc', { mode: 0o700 }),
    file('etc/both', 'lower directory', { xattrs: [['user.k', 'v']] }),
    whiteout('etc/hidden'),
    dir('whole'),
    opaque('whole'),
    file('whole/new', 'lower directory'),
    dir('kind'),
    file('kind/inside', 'a directory above'),
  ],
  [
    dir('.'),
    whiteout('gone'),
    dir('etc'),
    file('etc/both', 'top'),
    dir('deep'),
    symlink('deep/link', 'er/one'),
  ],
];

const CHANGES = `
  put etc/kept changed
  chmod etc/both 600
  unlink etc/both
  rename deep moved
  put moved/er/one 2
  rename moved/er moved/there
  remove_tree whole
  mkdir whole
  put whole/again x
  put gone back
  rename kind/inside kind/outside
  link kind/outside linked
  setxattr kind user.k v
`;
const MORE = `
  cat etc/kept = changed
  put etc/kept again
  ls moved = link there
  cat moved/there/one = 2
  rename moved deep
  unlink gone
  put kind/outside more
  cat linked = more
`;

const capable =
  needs('root', '/dev/fuse', 'kernel overlayfs', 'command python3') &&
  requirement('the built command (npm run build)', isLaminaBuilt('native'));

describe.skipIf(!capable)('directories above an image', () => {
  let scratch: Scratch;
  let root: string;
  let archive: string;
  /** Uppermost first; the last two are the image. */
  let lowers: string[];
  let mnt: string;
  let merged: string;
  beforeAll(async () => {
    scratch = new Scratch('directories');
    process.env['LAMINA_RUN'] = scratch.directory('run');
    root = scratch.directory('root');
    archive = join(scratch.path, 'image.tar');
    dockerArchive(STACK.slice(0, 2), archive);
    lowers = await unpackLowers(STACK, join(scratch.path, 'lowers'));
    expect(lowers.length).toBe(4);
  });
  afterAll(() => scratch.close());
  beforeEach(() => {
    mnt = scratch.directory('mnt');
    merged = scratch.directory('merged');
  });
  afterEach(() => {
    unmountBelow(scratch.path);
  });

  const mount = (options: string): Promise<string> => laminaOk(['mount', '-o', options, archive, mnt], root);
  const umount = (): Promise<string> => laminaOk(['umount', mnt], root);
  const upper = (): { upper: string; work: string } => {
    const base = scratch.directory('own');
    const layers = { upper: join(base, 'upper'), work: join(base, 'work') };
    for (const path of Object.values(layers)) mkdirSync(path);
    return layers;
  };

  test('show what kernel overlayfs shows of them, uppermost first', async () => {
    await mount(`lowerdir=${lowers[0]!}:${lowers[1]!}`);
    await mountOverlay(lowers, merged);
    const shown = await dumpDirectory(mnt, { nlink: false });
    expect(shown).toBe(await dumpDirectory(merged, { nlink: false }));
    expect(readFileSync(join(mnt, 'etc/both'), 'latin1')).toBe('top');
    expect(await runScript(mnt, 'put new x = EROFS\nunlink etc/both = EROFS')).toEqual([]);
    await unmount(merged);
    await umount();
  });

  test('one of them, and names with separators in them', async () => {
    await mountOverlay(lowers.slice(1), merged);
    const expected = await dumpDirectory(merged, { nlink: false });
    await unmount(merged);
    const odd = join(scratch.path, 'a:b,c');
    renameSync(lowers[1]!, odd);
    try {
      await mount(`lowerdir=${odd.replaceAll(/[:,]/g, String.raw`\$&`)},ro`);
      expect(await dumpDirectory(mnt, { nlink: false })).toBe(expected);
      await umount();
    } finally {
      renameSync(odd, lowers[1]!);
    }
  });

  test('with an upper, which either goes on with', async () => {
    const [ours, theirs] = [upper(), upper()];
    const options = `lowerdir=${lowers[0]!}:${lowers[1]!},upperdir=${ours.upper},workdir=${ours.work}`;
    await mount(options);
    await mountKernel({ lowers, ...theirs }, merged);
    const same = async (): Promise<void> => {
      const dumps = await Promise.all([mnt, merged].map((path) => dumpDirectory(path)));
      expect(withoutTimes(dumps[0]!)).toEqual(withoutTimes(dumps[1]!));
    };
    for (const path of [mnt, merged]) expect(await runScript(path, CHANGES)).toEqual([]);
    await same();
    await umount();
    await unmount(merged);

    // The kernel's upper by us: what it wrote in it leads to directories of the image too.
    await mount(`lowerdir=${lowers[0]!}:${lowers[1]!},upperdir=${theirs.upper},workdir=${theirs.work}`);
    rmSync(ours.work, { recursive: true });
    mkdirSync(ours.work);
    await mountKernel({ lowers, ...ours }, merged);
    await same();
    for (const path of [mnt, merged]) expect(await runScript(path, MORE)).toEqual([]);
    await same();
    await unmount(merged);
    await umount();
  });

  test('an upper alone, above the image', async () => {
    const own = upper();
    const options = `upperdir=${own.upper},workdir=${own.work}`;
    await mount(options);
    expect(await runScript(mnt, 'cat etc/both = image,%20second\nput etc/both mine\nunlink kind')).toEqual(
      [],
    );
    const second = scratch.directory('second');
    const refused = await lamina(['mount', '-o', options, archive, second], root);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toContain('the upper directory is mounted already [EINUSE]');
    await umount();
    await mountKernel({ lowers: lowers.slice(2), ...own }, merged);
    expect(await runScript(merged, 'cat etc/both = mine\nlstat kind = ENOENT')).toEqual([]);
    await unmount(merged);
    await mount(`${options},ro`);
    expect(await runScript(mnt, 'cat etc/both = mine\nput etc/both x = EROFS')).toEqual([]);
    await umount();
  });

  test('are refused where they have no meaning', async () => {
    await laminaOk(['create', '--name', 'one', archive], root);
    const own = upper();
    const lower = `lowerdir=${lowers[0]!}`;
    for (const [args, status, message] of [
      [['-o', lower, 'one'], 125, '"lowerdir" is for images, not for containers'],
      [['--rw', '-o', lower, archive], 125, '"lowerdir" is for images, not for containers'],
      [['-o', `upperdir=${own.upper}`, archive], 125, '"upperdir" and "workdir" go together'],
      [['-o', `${lower},rw`, archive], 1, 'an image cannot be mounted writable'],
      [['-o', 'lowerdir=', archive], 125, '"lowerdir" needs a directory'],
      [['-o', `lowerdir=${scratch.path}/none`, archive], 1, '[ENOENT]'],
      [['-o', `lowerdir=${archive}`, archive], 1, '[ENOTDIR]'],
      [['--driver', 'fuse-native', '-o', lower, archive], 1, 'not directories above them'],
    ] as const) {
      const { exitCode, stderr } = await lamina(['mount', ...args, mnt], root);
      expect([args, exitCode, stderr]).toEqual([args, status, expect.stringContaining(message)]);
    }
    expect(await laminaOk(['mounts', '-q'], root)).toBe('');
  });
});

/** Of a change the time is now, and each side has its own. */
function withoutTimes(dump: string): string[] {
  return dump.split('\n').map((line) => {
    const fields = line.split(' ');
    if (fields.length === 10) fields[6] = '?';
    return fields.join(' ');
  });
}
