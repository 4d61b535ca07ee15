/** The options of lamina-fuse that fuse-overlayfs has not: what is counted says that each does what it says. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withUring } from '../helpers/drop-in.js';
import { needs, requirement } from '../helpers/require.js';
import { isServerBuilt } from '../helpers/server-binary.js';
import { DropIn } from '../helpers/side-by-side.js';
import type { CommandOutcome } from '../helpers/side-by-side.js';
import type { Counters } from '../native/server.js';
import { OPCODE, readCounters } from '../native/server.js';

const able = needs('root', '/dev/fuse') && requirement('the built server (npm run build)', isServerBuilt());
const hasUring =
  able &&
  requirement('FUSE over io_uring', readdirSync('/sys/module/fuse/parameters').includes('enable_uring'));

describe.skipIf(!able)('options of our own', () => {
  let bench: DropIn;
  beforeEach(() => {
    bench = new DropIn('echo lower > old');
  });
  afterEach(() => bench.remove());

  const mount = (options: string): void => {
    expect(bench.mount('lamina', options)).toEqual({ status: 0, stdout: '', stderr: '' });
  };
  const counted = (): Counters => readCounters(join(bench.base, 'counters'));
  /** What a write to a new file and to one of the lower layer cost, in requests of these kinds. */
  const writing = (): Record<'open' | 'write', number> => {
    const before = counted().requests;
    for (const name of ['new', 'old']) {
      writeFileSync(join(bench.mnt, name), Buffer.alloc(100_000, name));
      expect(readFileSync(join(bench.mnt, name)).equals(Buffer.alloc(100_000, name))).toBe(true);
      expect(readFileSync(join(bench.base, 'u', name)).equals(Buffer.alloc(100_000, name))).toBe(true);
    }
    const { requests } = counted();
    return {
      open: requests[OPCODE.open]! - before[OPCODE.open]!,
      write: requests[OPCODE.write]! - before[OPCODE.write]!,
    };
  };

  it('stats: the file counts the requests of this mount, and is not touched where it cannot be', () => {
    mount('stats=counters,no_uring');
    const before = counted();
    expect(before).toMatchObject({ restarts: 0, ioErrors: 0 });
    expect(readFileSync(`/proc/${before.serverPid}/comm`, 'latin1')).toBe('lamina-fuse\n');
    bench.inside('cat old; ls none1 none2 none3');
    const after = counted();
    expect(after.requests[OPCODE.lookup]! - before.requests[OPCODE.lookup]!).toBe(4);
    expect(after.bytesRead - before.bytesRead).toBe('lower\n'.length);
    bench.umount();
    const refused: CommandOutcome = bench.mount('lamina', 'stats=none/counters');
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/\/none(\/counters)?: No such file/),
    });
    expect(bench.options()).toBeUndefined();
  });

  it('threads: so many read requests', () => {
    const threadsWith = (count: number): number => {
      mount(`no_uring,stats=counters,threads=${count}`);
      // Each thread stands ready before the mount does.
      const threads = readdirSync(`/proc/${counted().serverPid}/task`).length;
      bench.inside('for i in $(seq 50); do cat old & done; wait');
      bench.umount();
      return threads;
    };
    expect(threadsWith(7) - threadsWith(2)).toBe(5);
    for (const bad of ['0', '257', '-1', '2x', ''])
      expect(bench.mount('lamina', `threads=${bad}`)).toMatchObject({
        status: 1,
        stderr: `lamina-fuse: threads is not a number from 1 to 256: ${bad}\n`,
      });
  });

  it.skipIf(!hasUring)('no_uring: requests come by /dev/fuse though the kernel allows io_uring', () =>
    withUring('Y', async () => {
      mount('stats=counters');
      bench.inside('cat old');
      expect(counted().uring).toBe(true);
      bench.umount();
      mount('stats=counters,no_uring');
      bench.inside('cat old');
      expect(counted().uring).toBe(false);
    }),
  );

  it('no_passthrough: the server writes, and after the first file none is opened', () => {
    mount('stats=counters,no_passthrough,nosuid');
    bench.inside('cat old');
    const { open, write } = writing();
    expect(open).toBe(0);
    expect(write).toBeGreaterThanOrEqual(2);
  });

  it('passthrough: the kernel writes to what was opened, by whichever way requests come', async () => {
    for (const uring of hasUring ? (['Y', 'N'] as const) : (['N'] as const)) {
      await withUring(uring, async () => mount('stats=counters,passthrough'));
      expect(counted().uring).toBe(uring === 'Y');
      const { open, write } = writing();
      expect(open).toBeGreaterThan(0);
      expect(write).toBe(0);
      bench.umount();
    }
  });

  it.skipIf(!hasUring)('is on by itself where io_uring is used', () =>
    withUring('Y', async () => {
      for (const [options, passes] of [
        ['nosuid', true],
        ['suid', true],
        ['nosuid,no_passthrough', false],
        ['nosuid,no_uring', false],
      ] as const) {
        mount(`stats=counters,${options}`);
        bench.inside('cat old');
        expect([options, writing().write === 0]).toEqual([options, passes]);
        bench.umount();
      }
    }),
  );
});
