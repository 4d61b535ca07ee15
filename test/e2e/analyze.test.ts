/**
 * `lamina analyze`: its texts on a small image, by hand; dive's report to the letter (its evaluator.go and
 * cli_ci_test.snap); and a real Debian image against Python's tarfile (dive_score.py).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, dockerSave25, image, tarOf } from '../helpers/archive-builder.js';
import type { BuiltLayer } from '../helpers/archive-builder.js';
import { isLaminaBuilt, lamina, laminaOk } from '../helpers/lamina.js';
import type { CommandResult } from '../helpers/lamina.js';
import { python } from '../helpers/python.js';
import { canMakeRealImage, REAL_IMAGE_COMMANDS, realImage } from '../helpers/real-images.js';
import { needs, requirement } from '../helpers/require.js';
import { dir, file, layerTar, symlink, whiteout } from '../helpers/stack.js';
import type { Layer } from '../helpers/stack.js';

const built = requirement('the built lamina (npm run build)', isLaminaBuilt('native'));
const x = (count: number): string => 'x'.repeat(count);

const LAYERS: readonly Layer[] = [
  [
    dir('bin', { mode: 0o755 }),
    file('bin/tool', x(20_000), { mode: 0o755 }),
    dir('tmp', { mode: 0o1777 }),
    dir('var'),
    dir('var/cache'),
    file('var/cache/1', x(3000)),
    file('var/cache/2', x(4000)),
    symlink('link', 'bin/tool'),
  ],
  [file('bin/tool', x(20_000), { mode: 0o700 }), file('etc/motd', x(123))],
  [whiteout('var/cache'), file('etc/motd', 'hello\n')],
];

const HISTORY = [
  { created_by: '/bin/sh -c #(nop) ADD file:0123 in / ' },
  { created_by: '/bin/sh -c #(nop)  CMD ["sh"]', empty_layer: true },
  { created_by: '/bin/sh -c chmod 700 /bin/tool' },
  { created_by: 'RUN /bin/sh -c rm -rf /var/cache\n# buildkit' },
];

interface Document {
  layer: {
    index: number;
    id: string;
    digestId: string;
    sizeBytes: number;
    command: string;
    fileList: object[];
  }[];
  image: { sizeBytes: number; inefficientBytes: number; efficiencyScore: number; fileReference: object[] };
  lamina: { hiddenBytes: number; userSizeBytes: number; wastedUserPercent: number; hidden: object[] };
}

describe.skipIf(!built)('lamina analyze', () => {
  const base = mkdtempSync(join(tmpdir(), 'lamina-analyze-'));
  const [root, archive] = [join(base, 'root'), join(base, 'image.tar')];
  const layers = LAYERS.map((entries): BuiltLayer => {
    const tar = layerTar(entries);
    return { tar, diffId: digestOf(tar) };
  });
  const small = image(layers, { history: HISTORY });
  const short = layers.map(({ diffId }) => diffId.slice(7, 19));

  const analyze = (...args: string[]): Promise<CommandResult> => lamina(['analyze', ...args], root);

  beforeAll(() => writeFileSync(archive, tarOf(dockerSave25([{ image: small, tags: ['small:1'] }]))));
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('prints layers, the largest files, what is hidden and why', async () => {
    // 27,000 + 20,123 + 6. /bin/tool: twice 20,000. /etc/motd: 123 + 6. The whiteout of /var/cache counts 7,000 for dive, but once.
    // The score: (20,000 + 6 + 3,000 + 4,000 + 7,000) / (40,000 + 129 + 3,000 + 4,000 + 7,000).
    const report = [
      `Image:       ${archive} (${small.imageId})`,
      'Size:        47.1kB in 3 layers',
      'Efficiency:  62.82 %',
      'Wasted:      40.1kB, 199.36 % of what layers above the first add',
      'Hidden:      27.1kB in 4 files',
      '',
      'Layers',
      '  LAYER  DIFF ID         SIZE  ADDED  MODIFIED  REMOVED  COMMAND',
      `      0  ${short[0]}    27kB      4         0        0  #(nop) ADD file:0123 in / `,
      `      1  ${short[1]}  20.1kB      1         1        0  chmod 700 /bin/tool`,
      `      2  ${short[2]}      6B      0         1        2  RUN /bin/sh -c rm -rf /var/cache # buildkit`,
      '',
      'Largest files',
      '  SIZE  LAYER  PATH',
      '  20kB      1  /bin/tool',
      '    6B      2  /etc/motd',
      '',
      'Stored but hidden',
      '  SIZE  FILES  WHY                        PATH',
      '  20kB      1  metadata-only copy (mode)  /bin/tool',
      '   7kB      2  deleted                    /var/cache',
      '  123B      1  rewritten                  /etc/motd',
      '',
      'Why',
      '  SIZE  FILES  WHY',
      '  20kB      1  metadata-only copy',
      '   7kB      2  deleted',
      '  123B      1  rewritten',
      '',
      'A metadata-only copy has the content of the version below it: set modes and owners in the instruction that makes the file.',
      '',
    ].join('\n');
    expect(await analyze(archive)).toEqual({ exitCode: 0, stderr: '', stdout: report });
  });

  test('--top shortens the lists and says so', async () => {
    const { stdout } = await analyze('--top', '1', archive);
    expect(stdout).toContain('Largest files (1 of 2)\n  SIZE  LAYER  PATH\n  20kB      1  /bin/tool\n\n');
    expect(stdout).toContain('Stored but hidden (1 of 3)\n');
  });

  test('--layer draws what one layer changes', async () => {
    const tree = async (layer: number): Promise<string[]> =>
      (await analyze('--layer', String(layer), archive)).stdout
        .split('\n')
        .slice(1, -1)
        .map((line) => Buffer.from(line, 'latin1').toString('utf8').replace(/ +/g, ' '));
    expect(await tree(1)).toEqual([
      ' /',
      ' ├── bin',
      'M -rwx------ 0:0 20kB │\u00a0\u00a0 └── tool [mode]',
      'A drwxr-xr-x 0:0 - └── etc',
      'A -rw-r--r-- 0:0 123B └── motd',
    ]);
    expect(await tree(2)).toEqual([
      ' /',
      ' ├── etc',
      'M -rw-r--r-- 0:0 6B │\u00a0\u00a0 └── motd [content]',
      ' └── var',
      'D drwxr-xr-x 0:0 - └── cache',
      'D -rw-r--r-- 0:0 3kB ├── 1',
      'D -rw-r--r-- 0:0 4kB └── 2',
    ]);
    const changes = JSON.parse((await analyze('--layer', '1', '--json', archive)).stdout) as object[];
    expect(changes).toEqual([
      { path: '/bin/tool', change: 'M', type: 'file', sizeBytes: 20_000, changed: ['mode'] },
      { path: '/etc', change: 'A', type: 'dir', sizeBytes: 0 },
      { path: '/etc/motd', change: 'A', type: 'file', sizeBytes: 123 },
    ]);
  });

  test("--json is dive's document, with ours beside it", async () => {
    const document = JSON.parse((await analyze('--json', archive)).stdout) as Document;
    expect(document.image).toEqual({
      sizeBytes: 47_129,
      inefficientBytes: 40_129,
      efficiencyScore: 34_006 / 54_129,
      fileReference: [
        { count: 2, sizeBytes: 40_000, file: '/bin/tool' },
        { count: 2, sizeBytes: 129, file: '/etc/motd' },
      ],
    });
    expect(document.layer.map(({ fileList: _, ...rest }) => rest)).toEqual([
      { index: 0, id: layers[0]!.diffId.slice(7), digestId: layers[0]!.diffId, sizeBytes: 27_000, command: '#(nop) ADD file:0123 in / ' },
      { index: 1, id: layers[1]!.diffId.slice(7), digestId: layers[1]!.diffId, sizeBytes: 20_123, command: 'chmod 700 /bin/tool' },
      { index: 2, id: layers[2]!.diffId.slice(7), digestId: layers[2]!.diffId, sizeBytes: 6, command: 'RUN /bin/sh -c rm -rf /var/cache\n# buildkit' },
    ]); // prettier-ignore
    // Go's os.FileMode: ModeDir is bit 31, ModeSticky bit 20, ModeSymlink bit 27 (pkg.go.dev/io/fs#FileMode).
    const entry = { linkName: '', size: 0, uid: 0, gid: 0 };
    expect(document.layer[0]!.fileList).toEqual([
      { ...entry, path: 'bin/tool', typeFlag: 48, size: 20_000, fileMode: 0o755, isDir: false },
      { ...entry, path: 'bin', typeFlag: 53, fileMode: 2 ** 31 + 0o755, isDir: true },
      { ...entry, path: 'link', typeFlag: 50, linkName: 'bin/tool', fileMode: 2 ** 27 + 0o777, isDir: false },
      { ...entry, path: 'tmp', typeFlag: 53, fileMode: 2 ** 31 + 2 ** 20 + 0o777, isDir: true },
      { ...entry, path: 'var/cache/1', typeFlag: 48, size: 3000, fileMode: 0o644, isDir: false },
      { ...entry, path: 'var/cache/2', typeFlag: 48, size: 4000, fileMode: 0o644, isDir: false },
      { ...entry, path: 'var/cache', typeFlag: 53, fileMode: 2 ** 31 + 0o755, isDir: true },
      { ...entry, path: 'var', typeFlag: 53, fileMode: 2 ** 31 + 0o755, isDir: true },
    ]);
    expect(document.lamina).toMatchObject({
      hiddenBytes: 27_123,
      userSizeBytes: 20_129,
      wastedUserPercent: 40_129 / 20_129,
    });
    expect(document.lamina.hidden[0]).toEqual({
      path: '/bin/tool',
      layer: 0,
      byLayer: 1,
      sizeBytes: 20_000,
      how: 'replaced',
      why: 'metadata-only copy',
      changed: ['mode'],
      at: '/bin/tool',
    });
  });

  describe('--ci', () => {
    const head = [
      'Analysis:',
      '  efficiency:        62.82 %',
      '  wastedBytes:       40129 bytes (40 kB)',
      '  userWastedPercent: 199.36 %',
      '',
      'Inefficient Files:',
      '  Count  Wasted Space  File Path',
      '  2      40 kB         /bin/tool',
      '  2      129 B         /etc/motd',
      '',
      'Evaluation:',
    ];

    test("fails by dive's defaults, in its words, with status 1", async () => {
      expect(await analyze('--ci', archive)).toEqual({
        exitCode: 1,
        stderr: '',
        stdout: [
          ...head,
          '  FAIL  highestUserWastedPercent (too many bytes wasted, relative to the user bytes added (%-user-wasted-bytes=1.99 > threshold=0.1))',
          '  SKIP  highestWastedBytes (disabled)',
          '  FAIL  lowestEfficiency (image efficiency is too low (efficiency=0.63 < threshold=0.9))',
          '',
          'FAIL [fail:2 skip:1]',
          '',
        ].join('\n'),
      });
    });

    test('takes thresholds from a file, and flags before the file', async () => {
      const config = join(base, 'rules.yaml');
      writeFileSync(
        config,
        'plugins:\n  - one\nrules:\n  # a comment\n  lowestEfficiency: 0.60\n  highestWastedBytes: 40kB\n  highestUserWastedPercent: off\n  plugin1/rule1: error\n',
      );
      const failed = await analyze('--ci', '--ci-config', config, archive);
      expect(failed.exitCode).toBe(1);
      expect(failed.stdout.split('\n').slice(head.length)).toEqual([
        '  SKIP  highestUserWastedPercent (disabled)',
        '  FAIL  highestWastedBytes (too many bytes wasted (wasted-bytes=40129 > threshold=40000))',
        '  PASS  lowestEfficiency (0.60)',
        '',
        'FAIL [pass:1 fail:1 skip:1]',
        '',
      ]);
      const passed = await analyze('--ci', '--ci-config', config, '--highestWastedBytes', '1MB', archive);
      expect(passed.exitCode).toBe(0);
      expect(passed.stdout).toMatch(/\n\nPASS \[pass:2 skip:1\]\n$/);
      const json = await analyze('--ci', '--json', '--ci-config', config, archive);
      expect(json.exitCode).toBe(1);
      expect(JSON.parse(json.stdout)).toMatchObject({ pass: false, wastedBytes: 40_129 });
    });

    test('reads .dive-ci where it is run', async () => {
      const directory = join(base, 'project');
      mkdirSync(directory);
      writeFileSync(
        join(directory, '.dive-ci'),
        'rules:\n  lowestEfficiency: 0.5\n  highestUserWastedPercent: disabled\n',
      );
      const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
      const run = (): string =>
        execFileSync(process.execPath, [main, '--root', root, 'analyze', '--ci', archive], {
          cwd: directory,
          encoding: 'utf8',
        });
      expect(run()).toMatch(/PASS \[pass:1 skip:2\]\n$/);
    });

    test.each([
      [['--lowestEfficiency', '2'], 125, /invalid lowestEfficiency config value, given "2"/],
      [['--highestWastedBytes', 'much'], 125, /invalid highestWastedBytes config value/],
      [['--ci-config', '/nowhere'], 1, /ENOENT/],
      [['--layer', '0'], 125, /cannot be used together/],
    ])('%j is refused', async (args, exitCode, message) => {
      const result = await analyze('--ci', ...args, archive);
      expect(result.exitCode).toBe(exitCode);
      expect(result.stderr).toMatch(message);
    });

    test('a file that is no YAML, or holds no rule, is refused', async () => {
      for (const text of ['rules: [', 'rules:\n  lowestEfficiency: [1]\n']) {
        const config = join(base, 'bad.yaml');
        writeFileSync(config, text);
        const result = await analyze('--ci', '--ci-config', config, archive);
        expect(result).toMatchObject({ exitCode: 125, stdout: '' });
        expect(result.stderr).toMatch(/is not a file of CI rules/);
      }
    });
  });

  test.each([
    [['--layer', '3'], /the image has no layer 3; its layers are 0 to 2/],
    [['--layer', 'x'], /invalid number "x" for --layer/],
    [['--top', '-1'], /invalid number "-1" for --top/],
  ])('%j is refused', async (args, message) => {
    const result = await analyze(...args, archive);
    expect(result.exitCode).toBe(125);
    expect(result.stderr).toMatch(message);
  });
});

const able =
  built &&
  needs('root', 'command python3', ...REAL_IMAGE_COMMANDS.map((name) => `command ${name}` as const)) &&
  requirement('the Debian mirror, or the image made before', await canMakeRealImage());

describe.skipIf(!able)('a Debian image of six layers', () => {
  const base = mkdtempSync(join(tmpdir(), 'lamina-analyze-real-'));
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test("has dive's figures and lists as Python's tarfile reads them", async () => {
    const { paths } = await realImage();
    const extract = (...args: string[]): string =>
      execFileSync('tar', ['-xf', paths['docker-archive'], '-C', base, ...args], { encoding: 'utf8' });
    extract();
    const manifest = execFileSync('cat', [join(base, 'manifest.json')], { encoding: 'utf8' });
    const [{ Layers: names }] = JSON.parse(manifest) as [{ Layers: string[] }];
    const expected = JSON.parse(
      await python(
        'dive_score.py',
        names.map((name) => join(base, name)),
      ),
    ) as Record<string, number> & { files: [string, number, number][]; layers: unknown[][][] };

    const text = await laminaOk(['analyze', '--json', paths['docker-archive']], join(base, 'root'));
    const found = JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) as Document;
    expect(found.image).toMatchObject({
      sizeBytes: expected['sizeBytes'],
      inefficientBytes: expected['wastedBytes'],
      efficiencyScore: expected['efficiency'],
    });
    expect(found.lamina.userSizeBytes).toBe(expected['userSizeBytes']);
    const references = found.image.fileReference as { file: string; count: number; sizeBytes: number }[];
    expect(references.map(({ file: path, count, sizeBytes }) => [path, count, sizeBytes]).sort()).toEqual(
      expected.files.map(([path, ...rest]) => [Buffer.from(path, 'latin1').toString('utf8'), ...rest]).sort(),
    );

    type Listed = { path: string; pathBytes?: string; typeFlag: number; linkName: string; size: number; fileMode: number; uid: number; gid: number }; // prettier-ignore
    const unixMode = (mode: number): number =>
      (mode & 0o777) +
      (mode & (2 ** 23) ? 0o4000 : 0) +
      (mode & (2 ** 22) ? 0o2000 : 0) +
      (mode & (2 ** 20) ? 0o1000 : 0);
    for (const [index, { fileList }] of found.layer.entries()) {
      const ours = (fileList as Listed[]).map(
        ({ path, pathBytes, typeFlag, linkName, size, fileMode, uid, gid }) => [
          pathBytes === undefined
            ? Buffer.from(path).toString('latin1')
            : Buffer.from(pathBytes, 'base64').toString('latin1'),
          typeFlag,
          linkName,
          size,
          unixMode(fileMode),
          uid,
          gid,
        ],
      );
      const theirs = expected.layers[index]!.map((row) =>
        row.map((value, at) => (at === 4 ? Number(value) & 0o7777 : value)),
      );
      expect(ours.map(String).sort()).toEqual(theirs.map(String).sort());
    }
    expect(found.layer.map(({ fileList }) => fileList.length).reduce((a, b) => a + b)).toBeGreaterThan(5000);
  }, 300_000);
});
