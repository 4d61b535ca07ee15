/**
 * The real `ls -lR` over a 20-layer image: readdir, lstat, readlink and the xattr questions that ls asks. The one
 * metadata figure that other projects publish (composefs, erofs). Includes ls's own sorting and printing.
 */
import { coldAndWarm } from '../lib/passes.js';
import { timed } from '../lib/system.js';

export const lsLR = {
  name: 'ls-lR',
  metrics: ['ls-lR-cold', 'ls-lR-warm'],
  images: ['layers20'],
  measure: (context, subject, image) =>
    coldAndWarm(context, subject, image, {
      metric: 'ls-lR',
      unit: 's',
      pass: (directory) => ({
        seconds: timed('ls', ['-lR', directory], { env: { ...process.env, LC_ALL: 'C' } }),
        operations: image.entries,
        bytes: 0,
      }),
    }),
};
