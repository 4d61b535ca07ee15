/**
 * chmod -R over 21,800 paths of lower layers, which nobody has touched before. Stands for entry points that set owner or
 * mode of an application's directory. Every file is copied up with its attributes alone where the subject can (metacopy).
 * Does not show the later write to such a file.
 */
import { eachPlace } from '../lib/writable.js';

export const chmod = {
  name: 'chmod',
  group: 'write',
  metrics: ['chmod-R'],
  images: ['base3'],
  measure: (context, subject, image) =>
    eachPlace(context, subject, image, { lower: true }, (steps) => {
      steps.program('chmod-R', image.entries, 'chmod', ['-R', 'g+w,o-r', steps.directory]);
    }),
};
