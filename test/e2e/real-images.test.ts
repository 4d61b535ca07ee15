/**
 * A real image, in every form and by every driver, shows what umoci unpacks and what kernel overlayfs shows: type, mode,
 * owner, times, sizes, content, links and attributes of every file, by the canonical dump (FORMAT.md).
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blankNlink, dumpDirectory } from '../helpers/dump-directory.js';
import { isLaminaBuilt, laminaOk } from '../helpers/lamina.js';
import type { Driver } from '../helpers/lamina.js';
import { mountOverlay, unmount } from '../helpers/overlay.js';
import {
  canMakeRealImage,
  FORMS,
  REAL_IMAGE_COMMANDS,
  realImage,
  unpackByUmoci,
  unpackForOverlay,
} from '../helpers/real-images.js';
import type { RealImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';

const able =
  needs(
    'root',
    '/dev/fuse',
    'kernel overlayfs',
    ...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const),
  ) && requirement('the Debian mirror, or the image made before', await canMakeRealImage());

const DRIVERS: readonly Driver[] = ['native', 'fuse-native'];
const built = new Set(
  DRIVERS.filter((driver) =>
    requirement(`the built ${driver} driver (npm run build)`, isLaminaBuilt(driver)),
  ),
);

/** Lines that only one of two dumps has, the first few: what a person needs to see of 10,000 lines. */
function differences(expected: string, actual: string): string[] {
  const [left, right] = [expected.split('\n'), actual.split('\n')];
  const [inLeft, inRight] = [new Set(left), new Set(right)];
  return [
    ...left.filter((line) => !inRight.has(line)).map((line) => `- ${line}`),
    ...right.filter((line) => !inLeft.has(line)).map((line) => `+ ${line}`),
  ]
    .sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1))
    .slice(0, 40);
}

/** Named limits of the portable driver (fuse-native-limits.ts): mtime-before-epoch and mtime-milliseconds. */
function withLimitsOf(driver: Driver, dump: string): string {
  if (driver === 'native') return dump;
  return dump
    .split('\n')
    .map((line) => {
      const fields = line.split(' ');
      const time = fields[6];
      if (time?.startsWith('-')) fields[6] = '0.000000000';
      else if (time !== undefined) fields[6] = `${time.slice(0, -6)}000000`;
      return fields.join(' ');
    })
    .join('\n');
}

describe.skipIf(!able)('a Debian image of six layers', () => {
  let scratch = '';
  let image: RealImage;
  let byUmoci = '';
  let byOverlayfs = '';

  beforeAll(async () => {
    image = await realImage();
    scratch = mkdtempSync(join(tmpdir(), 'lamina-real-'));
    byUmoci = await dumpDirectory(await unpackByUmoci(image, join(scratch, 'bundle')));

    const layers = join(scratch, 'layers');
    const merged = join(scratch, 'merged');
    for (const directory of [layers, merged]) mkdirSync(directory);
    const lowers = await unpackForOverlay(image, layers);
    await mountOverlay([...lowers].reverse(), merged);
    try {
      byOverlayfs = await dumpDirectory(merged, { nlink: false, skipVanished: true });
    } finally {
      await unmount(merged);
    }
  }, 600_000);

  afterAll(() => {
    if (scratch !== '') rmSync(scratch, { recursive: true, force: true });
  });

  it('is read alike by umoci and kernel overlayfs, and holds what the recipe made', () => {
    expect(differences(byOverlayfs, blankNlink(byUmoci))).toEqual([]);
    for (const expected of [
      /^\/usr\/share\/doc\/third\/time f /m,
      /^\/usr\/share\/man f /m,
      /^\/etc\/issue\.net d /m,
      /^\/opt\/reader f 0755 2 .*security\.capability=[0-9a-f]+,user\.lamina\.bytes=00ff0a3d$/m,
      /^\/opt\/reader-2 h \/opt\/reader$/m,
      /^\/opt\/na\\xc3\\xafve\\x20\\xff\\x20\\x5c\\x20name f /m,
      /^\/opt\/fifo p 0622 /m,
      /^\/opt\/moved d 3777 - 12345:54321 /m,
      /^\/opt\/old f .* -2\.0+ /m,
    ]) {
      expect(byUmoci).toMatch(expected);
    }
    expect(byUmoci).not.toMatch(/^\/(usr\/share\/doc\/README|usr\/bin\/perl|opt\/shared) /m);
    expect(byUmoci.split('\n').length).toBeGreaterThan(5000);
  });

  describe.each(DRIVERS)('mounted by the %s driver', (driver) => {
    it.skipIf(!built.has(driver)).each(FORMS)(
      'from %s equals umoci and kernel overlayfs',
      async (form) => {
        const base = mkdtempSync(join(scratch, 'mount-'));
        const [directory, root] = [join(base, 'mnt'), join(base, 'root')];
        mkdirSync(directory);
        try {
          await laminaOk(['mount', '--driver', driver, image.paths[form], directory], root);
          let dump: string;
          try {
            dump = await dumpDirectory(directory);
          } finally {
            await laminaOk(['umount', directory], root);
          }
          const expected = withLimitsOf(driver, byUmoci);
          expect(differences(expected, dump)).toEqual([]);
          expect(dump).toBe(expected);
          expect(blankNlink(dump)).toBe(withLimitsOf(driver, byOverlayfs));
        } finally {
          rmSync(base, { recursive: true, force: true });
        }
      },
      180_000,
    );
  });
});
