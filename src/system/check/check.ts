/**
 * `system check`: whether the store is what it promises, and a repair that removes only what can be made again, or cannot be read any more. Looking
 * takes no lock. What is found is looked at again under it, since others may have been at work; where that cannot be, as in
 * a store that is read-only, it is said as it was found.
 */
import { sweepPrivateMounts } from '../../container/private-mount.js';
import { LaminaError } from '../../errors.js';
import type { ImageStore } from '../../store/image-store.js';
import { checkBlobs } from './blobs.js';
import { checkContainers } from './containers.js';
import { checkDerived } from './derived.js';
import type { Checked, CheckResult, Finding } from './finding.js';
import { checkRuns } from './runs.js';
import { checkIndex, rebuildIndex } from './rebuild.js';

export type { CheckResult, Finding } from './finding.js';

export async function checkStore(store: ImageStore): Promise<CheckResult> {
  const first = await look(store);
  if (first.findings.length === 0) return first;
  try {
    return await store.update(() => look(store));
  } catch (error) {
    if (error instanceof LaminaError) return first;
    throw error;
  }
}

/**
 * Repairs what can be.
 * @param announce is told of each finding before anything is changed
 * @returns what the store has afterwards
 */
export async function repairStore(
  store: ImageStore,
  announce: (finding: Finding) => void,
): Promise<CheckResult> {
  await sweepPrivateMounts();
  const index = checkIndex(store);
  if (index !== undefined) {
    announce(index);
    await rebuildIndex(store);
  }
  const { findings } = await checkStore(store);
  for (const finding of findings) announce(finding);
  await store.update(async (draft) => {
    // Nobody but us changes blobs and index now: what is wrong is found once more and mended.
    const now = await look(store);
    const announced = new Set(findings.map(keyOf));
    for (const finding of now.findings) if (announced.has(keyOf(finding))) await finding.apply?.(draft);
    draft.collectAfterwards();
  });
  return checkStore(store);
}

function keyOf({ subject, what }: Finding): string {
  return `${subject}\n${what}`;
}

async function look(store: ImageStore): Promise<CheckResult> {
  const checked: Checked = {
    images: 0,
    blobs: 0,
    bytes: 0,
    layers: 0,
    chains: 0,
    containers: 0,
    unreadable: [],
  };
  const index = checkIndex(store);
  if (index !== undefined) return { findings: [index], checked };
  const snapshot = store.snapshot();
  checked.images = snapshot.images.length;
  const findings = [
    ...(await checkBlobs(store, snapshot.entries, checked)),
    ...(await checkDerived(store, snapshot, checked)),
    ...(await checkContainers(store, checked)),
    ...(await checkRuns(store)),
  ];
  return { findings, checked };
}
