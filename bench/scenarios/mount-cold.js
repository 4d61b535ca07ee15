/**
 * From a command with an empty cache to the first byte of a file of a 1 GB image. Stands for the wait before an image that
 * has just been saved or copied can be used; the alternative is to unpack it, by `umoci unpack` of the same layers
 * (uncompressed, the case that suits it best). The archive is in memory.
 * umoci also writes an mtree of what it unpacked. Does not show compressed layers, nor a cold disk.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { firstByte } from '../lib/first-byte.js';
import { hasCommand, run } from '../lib/system.js';

const umoci = {
  name: 'umoci-unpack',
  missing: () => (hasCommand('umoci') ? undefined : 'umoci is not installed'),
};

/** The image as an OCI layout, made once: what `docker save` writes is one, in a tar. */
function layout(image) {
  const directory = join(dirname(image.archive), 'layout');
  if (!existsSync(join(directory, 'oci-layout'))) {
    mkdirSync(directory, { recursive: true });
    run('tar', ['-xf', image.archive, '-C', directory]);
  }
  return directory;
}

export const mountCold = {
  name: 'mount-cold',
  metrics: ['mount-cold'],
  images: ['app1g'],
  subjects: (chosen) => [...chosen.filter((subject) => subject.name.startsWith('lamina')), umoci],
  async measure(context, subject, image) {
    context.warmSources(image);
    const scratch = mkdtempSync(join(context.work, 'cold-'));
    const source = subject === umoci ? layout(image) : undefined;
    try {
      const value =
        subject === umoci
          ? firstByte(join(scratch, 'bundle/rootfs', image.sample), () => {
              run('umoci', ['unpack', '--image', `${source}:latest`, join(scratch, 'bundle')]);
            })
          : firstByte(join(scratch, 'mnt', image.sample), () =>
              subject.mount(image, join(scratch, 'mnt'), { work: context.work, root: join(scratch, 'root') }),
            );
      return [{ metric: 'mount-cold', image: image.name, unit: 's', value }];
    } finally {
      rmSync(scratch, { recursive: true, force: true, maxRetries: 30 });
    }
  },
};
