/**
 * Lamina as users have it: the built command line, mounting the archive itself. Three ways to serve: FUSE-over-io_uring
 * (the kernel parameter is set for the mount and put back), /dev/fuse alone, and the portable driver.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { counters } from '../lib/requests.js';
import { run, setUringEnabled, unmount, uringEnabled } from '../lib/system.js';
import { PROJECT, SERVER } from '../lib/work.js';

export const LAMINA = join(PROJECT, 'dist/cli/main.js');

/** Runs `lamina ...args` with its cache at `root`; -> stdout. */
export function lamina(root, args, options = {}) {
  const env = { ...process.env, LAMINA_ROOT: root, LAMINA_RUN: join(root, 'run') };
  return run(process.execPath, [LAMINA, ...args], { env, ...options });
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

/** The file in which the server of a mount that the command line made keeps its counters. */
function statsOf(root, directory) {
  const id = createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 12);
  return join(root, 'run/mounts', `${id}.stats`);
}

/**
 * The server's counters (native/sys/stats.h) must say that the mount was served in the way that its row names, by one server
 * that never died and met no error.
 */
function checkStats(root, directory, uring) {
  checkCounters(counters(statsOf(root, directory)), uring);
}

function checkCounters({ restarts, uring: viaUring, ioErrors }, uring) {
  if (restarts > 0 || ioErrors > 0)
    throw new Error(`the server died ${restarts} times, met ${ioErrors} errors`);
  if (viaUring !== uring) {
    throw new Error(`meant to be served ${uring ? 'by' : 'without'} io_uring, and was not`);
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
      return {
        umount() {
          try {
            if (name !== 'lamina-portable') checkStats(root, directory, uring);
          } finally {
            lamina(root, ['umount', directory]);
          }
        },
      };
    },
    ...(name !== 'lamina-portable' && { mountWritable: writableStack(uring) }),
  };
}

/** The program as fuse-overlayfs's drop-in: the same unpacked layers, the upper and the work directory that the peers get. */
const writableStack =
  (uring) =>
  (image, directory, { upper, workdir, scratch, options }) => {
    const stats = join(scratch, 'stats');
    const layers = `lowerdir=${[...image.lowers].reverse().join(':')},upperdir=${upper},workdir=${workdir}`;
    withUring(uring, () =>
      run(
        SERVER,
        ['-o', [layers, `stats=${stats}`, ...(uring ? [] : ['no_uring']), ...options].join(','), directory],
        {
          stdio: 'ignore',
        },
      ),
    );
    return {
      counters: () => counters(stats),
      umount() {
        const last = counters(stats);
        unmount(directory);
        checkCounters(last, uring);
      },
    };
  };

/**
 * A new container of the image's archive, by `lamina mount --rw` as root: kernel overlayfs over the image as EROFS, and no server. Its upper
 * lies where Lamina keeps what is its own, so that is put into the place of the sample. Nothing is verified meanwhile: that
 * would be another load.
 */
export const laminaImage = {
  name: 'lamina-image',
  missing: () => laminaDevFuse.missing(),
  mountWritable(image, directory, { scratch, options }) {
    const root = join(scratch, 'root');
    mkdirSync(root);
    const list = ['verify=none', 'suid', 'dev', ...options].join(',');
    const driver = ['--driver', 'overlay'];
    lamina(root, ['mount', '--rw', ...driver, '-o', list, image.archive, directory], { stdio: 'ignore' });
    return { umount: () => void lamina(root, ['umount', directory]) };
  },
};

export const laminaUring = subject('lamina-uring', { uring: true, flags: [] });
export const laminaDevFuse = subject('lamina', { uring: false, flags: ['-o', 'no_uring'] });
export const laminaPortable = subject('lamina-portable', {
  uring: false,
  flags: ['--driver', 'fuse-native'],
});
