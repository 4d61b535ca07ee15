/**
 * `lamina fs diff`: its texts on small images, by hand; two images of a Debian base against what umoci unpacks of them; packages
 * against dpkg-query and rpm.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { escapeBytes } from '../../src/bytes.js';
import { cutLayout } from '../helpers/cut-image.js';
import { dumpDirectory } from '../helpers/dump-directory.js';
import { dumpDifferences } from '../helpers/dump-lines.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { canMakeRealImage, REAL_IMAGE_COMMANDS, realImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';
import { chardev, dir, dockerArchive, file, hardlink, symlink, whiteout } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const built = requirement('the built lamina (npm run build)', isLaminaBuilt('native'));

interface PackageVersion {
  version: string;
  arch?: string;
}

interface DiffDocument {
  files: { path: string; pathBytes?: string; kind: string; changed: string[] }[] | null;
  packages: {
    manager: string;
    before: number | null;
    after: number | null;
    differs: boolean;
    unread?: string;
    changes: { name: string; kind: string; before?: PackageVersion; after?: PackageVersion }[];
  }[];
}

const FIRST: Stack = [
  [
    dir('d'),
    file('d/content', 'text'),
    file('d/size', 'text'),
    file('d/mode', 'm', { mode: 0o644 }),
    file('d/owner', 'o'),
    file('d/time', 't', { mtime: [1_600_000_000, 5] }),
    file('d/xattrs', 'x', { xattrs: [['user.a', '1'], ['user.b', '1']] }), // prettier-ignore
    file('d/type', 'was a file'),
    symlink('d/link', 'one'),
    chardev('d/device', [1, 3]),
    file('d/names', 'n'),
    file('gone/deep', 'deep'),
    file('same', 'same'),
    file('caf\xc3\xa9 \xff', 'odd'),
  ],
];

const SECOND: Stack = [
  ...FIRST,
  [
    file('d/content', 'tent'),
    file('d/size', 'longer'),
    file('d/mode', 'm', { mode: 0o4755 }),
    file('d/owner', 'o', { uid: 1, gid: 2 }),
    file('d/time', 't', { mtime: [1_600_000_001, 0] }),
    file('d/xattrs', 'x', { xattrs: [['user.b', '2'], ['user.c', '1']] }), // prettier-ignore
    symlink('d/type', 'x'),
    symlink('d/link', 'two'),
    chardev('d/device', [1, 5]),
    hardlink('new', 'd/names'),
    whiteout('gone'),
    file('same', 'same'),
    whiteout('caf\xc3\xa9 \xff'),
  ],
];

describe.skipIf(!built)('lamina fs diff', () => {
  const base = mkdtempSync(join(tmpdir(), 'lamina-diff-'));
  const [root, first, second] = [join(base, 'root'), join(base, 'first.tar'), join(base, 'second.tar')];
  const diff = (...args: string[]): Promise<CommandResult> => lamina(['fs', 'diff', ...args], root);

  beforeAll(() => {
    dockerArchive(FIRST, first);
    dockerArchive(SECOND, second);
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('says what differs, path by path', async () => {
    const { exitCode, stdout, stderr } = await diff(first, second);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout.split('\n')).toEqual([
      'D /caf\xc3\xa9 \xff',
      'M /d/content  (content, 4 bytes)',
      'M /d/device  (device 1:3 -> 1:5)',
      'M /d/link  (target one -> two)',
      'M /d/mode  (mode 0644 -> 4755)',
      'M /d/names  (nlink 1 -> 2)',
      'M /d/owner  (owner 0:0 -> 1:2)',
      'M /d/size  (content 4 -> 6 bytes)',
      'M /d/time  (mtime 2020-09-13T12:26:40.000000005Z -> 2020-09-13T12:26:41Z)',
      'M /d/type  (type file -> symlink)',
      'M /d/xattrs  (xattrs -user.a ~user.b +user.c)',
      'D /gone',
      'D /gone/deep',
      'A /new',
      '',
    ]);
  });

  test('of an image and itself is nothing', async () => {
    expect(await diff('--exit-code', first, first)).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  test('--exit-code tells by the exit status', async () => {
    expect((await diff('--exit-code', '--name-only', first, second)).exitCode).toBe(1);
    expect((await diff('--exit-code', '--packages', first, second)).exitCode).toBe(0);
  });

  test('of a path: a directory, a file, and what only one has', async () => {
    const names = async (path: string): Promise<string> =>
      (await diff('--name-only', first, second, path)).stdout;
    expect(await names('/gone')).toBe('/gone\n/gone/deep\n');
    expect(await names('new')).toBe('/new\n');
    expect(await names('/d/mode')).toBe('/d/mode\n');
    expect(await names('same')).toBe('');
    const missing = await diff(first, second, '/nowhere');
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toContain("ENOENT: no such file or directory, lstat '/nowhere'");
  });

  test('--ignore leaves out what does not count', async () => {
    const { stdout } = await diff(
      '--name-only',
      '--ignore',
      'attributes,device',
      '--ignore',
      'target',
      first,
      second,
      'd',
    );
    expect(stdout).toBe('/d/content\n/d/size\n/d/type\n');
    const wrong = await diff('--ignore', 'sizes', first, second);
    expect(wrong).toMatchObject({ exitCode: 125 });
    expect(wrong.stderr).toContain('"sizes" for --ignore is none of type, content,');
  });

  test('--stat shows sizes and a summary', async () => {
    const { stdout } = await diff('--stat', first, second, 'd');
    const lines = stdout.split('\n');
    expect(lines).toContain('/d/content | content');
    expect(lines).toContain('/d/size    | 4 -> 6 bytes');
    expect(lines).toContain('/d/type    | file -> symlink');
    expect(lines).toContain('/d/mode    | mode');
    // 2 bytes more in /d/size, and the 10 of what is no file any more.
    expect(lines.at(-2)).toBe('0 added, 0 removed, 10 modified, -8B');
    expect((await diff('--stat', first, second, 'gone')).stdout).toBe(
      '/gone      | removed, dir\n/gone/deep | removed, 4 bytes\n0 added, 2 removed, 0 modified, -4B\n',
    );
  });

  test.each([
    [['--stat', '--json'], /cannot be used together/],
    [['--packages', '--path'], /unknown flag: --path/],
  ])('%j is refused', async (flags, message) => {
    const result = await diff(...flags, first, second);
    expect(result.exitCode).toBe(125);
    expect(result.stderr).toMatch(message);
  });

  test('packages of apk, npm, and of rpm in a form that only rpm reads', async () => {
    const apk = (...packages: string[]): string =>
      packages.map((text) => `C:Q1\nP:${text.split(' ')[0]}\nV:${text.split(' ')[1]}\nA:x86_64\n\n`).join('');
    const module = (version: string): string => JSON.stringify({ name: 'left', version });
    const images = [
      [
        file('lib/apk/db/installed', apk('musl 1.2.4-r2', 'zlib 1.3-r0', 'old 1-r0')),
        file('app/node_modules/left/package.json', module('1.9.0')),
        file('var/lib/rpm/Packages', 'bdb 1'),
      ],
      [
        file('lib/apk/db/installed', apk('musl 1.2.10-r0', 'zlib 1.3-r0', 'new 2-r1')),
        file('app/node_modules/left/package.json', module('1.10.0')),
        file('var/lib/rpm/Packages', 'bdb 2'),
      ],
    ].map((layer, index) => {
      const path = join(base, `packages-${index}.tar`);
      dockerArchive([layer], path);
      return path;
    });
    expect((await diff('--packages', ...images)).stdout).toBe(
      [
        'Packages (apk): 1 installed, 1 removed, 1 upgraded (3 -> 3)',
        '  ^ musl 1.2.4-r2 -> 1.2.10-r0',
        '  + new 2-r1',
        '  - old 1-r0',
        '',
        'Packages (rpm): the database differs; it is in the form Berkeley DB, which only rpm reads',
        '',
        'Packages (npm): 1 upgraded (1 -> 1)',
        '  ^ left 1.9.0 -> 1.10.0  /app/node_modules/left',
        '',
      ].join('\n'),
    );
  });

  test.skipIf(!needs('command rpm', 'command rpmbuild'))(
    'packages of rpm, as rpm -qa lists them',
    async () => {
      const spec = (name: string, version: string, epoch: string): string =>
        `Name: ${name}\nVersion: ${version}\nRelease: 1\n${epoch}Summary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n`;
      const build = (name: string, version: string, epoch = ''): string => {
        const path = join(base, 'spec');
        writeFileSync(path, spec(name, version, epoch));
        const defines = [`_topdir ${base}/top`, `_rpmdir ${base}/rpms`].flatMap((text) => ['--define', text]);
        execFileSync('rpmbuild', ['-bb', '--quiet', ...defines, path], { stdio: 'pipe' });
        return join(base, `rpms/noarch/${name}-${version}-1.noarch.rpm`);
      };
      const install = (database: string, packages: readonly string[]): string[] => {
        const rpm = (...args: string[]): string =>
          execFileSync('rpm', ['--dbpath', database, '--define', '_db_backend sqlite', ...args], {
            encoding: 'utf8',
            stdio: 'pipe',
          });
        rpm('-i', '--justdb', '--nodeps', ...packages);
        return rpm('-qa', '--qf', '%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE} %{ARCH}\n')
          .split('\n')
          .sort();
      };
      const sets = [
        [build('one', '1.9'), build('two', '1', 'Epoch: 3\n'), build('three', '1')],
        [build('one', '1.10'), build('two', '2'), build('four', '4~rc1')],
      ];
      const lists: string[][] = [];
      const archives = sets.map((packages, index) => {
        const database = join(base, `rpmdb-${index}`);
        lists.push(install(database, packages));
        const bytes = readFileSync(join(database, 'rpmdb.sqlite')).toString('latin1');
        const path = join(base, `rpm-${index}.tar`);
        dockerArchive([[file('usr/lib/sysimage/rpm/rpmdb.sqlite', bytes)]], path);
        return path;
      });
      expect(lists).toEqual([
        ['', 'one 1.9-1 noarch', 'three 1-1 noarch', 'two 3:1-1 noarch'],
        ['', 'four 4~rc1-1 noarch', 'one 1.10-1 noarch', 'two 2-1 noarch'],
      ]);
      const { packages } = JSON.parse(
        (await diff('--json', '--packages', ...archives)).stdout,
      ) as DiffDocument;
      expect(packages).toMatchObject([{ manager: 'rpm', before: 3, after: 3, differs: true }]);
      expect(
        packages[0]!.changes.map(
          ({ kind, name, before, after }) => `${kind} ${name} ${before?.version} ${after?.version}`,
        ),
      ).toEqual([
        'installed four undefined 4~rc1-1',
        'upgraded one 1.9-1 1.10-1',
        'removed three 1-1 undefined',
        'downgraded two 3:1-1 2-1',
      ]);
    },
  );
});

const able =
  built &&
  needs(
    'root',
    'command python3',
    'command dpkg-query',
    ...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const),
  ) &&
  requirement('the Debian mirror, or the image made before', await canMakeRealImage());

describe.skipIf(!able)('two images of one Debian base', () => {
  const base = mkdtempSync(join(tmpdir(), 'lamina-diff-real-'));
  const root = join(base, 'root');
  /** By how many of the six layers they have. */
  const rootfs = new Map<number, string>();
  const layout = (count: number): string => join(base, `oci-${count}`);

  beforeAll(async () => {
    const { paths } = await realImage();
    for (const count of [1, 2, 6]) {
      cutLayout(paths.oci, layout(count), count);
      const bundle = join(base, `bundle-${count}`);
      execFileSync('umoci', ['unpack', '--image', `${layout(count)}:1`, bundle], { stdio: 'pipe' });
      rootfs.set(count, join(bundle, 'rootfs'));
    }
    mkdirSync(root);
  }, 600_000);
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test.each([
    [1, 2],
    [2, 6],
    [6, 1],
  ])(
    'of %d and %d layers differ in what the unpacked trees differ in',
    async (first, second) => {
      const text = await laminaOk(['fs', 'diff', '--json', layout(first), layout(second)], root);
      const { files } = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as DiffDocument;
      const letters: Record<string, string> = { added: 'A', removed: 'D', modified: 'M' };
      const found = files!.map(({ path, pathBytes, kind, changed }) => {
        const bytes = pathBytes === undefined ? Buffer.from(path) : Buffer.from(pathBytes, 'base64');
        const rest = kind === 'modified' ? ` ${changed.join(',')}` : '';
        return `${letters[kind]} ${escapeBytes(bytes.toString('latin1'))}${rest}`;
      });
      const [before, after] = await Promise.all(
        [first, second].map((count) => dumpDirectory(rootfs.get(count)!)),
      );
      const expected = dumpDifferences(before!, after!);
      expect(found.sort()).toEqual(expected);
      expect(found.length).toBeGreaterThan(1000);
    },
    300_000,
  );

  test.each([
    [1, 2],
    [2, 6],
  ])('of %d and %d layers have the packages that dpkg-query lists', async (first, second) => {
    const listed = (count: number): Map<string, string> => {
      const format = '${Package} ${Version} ${db:Status-Status}\n';
      const args = [`--admindir=${rootfs.get(count)}/var/lib/dpkg`, '-W', '-f', format];
      const lines = execFileSync('dpkg-query', args, { encoding: 'utf8' }).trim().split('\n');
      return new Map(
        lines
          .map((line) => line.split(' ') as [string, string, string])
          .filter(([, , status]) => status === 'installed')
          .map(([name, version]) => [name, version]),
      );
    };
    const [before, after] = [listed(first), listed(second)];
    const expected = [...new Set([...before.keys(), ...after.keys()])]
      .filter((name) => before.get(name) !== after.get(name))
      .map((name) => `${name} ${before.get(name)} ${after.get(name)}`)
      .sort();
    const text = await laminaOk(['fs', 'diff', '--json', '--packages', layout(first), layout(second)], root);
    const { files, packages } = JSON.parse(text) as DiffDocument;
    expect(files).toBeNull();
    const dpkg = packages.find(({ manager }) => manager === 'dpkg')!;
    expect([dpkg.before, dpkg.after]).toEqual([before.size, after.size]);
    const found = dpkg.changes.map(({ name, before: a, after: b }) => `${name} ${a?.version} ${b?.version}`);
    expect(found.sort()).toEqual(expected);
    expect(found.length).toBeGreaterThan(0);
  });
});
