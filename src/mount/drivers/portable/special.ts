/** Devices, FIFOs and sockets, for which Node has no mknod(2): mknod(1) makes the first two, and binding a socket makes the last. */
import { spawnSync } from 'node:child_process';
import { chmodSync, constants, existsSync, renameSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Place } from './descriptors.js';
import { at } from './descriptors.js';
import { systemError } from './errno.js';

const { S_IFBLK, S_IFCHR } = constants;

/**
 * Makes a device, or a FIFO.
 * @param place a temporary one, whose name is plain text: it is an argument of a program
 * Raises EPERM, and ENOSYS where there is no command mknod.
 */
export function makeDevice(place: Place, type: number, mode: number, rdev: number): void {
  const kind = type === S_IFCHR ? 'c' : type === S_IFBLK ? 'b' : 'p';
  const numbers = [(rdev >>> 8) & 0xfff, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)].map(String);
  const path = at(place).toString('latin1').replace('/proc/self/', `/proc/${process.pid}/`);
  const octal = mode.toString(8).padStart(4, '0');
  const args = ['-m', octal, path, kind, ...(kind === 'p' ? [] : numbers)];
  const { status, error } = spawnSync('mknod', args, { stdio: 'ignore' });
  if (error !== undefined) throw systemError('ENOSYS');
  if (status !== 0) throw systemError('EPERM');
}

/** Makes a socket, in a temporary place. Node removes the name that it bound, when it closes it: by then it is called otherwise. */
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
