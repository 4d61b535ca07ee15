/**
 * What is measured. A subject is { name, missing(): reason | undefined, prepare?(image, { work }),
 * mount(image, directory, { work, root? }) }; mount() gives { umount() }; prepare() does what is not to be measured. `image` is as bench/images/build.js describes it.
 */
import { fuseOverlayfs } from './fuse-overlayfs.js';
import { laminaDevFuse, laminaPortable, laminaUring } from './lamina.js';
import { overlayfs } from './overlayfs.js';
import { plainDir } from './plain-dir.js';

export const SUBJECTS = [plainDir, overlayfs, fuseOverlayfs, laminaDevFuse, laminaUring, laminaPortable];

/** Left out unless named: too slow to be interesting next to the others, or known to be. */
export const ONLY_WHEN_NAMED = new Set([laminaPortable.name]);
