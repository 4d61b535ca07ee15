/**
 * A lock by name that dies with its process: a Unix socket in a directory that only its user can enter, which one process can
 * be bound to. A socket that a killed process left behind refuses connections and is taken away; two that find one at the same moment
 * may both get in, which spares no work but does no harm: every file of the cache appears by rename(2), whole or not at all.
 */
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';

/**
 * Runs `work` while no other process runs work under the same name in `directory`. `isDone` is asked first, and again after
 * each wait.
 */
export async function withLock<T>(
  directory: string,
  name: string,
  isDone: () => Promise<T | undefined>,
  work: () => Promise<T>,
): Promise<T> {
  const done = await isDone();
  if (done !== undefined) return done;
  // sun_path holds 108 bytes, and the directory may be longer: it is reached through its descriptor.
  const fd = openSync(directory, 'r');
  try {
    for (;;) {
      const held = await bind(address(fd, name));
      if (held === undefined) {
        await untilReleased(address(fd, name), path.join(directory, socketName(name)));
        const doneMeanwhile = await isDone();
        if (doneMeanwhile !== undefined) return doneMeanwhile;
        continue;
      }
      try {
        return (await isDone()) ?? (await work());
      } finally {
        held.release();
      }
    }
  } finally {
    closeSync(fd);
  }
}

function socketName(name: string): string {
  return `${name.slice(0, 40)}.lock`;
}

function address(directoryFd: number, name: string): string {
  return `/proc/self/fd/${directoryFd}/${socketName(name)}`;
}

/** Undefined when another process holds the name, or left its socket behind. */
function bind(address: string): Promise<{ release: () => void } | undefined> {
  return new Promise((resolve, reject) => {
    const waiters = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      waiters.add(socket);
      socket.on('error', () => {}).on('close', () => waiters.delete(socket));
      socket.resume();
    });
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    );
    server.listen(address, () => {
      resolve({
        release: () => {
          // Removes the socket as well.
          server.close();
          for (const socket of waiters) socket.destroy();
        },
      });
    });
  });
}

/** Resolves when the holder lets go or dies: its end of the connection closes. Nobody's socket is removed. */
function untilReleased(address: string, file: string): Promise<void> {
  return new Promise((resolve) => {
    let isRefused = false;
    const socket = net.connect(address);
    socket
      .on('error', (error: NodeJS.ErrnoException) => (isRefused = error.code === 'ECONNREFUSED'))
      .on('close', () => (isRefused ? void rm(file, { force: true }).then(() => resolve()) : resolve()));
    socket.resume();
  });
}
