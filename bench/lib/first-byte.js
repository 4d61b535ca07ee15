/** Seconds from the start of an action to the first byte of a file that the action makes reachable. */
import { closeSync, openSync, readSync } from 'node:fs';

/** `prepare()` may return a mount ({ umount() }), which is unmounted after the clock was stopped. */
export function firstByte(path, prepare) {
  const start = process.hrtime.bigint();
  const mount = prepare();
  try {
    const fd = openSync(path, 'r');
    const count = readSync(fd, Buffer.alloc(1), 0, 1, 0);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    closeSync(fd);
    if (count !== 1) throw new Error(`${path} gave no byte`);
    return seconds;
  } finally {
    mount?.umount();
  }
}
