/** Starting in the background, for `start` and `restart`. */
import type { ContainerStore } from '../../container/store.js';
import { runDetached } from '../../runtime/detached.js';
import { prepareContainer } from '../../runtime/prepare.js';
import { containerState } from '../../runtime/state.js';
import type { ContainerRecord } from '../../store/container-record.js';

/** One that runs is left as it is, as docker does. */
export async function startContainer(store: ContainerStore, record: ContainerRecord): Promise<void> {
  if (containerState(store, record).status === 'running') return;
  await runDetached(await prepareContainer(store, record));
}
