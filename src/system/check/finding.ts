/** What a check of the store finds. */
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
}

export interface CheckResult {
  findings: Finding[];
  checked: Checked;
}
