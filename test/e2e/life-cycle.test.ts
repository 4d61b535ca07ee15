/** The life of a mount, from the command line: how it begins, ends, is killed and goes on. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { needs, requirement } from '../helpers/require.js';
import { lamina, laminaOk } from '../helpers/lamina.js';
import { dir, dockerArchive, file, ociLayout } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const CONTENT = 'x'.repeat(300_000);
const STACK: Stack = [
  [dir('etc'), file('etc/name', 'below'), file('big', CONTENT)],
  [
    file('etc/name', 'above'),
    ...Array.from({ length: 500 }, (_, index) => file(`many/${index}`, `${index}`)),
  ],
];

interface MountFields {
  Mountpoint: string;
  Status: string;
  Verify: string;
  PID: string;
}

let base: string;
let root: string;
let mnt: string;
let archive: string;

beforeEach(() => {
  base = mkdtempSync(path.join(tmpdir(), 'lamina-life-'));
  [root, mnt, archive] = [path.join(base, 'root'), path.join(base, 'mnt'), path.join(base, 'app.tar')];
  mkdirSync(mnt);
  process.env.LAMINA_RUN = path.join(base, 'run');
  dockerArchive(STACK, archive);
});

afterEach(async () => {
  if (isMounted()) await lamina(['umount', '--force', mnt], root);
  delete process.env.LAMINA_RUN;
  rmSync(base, { recursive: true, force: true });
});

function isMounted(directory = mnt): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${directory} `);
}

async function mounts(): Promise<MountFields[]> {
  const text = await laminaOk(['mounts', '--format', 'json'], root);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as MountFields);
}

async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  for (const end = Date.now() + timeoutMs; ;) {
    if (await isTrue()) return;
    if (Date.now() > end) throw new Error(`timed out waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function isAlive(pid: number): boolean {
  try {
    // A killed process whose parent has not asked for it yet is no longer alive.
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** The server is the supervisor's only child. */
function serverOf(supervisor: number): number {
  return Number(readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim().split(' ')[0]);
}

/** Reads a file of the mount in a process of its own: this one must not block on a mount that it tests. */
function cat(name: string): string {
  return execFileSync('cat', [path.join(mnt, name)], {
    encoding: 'utf8',
    timeout: 20_000,
    maxBuffer: 1 << 24,
  });
}

async function mount(...args: string[]): Promise<number> {
  await laminaOk(['mount', ...args, archive, mnt], root);
  return Number((await mounts())[0]!.PID);
}

describe.runIf(needs('root', '/dev/fuse'))('a mount', () => {
  it('outlives the command, is listed, and ends without a trace', async () => {
    const supervisor = await mount();
    expect(cat('etc/name')).toBe('above');
    expect(await mounts()).toMatchObject([{ Mountpoint: mnt, Status: 'mounted' }]);
    await laminaOk(['umount', mnt], root);
    expect(isMounted()).toBe(false);
    await until('the server ended', () => !isAlive(supervisor));
    expect(await mounts()).toEqual([]);
    expect(readdirSync(path.join(base, 'run', 'mounts'))).toEqual([]);
    expect(readdirSync(path.join(root, 'tmp'))).toEqual([]);
  });

  it('is read-only, nosuid and nodev', async () => {
    await mount();
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((text) => text.includes(` ${mnt} `))!;
    expect(line.split(' ')[5]!.split(',')).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
    expect(line).toContain(' - fuse.lamina ');
  });

  it('goes on when the archive is unlinked', async () => {
    await mount();
    unlinkSync(archive);
    expect(cat('big')).toBe(CONTENT);
  });

  it('is busy while files are open, and can be detached', async () => {
    const supervisor = await mount();
    const fd = openSync(path.join(mnt, 'big'), 'r');
    try {
      const refused = await lamina(['umount', mnt], root);
      expect(refused).toMatchObject({ exitCode: 1 });
      expect(refused.stderr).toContain('[EBUSY]');
      expect(refused.stderr).toContain('--lazy');
      await laminaOk(['umount', '--lazy', mnt], root);
      expect(isMounted()).toBe(false);
      const buffer = Buffer.alloc(CONTENT.length);
      expect(readSync(fd, buffer, 0, buffer.length, 0)).toBe(buffer.length);
      expect(isAlive(supervisor)).toBe(true);
    } finally {
      closeSync(fd);
    }
    await until('the server ended', () => !isAlive(supervisor));
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('is unmounted when its server gets %s', async (signal) => {
    const supervisor = await mount();
    process.kill(supervisor, signal);
    await until('it is unmounted', () => !isMounted() && !isAlive(supervisor));
    expect(await mounts()).toEqual([]);
  });

  it('goes on, with its open files, when the server is killed', async () => {
    const supervisor = await mount();
    const fd = openSync(path.join(mnt, 'big'), 'r');
    try {
      const buffer = Buffer.alloc(4096);
      readSync(fd, buffer, 0, 4096, 0);
      const server = serverOf(supervisor);
      process.kill(server, 'SIGKILL');
      await until(
        'another server runs',
        () => isAlive(supervisor) && serverOf(supervisor) !== server && serverOf(supervisor) > 0,
      );
      expect(cat('many/499')).toBe('499');
      execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches']);
      expect(readSync(fd, buffer, 0, 4096, 200_000)).toBe(4096);
    } finally {
      closeSync(fd);
    }
    await laminaOk(['umount', mnt], root);
    expect(isAlive(supervisor)).toBe(false);
  });

  it('goes on under load when the server is killed many times', async () => {
    const supervisor = await mount();
    const script = `for i in $(seq 1 15); do echo 2 > /proc/sys/vm/drop_caches; find ${mnt} -type f -exec cat {} + | sha256sum; done | sort | uniq -c`;
    const readers = [1, 2].map(() => spawn('bash', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'] }));
    const outputs = readers.map(collect);
    for (let round = 0; round < 12 && readers.some(({ exitCode }) => exitCode === null); round++) {
      await new Promise((resolve) => setTimeout(resolve, 450));
      const server = serverOf(supervisor);
      if (server > 0) process.kill(server, 'SIGKILL');
    }
    for (const output of await Promise.all(outputs)) {
      expect(output.stderr).toBe('');
      expect(output.stdout.trim().split('\n')).toHaveLength(1);
      expect(output.stdout).toMatch(/^ *15 /);
    }
    expect(isAlive(supervisor)).toBe(true);
  });

  it('whose server and supervisor were killed is stale, listed as such, and cleared', async () => {
    const supervisor = await mount();
    const server = serverOf(supervisor);
    process.kill(supervisor, 'SIGKILL');
    process.kill(server, 'SIGKILL');
    await until('both are gone', () => !isAlive(supervisor) && !isAlive(server));
    expect(await mounts()).toMatchObject([{ Mountpoint: mnt, Status: 'stale' }]);
    await mount();
    expect(cat('etc/name')).toBe('above');
    const next = Number((await mounts())[0]!.PID);
    process.kill(next, 'SIGKILL');
    process.kill(serverOf(next) || next, 'SIGKILL');
    await laminaOk(['umount', mnt], root);
    expect(isMounted()).toBe(false);
    expect(await mounts()).toEqual([]);
  });

  it('is not made twice on one directory', async () => {
    await mount();
    const second = await lamina(['mount', archive, mnt], root);
    expect(second).toMatchObject({ exitCode: 1 });
    expect(second.stderr).toContain('[EBUSY]');
    expect(cat('etc/name')).toBe('above');
  });

  it('of a changed archive shows the change', async () => {
    await mount();
    await laminaOk(['umount', mnt], root);
    dockerArchive([[file('etc/name', 'other')]], archive);
    await mount();
    expect(cat('etc/name')).toBe('other');
  });

  it('that does not answer is left alone by others, and hangs nobody', async () => {
    const supervisor = await mount();
    const server = serverOf(supervisor);
    process.kill(server, 'SIGSTOP');
    try {
      const other = path.join(base, 'other');
      mkdirSync(other);
      await laminaOk(['mount', archive, other], root);
      expect((await mounts()).map(({ Mountpoint, Status }) => [Mountpoint, Status])).toEqual([
        [mnt, 'mounted'],
        [other, 'mounted'],
      ]);
      await laminaOk(['umount', other], root);
    } finally {
      process.kill(server, 'SIGCONT');
    }
    expect(cat('etc/name')).toBe('above');
  }, 30_000);

  it('of two at once on one directory is one', async () => {
    const results = await Promise.all([1, 2, 3].map(() => lamina(['mount', archive, mnt], root)));
    expect(results.map(({ exitCode }) => exitCode).sort()).toEqual([0, 1, 1]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8').split(` ${mnt} `)).toHaveLength(2);
    await laminaOk(['umount', mnt], root);
    expect(isMounted()).toBe(false);
  });

  it('that is covered by another keeps its record', async () => {
    await mount();
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mnt]);
    expect(await mounts()).toMatchObject([{ Mountpoint: mnt, Status: 'hidden' }]);
    execFileSync('umount', [mnt]);
    expect(await mounts()).toMatchObject([{ Mountpoint: mnt, Status: 'mounted' }]);
  });

  it('is listed beside records that nobody here wrote', async () => {
    await mount();
    const directory = path.join(base, 'run', 'mounts');
    for (const [name, text] of [
      ['000000000000', 'null'],
      ['000000000001', '{}'],
      ['000000000002', 'not json'],
      ['x', '[]'],
    ]) {
      writeFileSync(path.join(directory, `${name}.json`), text!);
    }
    writeFileSync(path.join(base, 'precious.json'), 'kept');
    writeFileSync(
      path.join(directory, '000000000003.json'),
      JSON.stringify({ id: '../../precious', mountpoint: '/x', pid: 1 }),
    );
    expect(await mounts()).toMatchObject([{ Mountpoint: mnt, Status: 'mounted' }]);
    expect(readFileSync(path.join(base, 'precious.json'), 'utf8')).toBe('kept');
  });

  it('is not recorded where others may write', async () => {
    mkdirSync(path.join(base, 'run', 'mounts'), { recursive: true });
    chmodSync(path.join(base, 'run', 'mounts'), 0o777);
    const result = await lamina(['mount', archive, mnt], root);
    expect(result.stderr).toContain('[EACCES]');
    expect(isMounted()).toBe(false);
    chmodSync(path.join(base, 'run', 'mounts'), 0o700);
  });

  it.each(['mount', 'fs'])('whose index in the cache is damaged is indexed again by %s', async (how) => {
    await mount();
    await laminaOk(['umount', mnt], root);
    const toc = path.join(root, 'chains', readdirSync(path.join(root, 'chains'))[0]!);
    const bytes = readFileSync(toc);
    bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 0xff;
    writeFileSync(toc, bytes);
    if (how === 'mount') {
      await mount();
      expect(cat('etc/name')).toBe('above');
    } else {
      expect(await laminaOk(['fs', 'cat', archive, '/etc/name'], root)).toBe('above');
    }
    expect(readFileSync(toc).equals(bytes)).toBe(false);
  });

  it('is shared work when several begin at once', async () => {
    const directories = [1, 2, 3, 4].map((index) => path.join(base, `m${index}`));
    for (const directory of directories) mkdirSync(directory);
    await Promise.all(directories.map((directory) => laminaOk(['mount', archive, directory], root)));
    expect(readdirSync(path.join(root, 'chains'))).toHaveLength(1);
    for (const directory of directories)
      expect(readFileSync(path.join(directory, 'etc/name'), 'utf8')).toBe('above');
    await laminaOk(['umount', ...directories], root);
  });

  it('in the foreground ends with an interrupt', async () => {
    const child = spawn(process.execPath, [MAIN, 'mount', '--foreground', archive, mnt], {
      env: { ...process.env, LAMINA_ROOT: root },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = collect(child);
    await until('it is mounted', () => isMounted());
    child.kill('SIGINT');
    expect(await output).toMatchObject({ code: 0, stderr: '' });
    expect(isMounted()).toBe(false);
  });

  it('by another user goes through fusermount3', async () => {
    if (!needs('command fusermount3', 'command setpriv')) return;
    if (!requirement('/dev/fuse open to every user', (statSync('/dev/fuse').mode & 0o006) === 0o006)) return;
    const home = path.join(base, 'user');
    for (const directory of [home, path.join(home, 'mnt')]) mkdirSync(directory);
    chmodSync(base, 0o755);
    execFileSync('chown', ['-R', '65534:65534', home]);
    const as = (...command: string[]): string =>
      execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', ...command], {
        encoding: 'utf8',
        env: {
          ...process.env,
          HOME: home,
          LAMINA_ROOT: path.join(home, 'root'),
          LAMINA_RUN: path.join(home, 'run'),
        },
      });
    as(process.execPath, MAIN, 'mount', archive, path.join(home, 'mnt'));
    expect(as('cat', path.join(home, 'mnt/etc/name'))).toBe('above');
    as(process.execPath, MAIN, 'umount', path.join(home, 'mnt'));
    expect(isMounted(path.join(home, 'mnt'))).toBe(false);
  });
});

describe.runIf(needs('root', '/dev/fuse'))(
  'a plain archive whose content is not what its digest promises',
  () => {
    beforeEach(() => {
      const bytes = readFileSync(archive);
      const at = bytes.indexOf('x'.repeat(1000)) + 500;
      bytes[at] = 0x79;
      writeFileSync(archive, bytes);
    });

    it('is taken down, and the list says why', async () => {
      await laminaOk(['mount', archive, mnt], root);
      await until('it is taken down', () => !isMounted());
      await until('the reason is known', async () => (await mounts())[0]?.Status === 'failed');
      expect((await mounts())[0]!.Verify).toMatch(/^\[EDIGEST\] .*promised was sha256:/);
      await laminaOk(['umount', mnt], root);
      expect(await mounts()).toEqual([]);
    });

    it('ends a mount in the foreground with the error', async () => {
      const child = spawn(process.execPath, [MAIN, 'mount', '--foreground', archive, mnt], {
        env: { ...process.env, LAMINA_ROOT: root },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const { code, stderr } = await collect(child);
      expect(code).toBe(1);
      expect(stderr).toContain('[EDIGEST]');
    });

    it('takes down no later mount on the same directory', async () => {
      await laminaOk(['mount', archive, mnt], root);
      await lamina(['umount', mnt], root);
      const good = path.join(base, 'good.tar');
      dockerArchive(STACK, good);
      await laminaOk(['mount', good, mnt], root);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(cat('etc/name')).toBe('above');
      expect(await mounts()).toMatchObject([{ Status: 'mounted', Verify: 'verified' }]);
    });

    it('is refused by fs export, and by what is asked to verify', async () => {
      expect(
        (await lamina(['fs', 'export', '-o', path.join(base, 'out.tar'), archive], root)).stderr,
      ).toContain('[EDIGEST]');
      expect(existsSync(path.join(base, 'out.tar'))).toBe(false);
      expect((await lamina(['fs', 'cat', '--verify', archive, '/etc/name'], root)).stderr).toContain(
        '[EDIGEST]',
      );
    });

    it('is not mounted at all with verify=before', async () => {
      const result = await lamina(['mount', '-o', 'verify=before', archive, mnt], root);
      expect(result).toMatchObject({ exitCode: 1 });
      expect(result.stderr).toContain('[EDIGEST]');
      expect(isMounted()).toBe(false);
      expect(await mounts()).toEqual([]);
    });
  },
);

describe('a mount that cannot be', () => {
  const cases: [string, () => string[], string, number][] = [
    ['a directory that does not exist', () => [archive, path.join(base, 'nowhere')], 'ENOENT', 1],
    ['a file', () => [archive, archive], 'ENOTDIR', 1],
    ['an archive that does not exist', () => [path.join(base, 'none.tar'), mnt], 'ENOENT', 1],
    ['something that is no archive', () => [path.join(base, 'text'), mnt], 'ENOTARCHIVE', 1],
    ['an unknown option', () => ['-o', 'nonsense', archive, mnt], 'unknown mount option "nonsense"', 125],
    ['rw', () => ['-o', 'rw', archive, mnt], 'EROFS', 1],
    ['an unknown flag', () => ['--nonsense', archive, mnt], 'unknown flag: --nonsense', 125],
    ['too few arguments', () => [archive], "'lamina mount' requires 2 arguments", 125],
    ['a truncated archive', () => (truncateSync(archive, 200_000), [archive, mnt]), 'EBADTAR', 1],
    ['a platform that is not there', () => [ociArchive(), '--platform', 'linux/s390x', mnt], 'EPLATFORM', 1],
  ];
  const ociArchive = (): string => {
    const directory = path.join(base, 'layout');
    ociLayout(STACK, directory);
    return `oci:${directory}`;
  };

  it.each(cases)('%s: says so and leaves nothing', async (_what, args, text, exitCode) => {
    writeFileSync(path.join(base, 'text'), 'just text, longer than any magic number');
    const result = await lamina(['mount', ...args()], root);
    expect(result.stderr).toContain(text);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect(result.exitCode).toBe(exitCode);
    expect(isMounted()).toBe(false);
    if (existsSync(path.join(root, 'tmp'))) expect(readdirSync(path.join(root, 'tmp'))).toEqual([]);
    expect(await mounts()).toEqual([]);
  });

  it('on a cache that may not be written says EACCES', async () => {
    if (!needs('root', 'command setpriv')) return;
    chmodSync(base, 0o755);
    const closed = path.join(base, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const args = [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      process.execPath,
      MAIN,
      '--root',
      path.join(closed, 'root'),
    ];
    const result = spawnSync('setpriv', [...args, 'fs', 'dump', archive], { encoding: 'utf8' });
    expect(result.stderr).toContain('[EACCES]');
    expect(result.stderr).toContain('--root');
  });

  it('on a full disk says ENOSPC and leaves nothing', async () => {
    if (!needs('root')) return;
    const full = path.join(base, 'full');
    mkdirSync(full);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', full]);
    try {
      const layout = path.join(base, 'layout');
      ociLayout(STACK, layout, { compression: 'gzip' });
      const result = await lamina(['mount', `oci:${layout}`, mnt], full);
      expect(result.stderr).toContain('[ENOSPC]');
      expect(readdirSync(path.join(full, 'tmp'))).toEqual([]);
    } finally {
      execFileSync('umount', [full]);
    }
  });

  it.each([
    ['ends without a word', 'exit 3', 'EMOUNT'],
    [
      'finds no /dev/fuse',
      'echo "failed step=fuse-device errno=2 cannot open /dev/fuse" >&4; exit 1',
      'ENOFUSE',
    ],
    ['may not mount', 'echo "failed step=mount errno=1 Operation not permitted" >&4; exit 1', 'EPERM'],
    ['refuses the TOC', 'echo "failed step=toc errno=22 bad magic" >&4; exit 1', 'EBADTOC'],
  ])('by a server that %s', async (_what, script, code) => {
    const server = path.join(base, 'server');
    writeFileSync(server, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env.LAMINA_FUSE = server;
    try {
      const result = await lamina(['mount', archive, mnt], root);
      expect(result.stderr).toContain(`[${code}]`);
      expect(await mounts()).toEqual([]);
      expect(readdirSync(path.join(base, 'run', 'mounts'))).toEqual([]);
    } finally {
      delete process.env.LAMINA_FUSE;
    }
  });

  it('cannot be unmounted either', async () => {
    const result = await lamina(['umount', mnt], root);
    expect(result).toMatchObject({ exitCode: 1 });
    expect(result.stderr).toContain('[ENOTMOUNTED]');
  });

  it('without a native server says how to build one', async () => {
    process.env.LAMINA_FUSE = path.join(base, 'none');
    try {
      const result = await lamina(['mount', '--driver', 'native', archive, mnt], root);
      expect(result.stderr).toContain('[ENOSERVER]');
      expect(result.stderr).toContain('npm run build:native');
    } finally {
      delete process.env.LAMINA_FUSE;
    }
  });
});

function collect(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}
