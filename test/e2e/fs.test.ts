/**
 * `lamina fs` against the GNU command of the same name, run on the directory that umoci unpacks from the same image. What a
 * directory's size and allocation are is each filesystem's own business and is left out; all else must be the same.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
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

describe.skipIf(!canMakeFsImage())('lamina fs', () => {
  beforeAll(() => {
    image = makeFsImage();
    ({ base, root, archive, real, fs, gnu } = image);
  });
  afterAll(() => image?.remove());

  describe('ls', () => {
    /** The size of a directory is the filesystem's own: blank. So is what they all take up. */
    const comparable = (listing: string): string[] =>
      listing
        .split('\n')
        .filter((line) => !/^total /.test(line))
        .map((line) => line.replace(/^(d\S+ +\d+ +\S+ +\S+) +\d+/, '$1 SIZE').replace(/ +/g, ' '));

    test.each([
      [['-ln', 'home/alice']],
      [['-lan', '--time-style=full-iso', 'home/alice']],
      [['-lAn', '--time-style=long-iso', 'etc', 'usr']],
      [['-ln', '--time-style=iso', 'home/alice', 'etc/group']],
      [['-lnR', 'usr']],
      [['-R', '.']],
      [['-aR', 'home']],
      [['-d', 'usr', 'bin', 'etc/passwd']],
      [['bin']],
      [['-ln', 'bin']],
      [['-ln', 'bin/']],
      [['-r', 'usr/bin']],
      [['-S', 'home/alice']],
      [['-t', 'home/alice']],
      [['-tr', 'usr/bin', 'etc']],
      [['-lnh', 'usr/bin', 'home/alice']],
      [['empty']],
    ])('%j', async (args) => {
      expect(comparable(await fs('ls', ...args))).toEqual(comparable(gnu('ls', '-1', ...args)));
    });

    test('columns to the byte, where there is no directory', async () => {
      for (const args of [
        ['-ln', 'dev'],
        ['-ln', '--time-style=full-iso', 'usr/bin'],
        ['-ln', 'home/alice'],
      ]) {
        const withoutTotal = (listing: string): string => listing.replace(/^total.*\n/, '');
        expect(withoutTotal(await fs('ls', ...args))).toBe(withoutTotal(gnu('ls', ...args)));
      }
    });

    test('names of users and groups are those of the image', async () => {
      const owners = (await fs('ls', '-l', 'usr/bin', 'home'))
        .split('\n')
        .map((line) => line.split(/ +/).slice(2, 4).join(':'));
      expect(owners.filter((owner) => owner.includes(':'))).toEqual([
        'alice:1000',
        'root:root',
        'root:root',
        'alice:staff',
        'root:root',
      ]);
    });

    test('--json has what is exact', async () => {
      const found = JSON.parse(await fs('ls', '--json', '-A', 'home/alice')) as {
        path: string;
        pathBytes?: string;
        mtimeNs: string;
      }[];
      expect(found.map(({ path }) => path)).toContain('/home/alice/na me\n');
      const bytes = found.find(({ pathBytes }) => pathBytes !== undefined)!;
      expect(Buffer.from(bytes.pathBytes!, 'base64').toString('latin1')).toBe('/home/alice/\xff\xfe');
      expect(bytes.mtimeNs).toBe('-1500000000');
    });
  });

  describe('find', () => {
    const sorted = (output: string, end = '\n'): string[] => output.split(end).sort();
    test.each([
      [['.']],
      [['usr', 'etc']],
      [['.', '-name', '*a*']],
      [['.', '-iname', 'ALIAS']],
      [['.', '-name', '[[]glob[]]\\*']],
      [['.', '-path', './usr/*/[ao]*']],
      [['.', '-type', 'f', '-size', '+10k']],
      [['.', '-type', 'f', '-size', '-1k']],
      [['.', '-type', 'f', '-size', '1']],
      [['.', '-type', 'f', '-size', '10c']],
      [['.', '-type', 'f', '-size', '1M']],
      [['.', '-type', 'l,p,c']],
      [['.', '-newer', 'usr/bin/tool']],
      [['.', '-newer', 'etc/passwd', '-type', 'f']],
      [['.', '-perm', '755']],
      [['.', '-perm', '-4000']],
      [['.', '-perm', '/6000']],
      [['.', '-perm', '-u+x,g+x', '-type', 'f']],
      [['.', '-perm', '/0']],
      [['.', '-uid', '1000']],
      [['.', '-uid', '+1000']],
      [['.', '-gid', '-51']],
      [['.', '-group', '50']],
      [['.', '-links', '2', '-type', 'f']],
      [['.', '-empty']],
      [['.', '-maxdepth', '2']],
      [['.', '-mindepth', '2', '-maxdepth', '3', '-type', 'd']],
      [['usr', '-maxdepth', '0']],
      [['.', '-name', 'usr', '-prune', '-o', '-type', 'f', '-print']],
      [['.', '!', '-type', 'd']],
      [['.', '-not', '(', '-type', 'd', '-o', '-type', 'f', ')']],
      [['.', '-type', 'f', '-a', '-name', 't*', '-o', '-name', 'l*']],
      [['.', '-lname', '*passwd']],
      [['bin']],
      [['bin/', '-name', 'tool']],
      [['usr/', '-type', 'f']],
      [['.', '-false', '-o', '-true', '-name', 'e*']],
      [['.', '-type', 'f', '-print', '-name', 't*', '-print']],
    ])('%j', async (args) => {
      const theirs = sorted(gnu('find', ...args));
      expect(theirs.length).toBeGreaterThan(1);
      expect(sorted(await fs('find', ...args))).toEqual(theirs);
    });

    test('-print0, users by name, attributes, JSON', async () => {
      expect(sorted(await fs('find', '.', '-print0'), '\0')).toEqual(
        sorted(gnu('find', '.', '-print0'), '\0'),
      );
      expect(await fs('find', '-user', 'alice', '-type', 'd')).toBe('/home/alice\n');
      expect(await fs('find', '-group', 'staff')).toBe('/usr/bin/other\n');
      expect(await fs('find', '-xattr', 'user.*')).toBe('/home/alice/attributes\n');
      const found = JSON.parse(await fs('find', '/etc', '-type', 'f', '--json')) as { path: string }[];
      expect(found.map(({ path }) => path)).toEqual(['/etc/group', '/etc/passwd']);
    });

    test.each([
      [['-nope', 'x']],
      [['-name']],
      [['-size', '5q']],
      [['-perm', 'u=q']],
      [['-type', 'x']],
      [['(', '-true']],
      [['-true', ')']],
      [['-user', 'nobody-here']],
    ])('refuses %j', async (args) => {
      const { exitCode, stderr } = await lamina(['fs', 'find', archive, ...args], root);
      expect([exitCode, stderr]).toEqual([125, expect.stringMatching(/^lamina: /)]);
    });
  });

  test('stat: the directives of GNU stat', async () => {
    const paths = [
      'usr/bin/tool',
      'usr/bin/link',
      'home/alice/na me\n',
      'home/alice/.hidden',
      'dev/null',
      'dev/long',
      'dev/pipe',
      'home/alice/sparse',
    ];
    const format = '%n|%s|%a|%A|%F|%h|%u|%g|%f|%y|%Y|%t|%T|%%|%8s|%-8s|%08s';
    expect(await fs('stat', '-c', format, ...paths)).toBe(gnu('stat', '-c', format, ...paths));
    expect(await fs('stat', '-c', '%a %h %A %F', 'tmp', 'usr')).toBe(
      gnu('stat', '-c', '%a %h %A %F', 'tmp', 'usr'),
    );
    expect(await fs('stat', '-L', '-c', '%s %F', 'usr/bin/link', 'bin/tool')).toBe(
      gnu('stat', '-L', '-c', '%s %F', 'usr/bin/link', 'bin/tool'),
    );
    expect(await fs('stat', '-c', '%N', 'usr/bin/link', 'etc/passwd')).toBe(
      gnu('stat', '-c', '%N', 'usr/bin/link', 'etc/passwd').replaceAll("'", ''),
    );
    expect(await fs('stat', 'home/alice/attributes')).toContain(' Xattr: user.key=0x00ff0a\n');
    expect((await lamina(['fs', 'stat', archive, '-c', '%q', '/'], root)).exitCode).toBe(125);
  });

  test('du: sizes of files, a hard link once', async () => {
    const directoryBytes = (path: string): number =>
      gnu('find', path, '-type', 'd', '-printf', '%s\n')
        .trim()
        .split('\n')
        .reduce((sum, size) => sum + Number(size), 0);
    const parse = (output: string): [string, number][] =>
      output
        .trimEnd()
        .split(/\n(?=\d+\t)/)
        .map((line) => [line.split('\t')[1]!, Number(line.split('\t')[0])]);
    for (const args of [
      ['-s', '.'],
      ['-d', '1', '.'],
      ['-d', '2', 'usr', 'home'],
    ]) {
      const theirs = parse(gnu('du', '-b', ...args)).map(([path, size]) => [
        path,
        size - directoryBytes(path),
      ]);
      expect(new Map(parse(await fs('du', '-b', ...args)))).toEqual(new Map(theirs as [string, number][]));
    }
    const files = (output: string): [string, number][] =>
      parse(output)
        .filter(
          ([path]) => path !== '' && !statSync(join(real, path), { throwIfNoEntry: false })?.isDirectory(),
        )
        .sort();
    expect(files(await fs('du', '-ab', 'usr'))).toHaveLength(files(gnu('du', '-ab', 'usr')).length);
    expect(await fs('du', '-sc', 'usr/bin', 'etc')).toMatch(/^69\tusr\/bin\n1\tetc\n70\ttotal\n$/);
    expect(await fs('du', '-sh', 'usr/bin')).toBe('69K\tusr/bin\n');
  });

  test('cat: the bytes', async () => {
    expect(await fs('cat', 'usr/bin/tool', '/bin/link', 'home/alice/sparse')).toBe(
      gnu('cat', 'usr/bin/tool', 'etc/passwd', 'home/alice/sparse'),
    );
    const failed = await lamina(['fs', 'cat', archive, '/usr'], root);
    expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringContaining('[EISDIR]')]);
    expect((await lamina(['fs', 'cat', archive, '/nope'], root)).stderr).toContain('[ENOENT]');
    expect((await lamina(['fs', 'cat', archive, '/dev/null'], root)).stderr).toContain('[EINVAL]');
  });

  test('tree', async () => {
    const drawn = Buffer.from(await fs('tree', '/usr'), 'latin1')
      .toString('utf8')
      .replaceAll('\u00a0', ' ');
    expect(drawn).toBe(
      [
        '/usr',
        '\u251c\u2500\u2500 bin',
        '\u2502   \u251c\u2500\u2500 alias',
        '\u2502   \u251c\u2500\u2500 link -> ../../etc/passwd',
        '\u2502   \u251c\u2500\u2500 other',
        '\u2502   \u2514\u2500\u2500 tool',
        '\u2514\u2500\u2500 replaced',
        '    \u2514\u2500\u2500 new',
        '',
        '2 directories, 5 files',
        '',
      ].join('\n'),
    );
    expect(await fs('tree', '-d', '-L', '1', '/')).toContain('\n\n7 directories\n');
    expect(
      (JSON.parse(await fs('tree', '--json', '-L', '1', '/usr')) as { children: unknown[] }).children,
    ).toHaveLength(2);
    expect((await lamina(['fs', 'tree', archive, '-L', '0'], root)).exitCode).toBe(125);
  });

  test('dump: what an independent walk of the unpacked directory gives', async () => {
    expect(await fs('dump')).toBe(await dumpDirectory(real));
    expect(await fs('dump', '/etc')).toBe(
      (await fs('dump'))
        .split('\n')
        .filter((line) => line.startsWith('/etc'))
        .join('\n') + '\n',
    );
  });

  test('which: every layer that has a say', async () => {
    const states = async (path: string): Promise<string[]> => {
      const { layers } = JSON.parse(await fs('which', '--json', path)) as {
        layers: { layer: number; state: string; hiddenBy?: { how: string; path: string } }[];
      };
      return layers.map(({ layer, state, hiddenBy }) =>
        [layer, state, ...(hiddenBy === undefined ? [] : [hiddenBy.how, hiddenBy.path])].join(' '),
      );
    };
    expect(await states('/etc/passwd')).toEqual(['0 visible']);
    expect(await states('/etc/group')).toEqual(['0 hidden replaced /etc/group', '1 visible']);
    expect(await states('/etc/deleted')).toEqual(['0 hidden whiteout /etc/deleted', '1 absent']);
    expect(await states('/usr/replaced/old')).toEqual(['0 hidden opaque /usr/replaced', '1 absent']);
    expect(await states('/bin/tool')).toEqual(['0 visible']);
    expect(await states('/bin')).toEqual(['0 visible']);
    expect(await states('/')).toEqual(['0 merged', '1 visible']);
    const table = await fs('which', '/etc/group');
    expect(table).toMatch(
      /^\/etc\/group\nLAYER +DIFF ID +FILE +STATE\n0 .* hidden by layer 1 \(replaced\)\n1 .* 0:0 \d+ bytes +visible\n$/,
    );
    expect((await lamina(['fs', 'which', archive, '/nope'], root)).stderr).toContain('[ENOENT]');
  });

  test('a path is taken by its bytes', () => {
    const output = execFileSync(
      'bash',
      ['-c', '"$1" "$2" fs cat "$3" $\'/home/alice/\\xff\\xfe\'', 'bash', process.execPath, MAIN, archive],
      {
        env: { ...process.env, LAMINA_ROOT: root },
        encoding: 'latin1',
      },
    );
    expect(output).toBe('bytes');
  });

  test('a reader that goes away ends it silently', async () => {
    const script = 'set -o pipefail; "$1" "$2" fs export "$3" | head -c 100 | wc -c';
    const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) =>
      execFile(
        'bash',
        ['-c', script, 'bash', process.execPath, MAIN, archive],
        { env: { ...process.env, LAMINA_ROOT: root } },
        (_, out, err) => resolve({ stdout: out, stderr: err }),
      ),
    );
    expect([stdout.trim(), stderr]).toEqual(['100', '']);
  });

  describe('on a terminal', () => {
    /** Runs under a pseudo-terminal: everything it shows, and the exit status. */
    const terminal = (...args: string[]): { shown: string; status: number | null } => {
      const script = 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))';
      const { stdout, status } = spawnSync('python3', ['-c', script, process.execPath, MAIN, 'fs', ...args], {
        env: { ...process.env, LAMINA_ROOT: root },
        input: '',
      });
      return { shown: stdout.toString('latin1').replaceAll('\r\n', '\n'), status };
    };

    test('names cannot drive it', () => {
      const { shown } = terminal('ls', archive, '/home/alice');
      expect(shown.split('\n')).toContain('na me\\x0a');
      expect(shown.split('\n')).toContain('\\xff\\xfe');
      expect(shown).toContain('caf\xc3\xa9');
    });

    test('a tar is not written to it', () => {
      const { shown, status } = terminal('export', archive);
      expect([status, shown]).toEqual([
        125,
        expect.stringContaining('cowardly refusing to save to a terminal. Use the -o flag or redirect'),
      ]);
      expect(terminal('cp', archive, '/etc', '-').status).toBe(125);
    });
  });

  test('every command has help, and unknown images have an error', async () => {
    for (const command of ['cat', 'cp', 'du', 'dump', 'export', 'find', 'ls', 'stat', 'tree', 'which']) {
      expect(await laminaOk(['fs', command, '--help'], root)).toMatch(
        new RegExp(`^Usage:  lamina fs ${command} \\[OPTIONS\\] IMAGE`),
      );
    }
    const missing = join(base, 'none.tar');
    const { exitCode, stderr } = await lamina(['fs', 'ls', missing], root);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('[ENOENT]')]);
    expect(existsSync(missing)).toBe(false);
  });
});
