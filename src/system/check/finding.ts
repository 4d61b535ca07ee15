/** What a check of the store finds. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../../errors.js';
import { namesIn } from '../../store/blobs.js';
import type { Draft } from '../../store/image-store.js';

export interface Finding {
  /** `damage`: something is not what it promises. `leftover`: takes room, and nothing needs it; a killed process leaves such. */
  kind: 'damage' | 'leftover';
  /** A file below the store, a digest, a name or a container. */
  subject: string;
  what: string;
  /** What a repair does, in words; absent where only a person can mend it. */
  repair?: string;
  /** Does it, under the store's lock. */
  apply?: (draft: Draft) => Promise<void> | void;
}

export interface Checked {
  images: number;
  blobs: number;
  /** Of blobs and inflated layers. */
  bytes: number;
  layers: number;
  chains: number;
  containers: number;
  /** What this user may not read, and was therefore not looked at. */
  unreadable: string[];
}

export interface CheckResult {
  findings: Finding[];
  checked: Checked;
}

/** Names in a directory of the store; one that this user may not read is noted, and has none. */
export function readableNames(root: string, directory: string, checked: Checked): string[] {
  try {
    return namesIn(path.join(root, directory));
  } catch (error) {
    if (!(error instanceof LaminaError) || error.code !== 'EACCES') throw error;
    checked.unreadable.push(directory);
    return [];
  }
}

/** Of derived data: its repair is to remove it. `name` is below the store. */
export function removing(
  root: string,
  name: string,
  what: string,
  kind: Finding['kind'] = 'damage',
): Finding {
  return {
    ...{ kind, subject: name, what },
    repair: kind === 'damage' ? 'it is removed, and made again when needed' : 'it is removed',
    apply: () => rmSync(path.join(root, name), { recursive: true, force: true }),
  };
}
