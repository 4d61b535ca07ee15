/** What a build is asked for, and what it is given by whoever asks. */
import type { OpenedImage } from '../image/open.js';
import type { Platform } from '../oci/platform.js';
import type { Reference } from '../oci/reference.js';
import type { ImageStore } from '../store/image-store.js';
import type { BuildProgress } from './progress.js';
import type { Secrets } from './run-mounts.js';
import type { BuildArgs } from './scope.js';

export interface BuildOptions {
  store: ImageStore;
  names: readonly Reference[];
  /** The last stage when undefined. */
  target: string | undefined;
  args: BuildArgs;
  labels: readonly (readonly [name: string, value: string])[];
  platform: Platform;
  /** Nothing that was built before is taken. */
  noCache: boolean;
  /** All that was built becomes one layer. */
  squash: boolean;
  /** Of commands that do not say otherwise. */
  network: 'host' | 'none';
  addHosts: readonly string[];
  secrets: Secrets;
  /** SOURCE_DATE_EPOCH: the time of the image, and the latest of its files. */
  epochSec: number | undefined;
  /** Finds or fetches the image that FROM or --from names. It is closed by the build. */
  openImage(name: string, platform: string | undefined): Promise<OpenedImage>;
  progress: BuildProgress;
  /** Ends what runs. */
  abort?: AbortSignal;
}
