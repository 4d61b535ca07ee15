/** The image that the tests of `lamina fs` read, and the directory that umoci unpacks from it. Needs root and umoci. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { laminaOk } from './lamina.js';
import { needs, requirement } from './require.js';
import {
  chardev,
  dir,
  dockerArchive,
  fifo,
  file,
  hardlink,
  ociLayout,
  opaque,
  symlink,
  whiteout,
} from './stack.js';
import type { Stack } from './stack.js';

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const NOW = Math.floor(Date.now() / 1000);

const STACK: Stack = [
  [
    dir('.', { mode: 0o755 }),
    dir('etc'),
    file('etc/passwd', 'root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n'),
    file('etc/group', 'root:x:0:\nstaff:x:50:alice\n'),
    file('etc/deleted', 'gone'),
    dir('usr'),
    dir('usr/bin'),
    file('usr/bin/tool', '#!/bin/sh\n', { mode: 0o4755, mtime: [1_600_000_000, 123_456_789] }),
    hardlink('usr/bin/alias', 'usr/bin/tool'),
    file('usr/bin/other', 'x'.repeat(70_000), { mode: 0o2711, uid: 1000, gid: 50 }),
    symlink('usr/bin/link', '../../etc/passwd'),
    dir('usr/replaced'),
    file('usr/replaced/old', 'old'),
    symlink('bin', 'usr/bin'),
    dir('tmp', { mode: 0o1777 }),
  ],
  [
    whiteout('etc/deleted'),
    opaque('usr/replaced'),
    dir('usr/replaced', { mode: 0o700 }),
    file('usr/replaced/new', 'new', { mtime: [NOW - 86_400, 500_000_000] }),
    file('etc/group', 'root:x:0:\nstaff:x:50:alice\nextra:x:60:\n', { mtime: [NOW + 86_400, 0] }),
    dir('home/alice', { uid: 1000, gid: 1000, mode: 0o750 }),
    file('home/alice/.hidden', '', { uid: 1000, gid: 1000, mode: 0 }),
    file('home/alice/na me\n', 'newline', { uid: 70_000, gid: 3_000_000 }),
    file('home/alice/caf\xc3\xa9', 'utf8'),
    file('home/alice/\xff\xfe', 'bytes', { mtime: [-2, 500_000_000] }),
    file('home/alice/sparse', { sizeBytes: 200_000, runs: [{ offset: 100_000, data: 'data' }] }),
    file('home/alice/attributes', 'x', {
      xattrs: [
        ['user.key', '\0\xff\n'],
        ['user.other', '-'],
      ],
    }),
    file('home/alice/[glob]*', 'glob'),
    dir('dev'),
    chardev('dev/null', [1, 3], { mode: 0o666 }),
    chardev('dev/long', [254, 70_000]),
    fifo('dev/pipe', { mode: 0o600 }),
    file('dev/plain', '12345678'),
    dir('empty'),
    dir('home'),
    ...Array.from({ length: 21 }, (_, depth) => dir(`deep${'/directory'.repeat(depth)}`)),
    file(`deep/${'directory/'.repeat(20)}file`, 'deep'),
    // umoci leaves the root with the time of the last change to it otherwise.
    dir('.', { mode: 0o755 }),
  ],
];

export interface FsImage {
  base: string;
  /** LAMINA_ROOT. */
  root: string;
  /** The image as a docker archive, and as an OCI layout with gzip layers. */
  archive: string;
  layout: string;
  /** What umoci unpacked. */
  real: string;
  /** Runs `lamina fs COMMAND IMAGE ARGS`; its output as bytes. */
  fs(command: string, ...args: readonly string[]): Promise<string>;
  /** Runs a GNU command in the unpacked directory, in the C locale; its output as bytes. */
  gnu(command: string, ...args: readonly string[]): string;
  remove(): void;
}

export function canMakeFsImage(): boolean {
  const commands = ['find', 'du', 'tar', 'python3', 'bash', 'umoci'] as const;
  const tools = commands.map((name) => `command ${name}` as const);
  return needs('root', ...tools) && requirement('a built lamina (npm run build)', existsSync(MAIN));
}

export function makeFsImage(): FsImage {
  const base = mkdtempSync(join(tmpdir(), 'lamina-fs-'));
  const [root, archive, layout] = [join(base, 'root'), join(base, 'image.tar'), join(base, 'oci')];
  const real = join(base, 'bundle/rootfs');
  dockerArchive(STACK, archive);
  ociLayout(STACK, layout, { compression: 'gzip' });
  execFileSync('umoci', ['unpack', '--image', `${layout}:latest`, join(base, 'bundle')], { stdio: 'pipe' });
  return {
    base,
    root,
    archive,
    layout,
    real,
    fs: (command, ...args) => laminaOk(['fs', command, archive, ...args], root),
    gnu: (command, ...args) =>
      execFileSync(command, args, {
        cwd: real,
        env: { ...process.env, LC_ALL: 'C' },
        encoding: 'latin1',
        stdio: 'pipe',
      }),
    remove: () => rmSync(base, { recursive: true, force: true }),
  };
}
