/**
 * One file of 512 MiB read from its beginning to its end in 1 MiB pieces, the first time through the mount. Stands for
 * model weights, databases and large libraries in an image. Does not show a disk: the source's pages are in memory.
 */
import { join } from 'node:path';

export const firstRead = {
  name: 'first-read',
  metrics: ['first-read-512M'],
  images: ['large512'],
  measure: (context, subject, image) =>
    context.mounted(subject, image, (directory) => {
      const result = context.load('first-read', join(directory, image.sample));
      return [
        {
          metric: 'first-read-512M',
          image: image.name,
          unit: 's',
          value: result.seconds,
          check: `${result.bytes} bytes`,
        },
      ];
    }),
};
