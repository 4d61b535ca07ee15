/** What killed commands left outside of the store: processes, and mounts at places that nobody was told. */
import { abandonedMounts, endAbandonedMount } from '../../container/private-mount.js';
import { orphanedBundles, removeOrphan } from '../../runtime/sweep.js';
import type { Finding } from './finding.js';

export async function checkRunning(): Promise<Finding[]> {
  return [
    ...orphanedBundles().map((orphan) => ({
      ...{ kind: 'leftover' as const, subject: `process ${orphan.name.slice(0, 12)}` },
      what: 'the command that ran it is gone',
      repair: 'it is ended, and its files are removed',
      apply: () => removeOrphan(orphan),
    })),
    ...(await abandonedMounts()).map((mountpoint) => ({
      ...{ kind: 'leftover' as const, subject: mountpoint },
      what: 'the command that mounted here is gone',
      repair: 'it is unmounted',
      apply: () => endAbandonedMount(mountpoint),
    })),
  ];
}
