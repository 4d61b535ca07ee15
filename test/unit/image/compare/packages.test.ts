/** Package databases as their documentation shows them, and which version is newer by the managers' own examples. */
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { parseApkInstalled } from '../../../../src/image/compare/packages/apk.js';
import { comparePackages } from '../../../../src/image/compare/packages/compare.js';
import { parseDpkgStatus } from '../../../../src/image/compare/packages/dpkg.js';
import { parsePackageLock, readNpm } from '../../../../src/image/compare/packages/npm.js';
import type { PackageDatabase, PackageManager } from '../../../../src/image/compare/packages/package.js';
import { compareVersions } from '../../../../src/image/compare/packages/versions.js';
import { needs } from '../../../helpers/require.js';
import { file, symlink } from '../../../helpers/stack.js';
import { withView } from '../../../helpers/view.js';

describe('databases', () => {
  test('dpkg: what is only configuration is not there, fields may come in any order and case', () => {
    const text = [
      'Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\nDescription: shell\n Version: 9\n .\n more',
      'Version: 1:2.0\npackage: old\nStatus: deinstall ok config-files\nArchitecture: all',
      'Package: half\nStatus: install reinstreq half-installed\nArchitecture: all\nVersion: 3',
      'Package: distroless\nVersion: 4~1\nArchitecture: arm64',
      'Package: never\nStatus: unknown ok not-installed\nArchitecture: all',
      '',
    ].join('\n\n');
    expect(parseDpkgStatus(text).map(({ name, version, arch }) => `${name} ${version} ${arch}`)).toEqual([
      'bash 5.2-1 amd64',
      'half 3 all',
      'distroless 4~1 arm64',
    ]);
  });

  test('apk: records of letters', () => {
    const text =
      'C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl c library\nF:lib\nR:ld\n\nP:busybox\nV:1.36.1-r5\nA:x86_64\n\n';
    expect(parseApkInstalled(text)).toEqual([
      { name: 'musl', version: '1.2.4-r2', arch: 'x86_64', place: undefined },
      { name: 'busybox', version: '1.36.1-r5', arch: 'x86_64', place: undefined },
    ]);
  });

  test('npm: by place, with scopes, nested ones and pnpm, and no links', async () => {
    const json = (name: string, version: string): string => JSON.stringify({ name, version });
    const stack = [
      [
        file('app/node_modules/a/package.json', json('a', '1.0.0')),
        file('app/node_modules/a/node_modules/b/package.json', json('b', '2.0.0')),
        file('app/node_modules/@s/c/package.json', json('@s/c', '3.0.0')),
        file('app/node_modules/.pnpm/d@4.0.0/node_modules/d/package.json', json('d', '4.0.0')),
        symlink('app/node_modules/d', '.pnpm/d@4.0.0/node_modules/d'),
        file('app/node_modules/broken/package.json', '{'),
        file('app/node_modules/a/lib/package.json', json('inner', '9.0.0')),
        file(
          'app/package-lock.json',
          JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } }),
        ),
        file(
          'other/package-lock.json',
          JSON.stringify({ packages: { 'node_modules/e': { version: '5.0.0' } } }),
        ),
      ],
    ];
    const { installed, locked } = await withView(stack, (view) => readNpm(view));
    expect(installed.map(({ name, version, place }) => `${name} ${version} ${place}`).sort()).toEqual([
      '@s/c 3.0.0 /app/node_modules/@s/c',
      'a 1.0.0 /app/node_modules/a',
      'b 2.0.0 /app/node_modules/a/node_modules/b',
      'd 4.0.0 /app/node_modules/.pnpm/d',
    ]);
    expect(locked.map(({ name, place }) => `${name} ${place}`)).toEqual(['e /other/node_modules/e']);
  });

  test('package-lock: versions 1, 2 and 3', () => {
    const places = (lock: unknown): string[] =>
      parsePackageLock(lock, '/').map(({ name, version, place }) => `${name} ${version} ${place}`);
    expect(
      places({
        lockfileVersion: 3,
        packages: {
          '': { name: 'root', version: '0.0.1' },
          'node_modules/@s/a': { version: '1.0.0' },
          'node_modules/b/node_modules/a': { version: '2.0.0' },
          'packages/w': { version: '1.0.0' },
          'node_modules/w': { resolved: 'packages/w', link: true },
        },
      }),
    ).toEqual(['@s/a 1.0.0 /node_modules/@s/a', 'a 2.0.0 /node_modules/b/node_modules/a']);
    expect(
      places({ dependencies: { b: { version: '1.0.0', dependencies: { a: { version: '2.0.0' } } } } }),
    ).toEqual(['b 1.0.0 /node_modules/b', 'a 2.0.0 /node_modules/b/node_modules/a']);
    expect(places(null)).toEqual([]);
  });
});

describe('changes', () => {
  const database = (...packages: string[]): PackageDatabase[] => [
    {
      manager: 'dpkg',
      unread: undefined,
      packages: packages.map((text) => {
        const [name, version, arch] = text.split(' ') as [string, string, string];
        return { name, version, arch, place: undefined };
      }),
    },
  ];
  const said = (before: PackageDatabase[], after: PackageDatabase[]): string[] =>
    comparePackages(before, after).flatMap(({ changes }) =>
      changes.map(
        ({ kind, name, before: a, after: b }) =>
          `${kind} ${name}${a === undefined ? '' : ` ${a.version} ${a.arch}`}${b === undefined ? '' : ` > ${b.version} ${b.arch}`}`,
      ),
    );

  test('of versions, of architectures, and of several of one name', () => {
    expect(
      said(
        database(
          'a 1 amd64',
          'b 2 amd64',
          'c 1 amd64',
          'd 1 amd64',
          'l 1 amd64',
          'l 1 i386',
          'k 1 x',
          'k 2 x',
        ),
        database(
          'a 2 amd64',
          'b 1 amd64',
          'c 1 arm64',
          'e 1 amd64',
          'l 2 amd64',
          'l 1 i386',
          'k 2 x',
          'k 3 x',
          'k 4 x',
        ),
      ),
    ).toEqual([
      'upgraded a 1 amd64 > 2 amd64',
      'downgraded b 2 amd64 > 1 amd64',
      'changed c 1 amd64 > 1 arm64',
      'removed d 1 amd64',
      'installed e > 1 amd64',
      'removed k 1 x',
      'installed k > 3 x',
      'installed k > 4 x',
      'upgraded l 1 amd64 > 2 amd64',
    ]);
  });

  test('where only one image has a database, and where it cannot be read', () => {
    expect(said([], database('a 1 all'))).toEqual(['installed a > 1 all']);
    const unread = (digest: string): PackageDatabase[] => [
      { manager: 'rpm', packages: [], unread: { why: 'it is old', digest } },
    ];
    expect(comparePackages(unread('1'), unread('1'))).toMatchObject([
      { differs: false, unread: 'it is old' },
    ]);
    expect(comparePackages(unread('1'), unread('2'))).toMatchObject([{ differs: true, changes: [] }]);
  });
});

function sign(manager: PackageManager, a: string, b: string): number | undefined {
  const order = compareVersions(manager, a, b);
  return order === undefined ? undefined : Math.sign(order);
}

/** As every manager may meet them; those of deb-version(7) and rpm's test suite among them. */
const VERSIONS = [
  '1', '1.0', '1.0-1', '1.0-1.1', '1.0-10', '1:0.9', '2:1', '1.0~rc1', '1.0~rc1~git', '1.0^git1', '1.0^', '1.0a', '1.0+b1',
  '1.0+dfsg-2', '1.01', '1.10', '1.2', '10', '001', '1.0~', '1.0~~', '1.0.z', '1.0.1', 'a1', '5.2.15-2+b13', '2.36-9+deb12u4',
  '1.0-1~bpo1', '20230311', '1.0.99999999999999999999', '1.0.100000000000000000000',
]; // prettier-ignore

const PAIRS = VERSIONS.flatMap((a) => VERSIONS.map((b) => [a, b] as const));

describe('versions', () => {
  test.skipIf(!needs('command dpkg'))('of dpkg, as dpkg --compare-versions', () => {
    const pairs = PAIRS.filter(([a, b]) =>
      [a, b].every((version) => /^(\d+:)?\d/.test(version) && !version.includes('^')),
    );
    const script = pairs.map(
      ([a, b]) =>
        `dpkg --compare-versions '${a}' lt '${b}' && echo -1 || { dpkg --compare-versions '${a}' gt '${b}' && echo 1 || echo 0; }`,
    );
    const expected = execFileSync('sh', ['-c', script.join('\n')], { encoding: 'utf8' })
      .trim()
      .split('\n');
    expect(pairs.map(([a, b]) => `${a} ${b} ${sign('dpkg', a, b)}`)).toEqual(
      pairs.map(([a, b], index) => `${a} ${b} ${expected[index]}`),
    );
  });

  test.skipIf(!needs('command rpm'))('of rpm, as rpm.vercmp', () => {
    // EVR as a whole; a release that is missing on one side is not compared by rpm, and never missing in a database.
    const pairs = PAIRS.filter(([a, b]) => a.includes('-') === b.includes('-'));
    const lua = pairs.map(([a, b]) => `print(rpm.vercmp('${a}','${b}') .. ' ')`).join(' ');
    const { stdout } = spawnSync('rpm', ['--eval', `%{lua: ${lua}}`], { encoding: 'utf8' });
    const expected = stdout.trim().split(' ');
    expect(expected.length).toBe(pairs.length);
    expect(pairs.map(([a, b]) => `${a} ${b} ${sign('rpm', a, b)}`)).toEqual(
      pairs.map(([a, b], index) => `${a} ${b} ${expected[index]}`),
    );
  });

  /** apk-tools, test/version.data: facts of its test suite, a selection. */
  test.each([
    ['2.34', '>', '0.1.0_alpha'],
    ['0.1.0_alpha', '<', '0.1.3_alpha'],
    ['0.1.0_alpha2', '>', '0.1.0_alpha'],
    ['1.0.4-r3', '<', '1.0.4-r4'],
    ['1.1', '>', '1.1_alpha1'],
    ['2.3.0b-r1', '<', '2.3.0b-r2'],
    ['3.1_p16', '<', '3.1_p17'],
    ['1.06-r6', '<', '006'],
    ['2.01.01_alpha10', '>', '0.94'],
    ['1.0', '>', '0.99.3.20040818'],
    ['1.00', '<', '4.1.4-r1'],
    ['9.3.2-r4', '<', '9.3.4-r2'],
    ['4.5_p1-r1', '>', '4.5_p1'],
    ['1.6d', '>', '1.2.07.8'],
    ['0.9.8c-r1', '<', '0.9.8d'],
    ['5b-r9', '>', '2.2.10'],
    ['1.0_p10-r0', '>', '1.0_p9-r0'],
    ['0.1.0_alpha_pre2', '<', '0.1.0_alpha'],
    ['1.0.0_pre20191002222144-r0', '<', '1.0.0_pre20210530193627-r0'],
    ['1.3_pre1-r1', '<', '1.3.2'],
    ['0.20070118', '<', '0.20070207_rc1'],
    ['2.16.1-r3', '=', '2.16.1-r3'],
  ])('of apk: %s %s %s', (a, relation, b) => {
    expect('<=>'[sign('apk', a, b)! + 1]).toBe(relation);
  });

  test('of npm, as semver.org orders them (11)', () => {
    const ordered = ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '2.0.0', '2.1.0', '2.1.1', '10.0.0']; // prettier-ignore
    for (const [left, a] of ordered.entries()) {
      for (const [right, b] of ordered.entries()) expect(sign('npm', a, b)).toBe(Math.sign(left - right));
    }
    expect(sign('npm', '1.0.0+build1', '1.0.0+build2')).toBe(0);
    expect(sign('npm', 'latest', '1.0.0')).toBeUndefined();
    expect(sign('apk', 'not a version', '1')).toBeUndefined();
  });
});
