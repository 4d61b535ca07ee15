/**
 * Images whose layers are hostile, through the built command: each is refused with its documented code, in time and in little memory,
 * leaves no file outside the cache and none half-made inside it. Archives that are hostile themselves are in hostile-archives.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOSTILE_TARS, SOUND_TARS } from '../unit/tar/hostile.js';
import { lamina } from '../helpers/lamina.js';
import { rawEntry, rawTar } from '../helpers/raw-tar.js';
import { needs } from '../helpers/require.js';
import { dir, dockerArchive, file, hardlink, ociLayout, raw, symlink, whiteout } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let base: string;
let root: string;

beforeAll(() => {
  base = mkdtempSync(path.join(tmpdir(), 'lamina-hostile-'));
  root = path.join(base, 'root');
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** Everything that a refusal may not leave: files under their temporary names, or derived from what was refused. */
function leftovers(): string[] {
  return ['tmp', 'chains'].flatMap((name) =>
    existsSync(path.join(root, name)) ? readdirSync(path.join(root, name)) : [],
  );
}

async function dumpOf(stack: Stack): Promise<Awaited<ReturnType<typeof lamina>>> {
  const archive = path.join(base, 'image.tar');
  dockerArchive(stack, archive);
  return lamina(['fs', 'dump', archive], root);
}

/** Those that are as hostile when an end marker follows them. */
const WHOLE_HOSTILE_TARS = HOSTILE_TARS.filter(({ name }) => !/cut short|without its entry/.test(name));

const entry = (header: Parameters<typeof rawEntry>[0]): ReturnType<typeof raw> => raw(rawEntry(header));

describe('a layer is refused', () => {
  const cases: [string, string, Stack][] = [
    ['that leads out of the root', 'EBADPATH', [[file('../etc/passwd', 'x')]]],
    ['that leads out of the root in the middle of a path', 'EBADPATH', [[file('a/../../etc/passwd', 'x')]]],
    ['whose hard link leads out of the root', 'EBADPATH', [[hardlink('a', '../../etc/passwd')]]],
    ['with a name of 256 bytes', 'EBADPATH', [[file('n'.repeat(256), 'x')]]],
    ['with a whiteout of nothing', 'EWHITEOUT', [[file('a/.wh.', '')]]],
    ['with an entry below a whiteout', 'EWHITEOUT', [[file('.wh.a/b', 'x')]]],
    ['with a hard link to nothing', 'EBADLAYER', [[hardlink('a', 'b')]]],
    ['with a hard link to itself', 'EBADLAYER', [[hardlink('a', 'a')]]],
    ['with hard links in a circle', 'EBADLAYER', [[hardlink('a', 'b'), hardlink('b', 'a')]]],
    ['with a hard link to a directory', 'EBADLAYER', [[dir('a'), hardlink('b', 'a')]]],
    [
      'with a hard link to what a lower layer has hidden',
      'EBADLAYER',
      [[file('a', 'x')], [whiteout('a')], [hardlink('b', 'a')]],
    ],
    [
      'with symbolic links in a circle on the way',
      'EBADLAYER',
      [[symlink('a', 'b'), symlink('b', 'a'), file('a/c', 'x')]],
    ],
    ['whose root is a file', 'EBADLAYER', [[entry({ name: './', typeflag: '2', linkName: 'x' })]]],
    ['deeper than 4096 directories', 'ELIMIT', [[file(`${'d/'.repeat(4200)}f`, 'x')]]],
  ];

  it.each(cases)('%s: %s', async (_what, code, stack) => {
    const result = await dumpOf(stack);
    expect(result.stderr).toContain(`[${code}]`);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect(result).toMatchObject({ exitCode: 1, stdout: '' });
    expect(leftovers()).toEqual([]);
  });

  it.each(WHOLE_HOSTILE_TARS.map((tar) => [tar.name, tar] as const))('(tar) %s', async (_name, tar) => {
    const archive = path.join(base, 'image.tar');
    dockerArchive([[raw(tar.tar)]], archive);
    const result = await lamina(['fs', 'dump', archive], root);
    expect(result.stderr).toMatch(/\[(EBADTAR|ELIMIT)\]/);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect(leftovers()).toEqual([]);
  });
});

describe('a layer is taken', () => {
  const cases: [string, Stack, string][] = [
    [
      'with a file that its own symbolic link leads elsewhere',
      [[symlink('a', 'b'), file('a/c', 'x')]],
      '/b/c',
    ],
    ['with "./" and doubled slashes', [[file('./a//b', 'x')]], '/a/b'],
    ['with a leading slash', [[file('/a', 'x')]], '/a'],
    ['with ".." that stays inside', [[file('a/../b', 'x')]], '/b'],
    ['with absolute symbolic links, kept as written', [[symlink('a', '/../../etc/passwd')]], '/a'],
    ['with the same path a thousand times', [Array.from({ length: 1000 }, () => file('a', 'x'))], '/a'],
  ];

  it.each(cases)('%s', async (_what, stack, shown) => {
    const result = await dumpOf(stack);
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(result.stdout.split('\n').map((line) => line.split(' ')[0])).toContain(shown);
    rmSync(path.join(root, 'chains'), { recursive: true });
  });

  it.each(SOUND_TARS.map((tar, index) => [index, tar] as const))('(sound tar %i)', async (_index, tar) => {
    const archive = path.join(base, 'image.tar');
    dockerArchive([[raw(tar)]], archive);
    expect(await lamina(['fs', 'dump', archive], root)).toMatchObject({ exitCode: 0, stderr: '' });
    rmSync(path.join(root, 'chains'), { recursive: true });
  });
});

it.runIf(needs('command zstd', 'command python3'))(
  '10 GB in a few kilobytes stop at the limit, in little memory',
  () => {
    // Gzip members one after the other are one stream: a thousand times 10 MB of zeros, and that compressed once more.
    const layer = Buffer.concat(Array<Buffer>(1000).fill(gzipSync(Buffer.alloc(10_000_000))));
    const plain = path.join(base, 'bomb.tar');
    const inner = rawTar([
      rawEntry(
        { name: 'manifest.json', typeflag: '0' },
        Buffer.from(JSON.stringify([{ Config: 'config.json', RepoTags: null, Layers: ['layer'] }])),
      ),
      rawEntry(
        { name: 'config.json', typeflag: '0' },
        Buffer.from(
          JSON.stringify({
            os: 'linux',
            architecture: 'amd64',
            rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] },
          }),
        ),
      ),
      rawEntry({ name: 'layer', typeflag: '0' }, layer),
    ]);
    writeFileSync(plain, inner);
    execFileSync('zstd', ['-q', '-19', '--long=27', '--rm', plain]);
    expect(statSync(`${plain}.zst`).size).toBeLessThan(64_000);
    const measure = `import resource, subprocess, sys
p = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(p.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, p.stderr)`;
    const report = execFileSync(
      'python3',
      [
        '-c',
        measure,
        process.execPath,
        MAIN,
        '--root',
        root,
        'mount',
        '--max-inflated',
        '100MB',
        `${plain}.zst`,
        base,
      ],
      { encoding: 'utf8' },
    );
    const [exitCode, maxRssKilobytes] = report.split(' ').map(Number);
    expect(report).toContain('[ELIMIT]');
    expect(report).toContain('--max-inflated');
    expect(exitCode).toBe(1);
    expect(maxRssKilobytes).toBeLessThan(400_000);
    expect(readdirSync(path.join(root, 'tmp'))).toEqual([]);
  },
);

it('a compressed layer with a wrong digest is refused, and nothing of it is kept', async () => {
  const layout = path.join(base, 'layout');
  ociLayout([[file('a', 'x'.repeat(10_000))]], layout, { compression: 'gzip' });
  const blobs = path.join(layout, 'blobs/sha256');
  const blob = readdirSync(blobs)
    .map((name) => path.join(blobs, name))
    .find((name) =>
      readFileSync(name)
        .subarray(0, 2)
        .equals(Buffer.from([0x1f, 0x8b])),
    )!;
  const bytes = readFileSync(blob);
  // The same length and, but for its digest, a sound gzip stream: the time in its header.
  bytes[4] = bytes[4]! ^ 0xff;
  writeFileSync(blob, bytes);
  const result = await lamina(['fs', 'dump', `oci:${layout}`], path.join(base, 'other'));
  expect(result.stderr).toContain('[EDIGEST]');
  expect(
    readdirSync(path.join(base, 'other'), { recursive: true, withFileTypes: true }).filter((found) =>
      found.isFile(),
    ),
  ).toEqual([]);
});
