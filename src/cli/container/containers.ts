/** What every container command does first. Modules are loaded when a command runs, not when it is listed. */
import type { ContainerPlace, ContainerStore } from '../../container/store.js';
import { LaminaError } from '../../errors.js';
import { visibleLines } from '../output/visible.js';

export async function openStore(): Promise<ContainerStore> {
  const { ContainerStore } = await import('../../container/store.js');
  return new ContainerStore();
}

/** Does `work` for each name; one that fails does not keep the others from being done, but gives the exit status. */
export async function forEach(
  names: readonly string[],
  work: (name: string) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  for (const name of names) {
    try {
      await work(name);
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
      failures.push(error);
    }
  }
  const last = failures.pop();
  for (const error of failures as LaminaError[]) {
    process.stderr.write(`lamina: ${visibleLines(error.message)} [${error.code}]\n${error.hint}\n`);
  }
  if (last !== undefined) throw last;
}

/** Directories on which a container is mounted, as this user's table of mounts knows them. */
export async function mountpointsOf({ id }: ContainerPlace): Promise<string[]> {
  const { MountTable } = await import('../../mount/table.js');
  const entries = await new MountTable().list();
  return entries
    .filter(({ record, state }) => record.container === id && state !== 'failed')
    .map(({ record }) => record.mountpoint);
}
