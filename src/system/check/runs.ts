/** What killed commands left of what ran: processes, mounts and directories that nobody looks after. */
import { ContainerStore } from '../../container/store.js';
import { processStart } from '../../mount/table.js';
import { finishOrphan } from '../../runtime/prepare.js';
import { containerState } from '../../runtime/state.js';
import { orphanedBundles } from '../../runtime/sweep.js';
import type { ImageStore } from '../../store/image-store.js';
import type { Finding } from './finding.js';

export async function checkRuns(images: ImageStore): Promise<Finding[]> {
  const store = new ContainerStore(images.root);
  const findings: Finding[] = [];
  for (const orphan of orphanedBundles())
    findings.push({
      kind: 'leftover',
      subject: orphan.container === undefined ? `run ${orphan.name}` : `container ${orphan.container}`,
      what: 'who ran it is gone, and left its directory, and perhaps processes and a mount',
      repair: 'what still runs is ended, and the rest removed',
      apply: () => finishOrphan(store, orphan),
    });
  for (const record of await store.list()) {
    const state = containerState(store, record);
    // It was to be removed at its end, and whoever was to do that is gone.
    const { autoRemove, madeBy } = record.settings ?? {};
    const isStarting = madeBy === undefined || processStart(madeBy.pid) === madeBy.pidStart;
    const isForgotten =
      autoRemove === true &&
      state.status !== 'running' &&
      !state.isHeld &&
      (state.startedAt !== undefined || !isStarting);
    const hasOrphan = findings.some(({ subject }) => subject === `container ${record.id}`);
    if (!isForgotten || hasOrphan) continue;
    findings.push({
      kind: 'leftover',
      subject: `container ${record.id}`,
      what: 'it was to be removed at its end (--rm)',
      repair: 'it is removed',
      apply: async () => {
        if (!(await store.isMounted(record))) await store.remove(record);
      },
    });
  }
  return findings;
}
