/**
 * What is measured. A subject is { name, missing(): reason | undefined, prepare?(image, { work }),
 * mount?(image, directory, { work, root? }), mountWritable?(image, directory, { work, upper, workdir, scratch, lower,
 * options }) }. Both mounts give { umount() }, a writable one of Lamina's also counters(); prepare() does what is not to be
 * measured. `image` is as bench/images/build.js describes it; the directories of a writable mount: bench/lib/writable.js.
 */
import { fuseOverlayfs } from './fuse-overlayfs.js';
import { laminaDevFuse, laminaImage, laminaPortable, laminaUring } from './lamina.js';
import { overlayfs } from './overlayfs.js';
import { plainDir } from './plain-dir.js';

export const SUBJECTS = [
  plainDir,
  overlayfs,
  fuseOverlayfs,
  laminaDevFuse,
  laminaUring,
  laminaImage,
  laminaPortable,
];

/** Left out unless named: too slow to be interesting next to the others, or the same server in another way. */
export const ONLY_WHEN_NAMED = new Set([laminaPortable.name, laminaImage.name]);
