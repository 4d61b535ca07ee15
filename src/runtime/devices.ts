/** The host's devices, which a privileged container sees as well. */
import { lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';

export interface SpecDevice {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

/** What a container has of its own. */
const OWN = new Set([
  'console',
  'full',
  'mqueue',
  'null',
  'ptmx',
  'pts',
  'random',
  'shm',
  'tty',
  'urandom',
  'zero',
]);

export function hostDevices(directory = '/dev'): SpecDevice[] {
  const found: SpecDevice[] = [];
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (directory === '/dev' && OWN.has(entry.name)) continue;
    if (entry.isDirectory() && !/^\/dev\/(fd|\.\w+)$/.test(file)) found.push(...hostDevices(file));
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) continue;
    const { rdev, mode, uid, gid } = lstatSync(file);
    found.push({
      path: file,
      type: entry.isBlockDevice() ? 'b' : 'c',
      // makedev(3), as glibc packs it.
      major: ((rdev >>> 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & ~0xfff),
      minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00),
      fileMode: mode & 0o777,
      uid,
      gid,
    });
  }
  return found;
}
