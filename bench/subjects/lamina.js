/**
 * Lamina as users have it: the built command line, mounting the archive itself. Three ways to serve: FUSE-over-io_uring
 * (the kernel parameter is set for the mount and put back), /dev/fuse alone, and the portable driver.
 */
import { existsSync, mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { run, setUringEnabled, uringEnabled } from '../lib/system.js';
import { PROJECT } from '../lib/work.js';

export const LAMINA = join(PROJECT, 'dist/cli/main.js');

/** Runs `lamina ...args` with its cache at `root`; -> stdout. */
export function lamina(root, args, options = {}) {
  return run(process.execPath, [LAMINA, ...args], { env: { ...process.env, LAMINA_ROOT: root }, ...options });
}

/** Does something with io_uring allowed or not, and leaves the kernel parameter as it was. */
export function withUring(enabled, action) {
  const before = uringEnabled();
  if (before === undefined || before === enabled) return action();
  setUringEnabled(enabled);
  try {
    return action();
  } finally {
    setUringEnabled(before);
  }
}

function subject(name, { uring, flags }) {
  return {
    name,
    uring,
    flags,
    missing() {
      if (!existsSync(LAMINA)) return 'dist/cli/main.js is not built (npm run build)';
      if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
      if (uring && uringEnabled() === undefined) return 'the kernel has no FUSE-over-io_uring';
      return undefined;
    },
    /** Index and verification done beforehand, so that no measured mount shares the machine with them. */
    prepare(image, { work }) {
      const directory = mkdtempSync(join(work, 'mnt', 'p-'));
      const root = join(work, 'lamina');
      lamina(root, ['mount', '-o', 'verify=before', ...flags, image.archive, directory], { stdio: 'ignore' });
      lamina(root, ['umount', directory]);
      rmdirSync(directory);
    },
    /** `root`: where Lamina caches; by default one directory for the whole work directory. */
    mount(image, directory, { work, root = join(work, 'lamina') }) {
      mkdirSync(directory, { recursive: true });
      mkdirSync(root, { recursive: true });
      withUring(uring, () =>
        lamina(root, ['mount', ...flags, image.archive, directory], { stdio: 'ignore' }),
      );
      return { umount: () => lamina(root, ['umount', directory]) };
    },
  };
}

export const laminaUring = subject('lamina-uring', { uring: true, flags: [] });
export const laminaDevFuse = subject('lamina', { uring: false, flags: ['-o', 'no_uring'] });
export const laminaPortable = subject('lamina-portable', {
  uring: false,
  flags: ['--driver', 'fuse-native'],
});
