/** Lamina itself, as `lamina mount` has it: with what the kernel allows, and once more without FUSE-over-io_uring. */
import { existsSync, readFileSync } from 'node:fs';
import { LaminaError } from '../../errors.js';
import { mountOpened } from '../../image/mount.js';
import { parseMountOptions } from '../../mount/options.js';
import { MountTable } from '../../mount/table.js';
import type { Preparation, Session, Subject, Target } from '../subject.js';
import type { WorkDirectory } from '../work-directory.js';
import { MountSession } from './mounted.js';

const URING = '/sys/module/fuse/parameters/enable_uring';

/** Whether the kernel allows FUSE-over-io_uring; the parameter is root's to set, and is only read here. */
export function isUringAllowed(): boolean {
  try {
    return readFileSync(URING, 'utf8').trim() === 'Y';
  } catch {
    return false;
  }
}

export class Lamina implements Subject {
  readonly name: string;
  about?: string;

  constructor(
    private readonly work: WorkDirectory,
    private readonly signal: AbortSignal,
    private readonly preparations: ReadonlyMap<Target, Preparation>,
    private readonly uring: boolean,
  ) {
    this.name = uring ? 'lamina' : 'lamina-no-uring';
  }

  missing(): string | undefined {
    if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
    if (this.uring || isUringAllowed()) return undefined;
    return 'the kernel does not allow FUSE-over-io_uring, so that "lamina" runs without it already';
  }

  /** Opening the image is all: it was done to list it. */
  async prepare(target: Target): Promise<Preparation> {
    return this.preparations.get(target) ?? { seconds: 0, bytes: 0 };
  }

  async open(target: Target): Promise<Session> {
    const directory = this.work.directory('m');
    const options = parseMountOptions([this.uring ? '' : 'no_uring'], false, process.getuid?.() === 0);
    const mounted = await mountOpened(target.opened, directory, options, 'native');
    mounted.release();
    const statsFile = new MountTable().file(mounted.record.id, 'stats');
    this.about = counters(statsFile).uring ? 'FUSE-over-io_uring' : '/dev/fuse';
    return new MountSession(this.name, directory, this.signal, () => checkCounters(this.name, statsFile));
  }
}

/** native/sys/stats.h */
function counters(file: string): { restarts: number; uring: boolean; ioErrors: number } {
  const record = readFileSync(file);
  const at = (offset: number): number => Number(record.readBigUInt64LE(offset));
  return { restarts: at(24), uring: at(32) === 1, ioErrors: at(48) };
}

/** A server that died and was replaced, or could not read, has measured something else. */
function checkCounters(name: string, file: string): void {
  const { restarts, ioErrors } = counters(file);
  if (restarts > 0 || ioErrors > 0)
    throw new LaminaError('EBENCH', `${name}: the server died ${restarts} times and met ${ioErrors} errors`);
}
