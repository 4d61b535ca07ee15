/**
 * From a command to the first byte of a file of a 1 GB image that was mounted before. Stands for starting the next
 * container of an image. For overlayfs and fuse-overlayfs it is a mount of layers that were unpacked long ago, by a
 * program started for it. Does not show the work that was done the first time (see mount-cold).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { firstByte } from '../lib/first-byte.js';

export const mountCached = {
  name: 'mount-cached',
  metrics: ['mount-cached'],
  images: ['app1g'],
  subjects: (chosen) => chosen.filter((subject) => subject.name !== 'plain-dir'),
  async measure(context, subject, image) {
    await context.mounted(subject, image, () => undefined);
    const scratch = mkdtempSync(join(context.work, 'cached-'));
    try {
      const directory = join(scratch, 'mnt');
      const value = firstByte(join(directory, image.sample), () =>
        subject.mount(image, directory, { work: context.work }),
      );
      return [{ metric: 'mount-cached', image: image.name, unit: 's', value }];
    } finally {
      rmSync(scratch, { recursive: true, force: true, maxRetries: 30 });
    }
  },
};
