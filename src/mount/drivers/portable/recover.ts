/**
 * What the portable driver leaves to the next mount when it is killed at the wrong moment (undo.ts), where that mount is another
 * driver's, which knows nothing of it.
 */
import { closeSync, constants, openSync } from 'node:fs';
import type { WritableLayer } from '../native.js';
import { tryLock } from './lock.js';
import { Undo } from './undo.js';
import { keepsOverrides, Upper } from './upper.js';
import { loadXattrs, XattrNames } from './xattrs.js';

/** Does nothing while the layer is mounted: whoever has it has done this. */
export async function recoverLayer(layer: WritableLayer): Promise<void> {
  await loadXattrs();
  const open = (directory: string): number => openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const [upperFd, workFd] = [open(layer.upperDirectory), open(layer.workDirectory)];
  try {
    if (!tryLock(workFd)) return;
    const xattrs = new XattrNames(layer.userXattrs ? 'user.overlay.' : 'trusted.overlay.');
    const upper = new Upper({ upperFd, workFd, xattrs, overrides: keepsOverrides(upperFd) });
    new Undo(upper, workFd).recover();
    upper.close();
  } finally {
    closeSync(upperFd);
    closeSync(workFd);
  }
}
