/**
 * What Node has no calls for. Devices and FIFOs are made by mknod(1), sockets by binding one, and a file that is only open gets a
 * name by ln(1). Arguments of programs are text, so places are temporary ones, with plain names.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, constants, existsSync, fstatSync, renameSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Place } from './descriptors.js';
import { at, byDescriptor } from './descriptors.js';
import { systemError } from './errno.js';

const { S_IFBLK, S_IFCHR } = constants;

/** Makes a device, or a FIFO. Raises EPERM, and ENOSYS where there is no command mknod. */
export function makeDevice(place: Place, type: number, mode: number, rdev: number): void {
  const kind = type === S_IFCHR ? 'c' : type === S_IFBLK ? 'b' : 'p';
  const numbers = [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)].map(String);
  run('mknod', ['-m', '0000', forOthers(at(place)), kind, ...(kind === 'p' ? [] : numbers)]);
  // mknod(1) takes permissions alone.
  if (mode !== 0) chmodSync(at(place), mode);
}

/** linkat(2) of what a descriptor holds. Raises ENOENT when it has no name left, and ENOSYS where there is no command ln. */
export function linkDescriptor(fd: number, place: Place): void {
  if (fstatSync(fd).nlink === 0) throw systemError('ENOENT');
  run('ln', ['-L', forOthers(byDescriptor(fd)), forOthers(at(place))]);
}

function run(command: string, args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: 'ignore' });
  if (error !== undefined) throw systemError('ENOSYS');
  if (status !== 0) throw systemError('EPERM');
}

/** A path of this process's descriptors, for another process. */
function forOthers(path: string | Buffer): string {
  return path.toString('latin1').replace('/proc/self/', `/proc/${process.pid}/`);
}

/** Makes a socket. Node removes the name that it bound, when it closes it: by then it is called otherwise. */
export function makeSocket(place: Place, mode: number): void {
  const bound = at({ dir: place.dir, name: `${place.name}-bound` });
  const server = createServer();
  server.on('error', () => {});
  // Bound when this returns; `listening` comes later.
  server.listen(bound.toString('latin1'));
  try {
    if (!existsSync(bound)) throw systemError('EIO');
    chmodSync(bound, mode);
    renameSync(bound, at(place));
  } catch (error) {
    if (existsSync(bound)) unlinkSync(bound);
    throw error;
  } finally {
    server.close();
  }
}
