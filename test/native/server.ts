/** `lamina-fuse serve` as src/mount starts it, but without the rest of Lamina around: for tests of the server alone. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { encodeToc } from '../../src/merge/encode.js';
import { mergeLayers } from '../../src/merge/merge.js';
import { indexSources } from '../helpers/merged-dump.js';
import { SERVER } from '../helpers/server-binary.js';
import { layerTar } from '../helpers/stack.js';
import type { Stack } from '../helpers/stack.js';

export const NATIVE = fileURLToPath(new URL('../../native', import.meta.url));

/** The counters of native/sys/stats.h. */
export interface Counters {
  serverPid: number;
  restarts: number;
  uring: boolean;
  bytesRead: number;
  ioErrors: number;
  takenOver: number;
  /** By FUSE opcode. */
  requests: number[];
}

/** Opcodes of the FUSE protocol (include/uapi/linux/fuse.h). */
export const OPCODE = { lookup: 1, getattr: 3, open: 14, read: 15, write: 16, opendir: 27, readdirplus: 44 };

/** Raises where the file holds no counters. */
export function readCounters(file: string): Counters {
  const bytes = readFileSync(file);
  const at = (offset: number): number => Number(bytes.readBigUInt64LE(offset));
  if (bytes.toString('latin1', 0, 8) !== 'LAMSTAT1') throw new Error('no counters');
  return {
    serverPid: at(16),
    restarts: at(24),
    uring: at(32) === 1,
    bytesRead: at(40),
    ioErrors: at(48),
    takenOver: at(56),
    requests: Array.from({ length: 64 }, (_, opcode) => at(64 + opcode * 8)),
  };
}

/** A directory with the tars and the TOC of a stack; serves it as often as is asked. */
export class ServerBench {
  readonly base = mkdtempSync(join(tmpdir(), 'lamina-native-'));
  readonly mnt = join(this.base, 'mnt');
  readonly toc = join(this.base, 'toc');
  readonly stats = join(this.base, 'stats');
  readonly log = join(this.base, 'log');
  readonly record = join(this.base, 'record');
  readonly #tars: string[] = [];
  #sizes: number[] = [];
  child: ChildProcess | undefined;

  async prepare(stack: Stack): Promise<void> {
    mkdirSync(this.mnt);
    const tars = stack.map(layerTar);
    tars.forEach((tar, index) => {
      this.#tars.push(join(this.base, `layer${index}.tar`));
      writeFileSync(this.#tars[index]!, tar);
    });
    this.#sizes = tars.map((tar) => tar.length);
    const fds = this.#tars.map((tar) => openSync(tar, 'r'));
    const sources = fds.map((fd, index) => ({
      fd,
      offset: 0,
      sizeBytes: this.#sizes[index]!,
      name: `layer ${index}`,
    }));
    writeFileSync(this.toc, await encodeToc(mergeLayers(indexSources(sources, tars))));
    fds.forEach(closeSync);
  }

  /** Starts a server; resolves with its control line. Further arguments stand before the mount point. */
  async serve(options = 'ro', ...args: string[]): Promise<string> {
    writeFileSync(this.record, '');
    const fds = [
      openSync(this.toc, 'r'),
      openSync(this.stats, 'w+'),
      ...this.#tars.map((t) => openSync(t, 'r')),
    ];
    const log = openSync(this.log, 'a');
    const sources = this.#sizes.flatMap((size, index) => ['--source', `${6 + index}:0:${size}`]);
    const common = ['--toc-fd', '4', '--control-fd', '3', '--stats-fd', '5', '--remove', this.record];
    this.child = spawn(
      SERVER,
      ['serve', ...common, ...sources, '--fsname', 'test', '--options', options, ...args, this.mnt],
      {
        detached: true,
        stdio: ['ignore', 'ignore', log, 'pipe', ...fds],
      },
    );
    [...fds, log].forEach((fd) => closeSync(fd));
    let text = '';
    for await (const chunk of (this.child.stdio[3] as Readable).setEncoding('utf8')) text += chunk;
    return text;
  }

  counters(): Counters {
    return readCounters(this.stats);
  }

  isMounted(): boolean {
    return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${this.mnt} `);
  }

  /** Exit status of the supervisor, once it has ended. */
  async ended(): Promise<number | null> {
    const child = this.child!;
    if (child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once('exit', resolve));
    return child.exitCode;
  }

  /** Unmounts whatever is left, and removes everything. */
  remove(): void {
    while (this.isMounted()) spawnSync(SERVER, ['umount', '--force', this.mnt]);
    rmSync(this.base, { recursive: true, force: true });
  }
}
