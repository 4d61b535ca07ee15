/** `lamina fs export` and `lamina fs cp` against what umoci unpacks from the same image, told by GNU tar and by independent dumps. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { lamina, laminaOk } from '../helpers/lamina.js';
import { canMakeFsImage, MAIN, makeFsImage } from '../helpers/fs-image.js';
import type { FsImage } from '../helpers/fs-image.js';

let image: FsImage;
let base: string;
let root: string;
let archive: string;
let real: string;
let fs: FsImage['fs'];
let gnu: FsImage['gnu'];

describe.skipIf(!canMakeFsImage())('lamina fs, copying out', () => {
  beforeAll(() => {
    image = makeFsImage();
    ({ base, root, archive, real, fs, gnu } = image);
  });
  afterAll(() => image?.remove());

  describe('export', () => {
    test('GNU tar makes of it what umoci makes of the layers', async () => {
      const target = join(base, 'from-export');
      mkdirSync(target);
      await fs('export', '-o', join(base, 'export.tar'));
      execFileSync(
        'tar',
        [
          '-x',
          '-p',
          '--numeric-owner',
          '--xattrs',
          '--xattrs-include=*',
          '--delay-directory-restore',
          '-f',
          join(base, 'export.tar'),
          '-C',
          target,
        ],
        { stdio: 'pipe' },
      );
      expect(await dumpDirectory(target)).toBe(await dumpDirectory(real));
    });

    test('the same bytes for the same image, whatever it was packed in', async () => {
      const digest = (bytes: string | Buffer): string =>
        createHash('sha256')
          .update(bytes as never, 'latin1' as never)
          .digest('hex');
      const fromArchive = digest(await fs('export'));
      expect(digest(readFileSync(join(base, 'export.tar')))).toBe(fromArchive);
      expect(digest(await laminaOk(['fs', 'export', `oci:${image.layout}`], root))).toBe(fromArchive);
    });

    test('leaves no half file behind', async () => {
      const target = join(base, 'half.tar');
      writeFileSync(target, 'before');
      // RLIMIT_FSIZE with SIGXFSZ ignored: write(2) gives EFBIG.
      const { status } = spawnSync(
        'bash',
        [
          '-c',
          'trap "" XFSZ; ulimit -f 16; exec "$@"',
          'bash',
          process.execPath,
          MAIN,
          'fs',
          'export',
          '-o',
          target,
          archive,
        ],
        {
          env: { ...process.env, LAMINA_ROOT: root },
        },
      );
      expect(status).toBe(1);
      expect(readFileSync(target, 'utf8')).toBe('before');
      expect(readdirSync(base).filter((name) => name.includes('.tmp'))).toEqual([]);
    });
  });

  describe('cp', () => {
    /** Node cannot set attributes, nor times finer than a microsecond. */
    const copied = (dump: string): string =>
      dump.replace(/(\.\d{6})\d{3} /g, '$1000 ').replace(/ \S+$/gm, '');

    test('the whole image into a directory', async () => {
      const target = join(base, 'copied');
      mkdirSync(target);
      const { exitCode, stderr } = await lamina(['fs', 'cp', archive, '/', target], root);
      expect(exitCode).toBe(0);
      expect(stderr).toContain('the extended attributes of 1 file(s) were not copied');
      expect(copied(await dumpDirectory(target))).toBe(copied(await dumpDirectory(real)));
      // Again, over what is there.
      await fs('cp', '/', target);
      expect(copied(await dumpDirectory(target))).toBe(copied(await dumpDirectory(real)));
    });

    test('gives places as docker cp does', async () => {
      const target = join(base, 'places');
      mkdirSync(target);
      await fs('cp', '/etc/passwd', target);
      await fs('cp', '/etc/passwd', join(target, 'renamed'));
      await fs('cp', '/etc', target);
      await fs('cp', '/etc', join(target, 'etc2'));
      await fs('cp', '/etc/.', join(target, 'etc3'));
      mkdirSync(join(target, 'into'));
      await fs('cp', '/etc/.', join(target, 'into'));
      await fs('cp', '/bin', target);
      await fs('cp', '-L', '/usr/bin/link', target);
      expect(gnu('find', target, '-printf', '%P\n').trim().split('\n').sort()).toEqual(
        [
          '',
          'bin',
          'etc',
          'etc/group',
          'etc/passwd',
          'etc2',
          'etc2/group',
          'etc2/passwd',
          'etc3',
          'etc3/group',
          'etc3/passwd',
          'into',
          'into/group',
          'into/passwd',
          'passwd',
          'renamed',
        ]
          .sort()
          .slice(1),
      );
      expect(readlinkSync(join(target, 'bin'))).toBe('usr/bin');
      expect(lstatSync(join(target, 'passwd')).isFile()).toBe(true);
      expect(
        (await lamina(['fs', 'cp', archive, '/etc/passwd', join(target, 'none/')], root)).stderr,
      ).toContain('[ENOTDIR]');
      expect(
        (await lamina(['fs', 'cp', archive, '/etc/passwd', join(target, 'none/file')], root)).stderr,
      ).toContain('[ENOENT]');
    });

    test('never writes through a link that stands in the destination', async () => {
      const [target, outside] = [join(base, 'trap'), join(base, 'outside')];
      for (const directory of [target, outside, join(target, 'etc')]) mkdirSync(directory);
      writeFileSync(join(outside, 'passwd'), 'untouched');
      symlinkSync(join(outside, 'passwd'), join(target, 'etc/passwd'));
      symlinkSync(outside, join(target, 'usr'));
      await fs('cp', '/etc', target);
      expect(readFileSync(join(outside, 'passwd'), 'utf8')).toBe('untouched');
      expect(lstatSync(join(target, 'etc/passwd')).isFile()).toBe(true);
      const refused = await lamina(['fs', 'cp', archive, '/usr', target], root);
      expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining('[EEXIST]')]);
      expect(readdirSync(outside)).toEqual(['passwd']);
      mkdirSync(join(target, 'tool'));
      expect((await lamina(['fs', 'cp', archive, '/usr/bin/tool', target], root)).stderr).toContain(
        '[EISDIR]',
      );
    });

    test('as a tar, with attributes', async () => {
      const target = join(base, 'untarred');
      mkdirSync(target);
      execFileSync(
        'bash',
        [
          '-o',
          'pipefail',
          '-c',
          '"$1" "$2" fs cp "$3" /home/alice - | tar -x -p --numeric-owner --xattrs --xattrs-include="*" -C "$4"',
          'bash',
          process.execPath,
          MAIN,
          archive,
          target,
        ],
        {
          env: { ...process.env, LAMINA_ROOT: root },
          stdio: 'pipe',
        },
      );
      expect(readdirSync(target)).toEqual(['alice']);
      expect(await dumpDirectory(join(target, 'alice'))).toBe(await dumpDirectory(join(real, 'home/alice')));
    });
  });
});
