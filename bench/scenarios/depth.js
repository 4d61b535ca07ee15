/**
 * lstat of the same 8,321 paths, and of names that are missing, in images of 1 to 127 layers. Stands for the question
 * whether a deep image is slower than a flat one. Each directory is spread over up to 64 layers, more than most real images
 * have: it shows the slope, not a typical case.
 */
import { coldAndWarm } from '../lib/passes.js';
import { DEPTHS } from '../images/recipes.js';

export const depth = {
  name: 'depth',
  metrics: ['depth-stat-cold', 'depth-stat-warm', 'depth-negative-cold', 'depth-negative-warm'],
  images: DEPTHS.map((layers) => `depth-${layers}`),
  async measure(context, subject, image) {
    const measurements = [];
    for (const [metric, list] of [
      ['stat', image.lists.paths],
      ['negative', image.lists.missing],
    ]) {
      const both = await coldAndWarm(context, subject, image, {
        metric: `depth-${metric}`,
        unit: 'us',
        pass: (directory) => context.load(metric, directory, list),
      });
      measurements.push(...both);
    }
    return measurements;
  },
};
