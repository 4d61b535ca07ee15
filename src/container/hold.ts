/**
 * Makes the changes of a mounted container wait, as `docker commit` stops a container's processes: by the socket of the native server
 * (native/hold_socket.h). Whoever asks for a change meanwhile waits in the call. Reading goes on, but for pages that somebody waits to write, and
 * as long as a thread of the server is free: whoever holds must not use the mount.
 */
import { closeSync, constants, existsSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { MountTable } from '../mount/table.js';

export interface Hold {
  /** How many files are open that the kernel writes by itself (passthrough): these are not held. */
  writers: number;
  release(): void;
}

/** What a change is waited for that is under way; a copy-up of many gigabytes takes longer, and is then not held. */
const TIMEOUT_MS = 30_000;

/** undefined: it is not mounted, or by what cannot hold changes. */
export async function holdChanges(containerId: string): Promise<Hold | undefined> {
  const table = new MountTable();
  const entry = (await table.list()).find(
    ({ record, state }) => record.container === containerId && (state === 'live' || state === 'hidden'),
  );
  const socket = entry === undefined ? undefined : table.file(entry.record.id, 'hold');
  return socket === undefined || !existsSync(socket) ? undefined : askServer(socket);
}

async function askServer(file: string): Promise<Hold | undefined> {
  // Paths of sockets are short (unix(7)).
  const directory = openSync(path.dirname(file), constants.O_RDONLY | constants.O_DIRECTORY);
  const socket = connect(`/proc/self/fd/${directory}/${path.basename(file)}`);
  const release = (): void => void socket.destroy();
  try {
    const line = await new Promise<string>((resolve, reject) => {
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.endsWith('\n')) resolve(text);
      });
      socket.on('error', reject).on('close', () => reject(new Error('closed')));
      socket.setTimeout(TIMEOUT_MS, () => reject(new Error('timed out')));
    });
    const writers = /^held writers=(\d+)\n$/.exec(line)?.[1];
    if (writers !== undefined) {
      socket.setTimeout(0);
      return { writers: Number(writers), release };
    }
  } catch {
    // The mount has ended, or is too busy.
  } finally {
    closeSync(directory);
  }
  release();
  return undefined;
}
