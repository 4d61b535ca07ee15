/** How many FUSE requests a Lamina server has had, from its counters (native/sys/stats.h). */
import { readFileSync } from 'node:fs';

const OPCODES = {
  1: 'LOOKUP', 3: 'GETATTR', 4: 'SETATTR', 5: 'READLINK', 6: 'SYMLINK', 8: 'MKNOD', 9: 'MKDIR', 10: 'UNLINK',
  11: 'RMDIR', 12: 'RENAME', 13: 'LINK', 14: 'OPEN', 15: 'READ', 16: 'WRITE', 17: 'STATFS', 18: 'RELEASE',
  20: 'FSYNC', 21: 'SETXATTR', 22: 'GETXATTR', 23: 'LISTXATTR', 24: 'REMOVEXATTR', 25: 'FLUSH', 27: 'OPENDIR',
  28: 'READDIR', 29: 'RELEASEDIR', 30: 'FSYNCDIR', 31: 'GETLK', 32: 'SETLK', 33: 'SETLKW', 34: 'ACCESS',
  35: 'CREATE', 39: 'IOCTL', 43: 'FALLOCATE', 44: 'READDIRPLUS', 45: 'RENAME2', 46: 'LSEEK',
  47: 'COPY_FILE_RANGE', 50: 'SYNCFS', 51: 'TMPFILE', 52: 'STATX',
}; // prettier-ignore

/** FORGET, INTERRUPT and BATCH_FORGET: nobody waits for an answer. */
const UNANSWERED = new Set([2, 36, 42]);

/** -> { uring, restarts, ioErrors, byOpcode: 64 numbers } of the counters' file. */
export function counters(path) {
  const record = readFileSync(path);
  if (record.toString('latin1', 0, 8) !== 'LAMSTAT1') throw new Error('the server keeps no counters');
  const at = (offset) => Number(record.readBigUInt64LE(offset));
  return {
    restarts: at(24),
    uring: at(32) === 1,
    ioErrors: at(48),
    byOpcode: Array.from({ length: 64 }, (_, opcode) => at(64 + 8 * opcode)),
  };
}

/** What came between two counts: { total, NAME: count, ... }, without requests that have no answer. */
export function between(before, after) {
  const counts = {};
  let total = 0;
  for (let opcode = 0; opcode < 64; opcode++) {
    const count = after.byOpcode[opcode] - before.byOpcode[opcode];
    if (count === 0 || UNANSWERED.has(opcode)) continue;
    counts[OPCODES[opcode] ?? `opcode-${opcode}`] = count;
    total += count;
  }
  return { total, ...counts };
}
