/**
 * A lock by name that dies with its process: an abstract Unix socket (unix(7)), which only one process can be bound to.
 * It spares double work; it is not what correctness rests on: every file of the cache appears by rename(2), whole or not at all.
 */
import net from 'node:net';

/** Runs `work` while no other process runs work under the same name. `isDone` is asked first, and again after each wait. */
export async function withLock<T>(
  name: string,
  isDone: () => Promise<T | undefined>,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    const done = await isDone();
    if (done !== undefined) return done;
    const server = await bind(name);
    if (server === undefined) {
      await untilReleased(name);
      continue;
    }
    try {
      return (await isDone()) ?? (await work());
    } finally {
      server.release();
    }
  }
}

function address(name: string): string {
  return `\0lamina-lock/${name}`;
}

/** Undefined when another process holds the name. */
function bind(name: string): Promise<{ release: () => void } | undefined> {
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
    server.listen(address(name), () => {
      resolve({
        release: () => {
          server.close();
          for (const socket of waiters) socket.destroy();
        },
      });
    });
  });
}

/** Resolves when the holder lets go or dies: its end of the connection closes. */
function untilReleased(name: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(address(name));
    socket.on('error', () => {}).on('close', () => resolve());
    socket.resume();
  });
}
