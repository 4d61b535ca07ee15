/** The images that scenarios run on, by name. What each is meant to be like is said where it is described. */
import { buildImage } from './build.js';
import { applicationStack, Stack } from './stack.js';

const MiB = 1024 * 1024;

/** 20 layers, 65,400 paths, about 780 MB: a large application image; half of the files are smaller than 4 KiB. */
const layers20 = {
  name: 'layers20',
  describe: () =>
    applicationStack({
      seed: 20,
      entries: 65400,
      sizes: { medianBytes: 4096, sigma: 1.52, maxBytes: 8 * MiB },
      layers: Array.from({ length: 20 }, (_, index) =>
        index === 0
          ? {
              directories: 1600,
              files: 18000,
              replaced: 0,
              deletedFiles: 0,
              deletedDirectories: 0,
              opaque: 0,
            }
          : {
              directories: 200,
              files: 2250,
              replaced: 60,
              deletedFiles: 40,
              deletedDirectories: 2,
              opaque: 1,
            },
      ),
    }),
};

/** 1 GB, 25,000 paths, 6 layers: what a person has who ran `docker save` on a service with a few large libraries. */
const app1g = {
  name: 'app1g',
  keepLayerTars: true,
  describe: () =>
    applicationStack({
      seed: 1,
      entries: 25000,
      sizes: { medianBytes: 6144, sigma: 2.03, maxBytes: 48 * MiB },
      layers: [
        { directories: 900, files: 6500, replaced: 0, deletedFiles: 0, deletedDirectories: 0, opaque: 0 },
        { directories: 500, files: 5000, replaced: 150, deletedFiles: 60, deletedDirectories: 3, opaque: 1 },
        { directories: 700, files: 8000, replaced: 40, deletedFiles: 20, deletedDirectories: 1, opaque: 1 },
        { directories: 10, files: 60, replaced: 20, deletedFiles: 5, deletedDirectories: 0, opaque: 0 },
        { directories: 150, files: 2500, replaced: 30, deletedFiles: 200, deletedDirectories: 2, opaque: 1 },
        { directories: 30, files: 0, replaced: 10, deletedFiles: 10, deletedDirectories: 1, opaque: 0 },
      ],
    }),
};

/** One file of 512 MiB over a small base: the model weights or the database dump inside an image. */
const large512 = {
  name: 'large512',
  sample: 'data/large.bin',
  describe() {
    const stack = new Stack();
    stack.nextLayer();
    for (let i = 0; i < 64; i++) stack.file(`base/${i % 4}/file${i}`, 4096);
    stack.nextLayer();
    stack.file('data/large.bin', 512 * MiB);
    return stack;
  },
};

/**
 * 21,800 paths in 3 layers, about 100 MB: what write scenarios have below them, so that names are looked up and
 * directories merged as in a container of a small image.
 */
const base3 = {
  name: 'base3',
  describe: () =>
    applicationStack({
      seed: 3,
      entries: 21800,
      sizes: { medianBytes: 2048, sigma: 1.2, maxBytes: 1 * MiB },
      layers: [
        { directories: 1200, files: 12000, replaced: 0, deletedFiles: 0, deletedDirectories: 0, opaque: 0 },
        { directories: 400, files: 6000, replaced: 100, deletedFiles: 60, deletedDirectories: 2, opaque: 1 },
        { directories: 200, files: 0, replaced: 100, deletedFiles: 60, deletedDirectories: 2, opaque: 1 },
      ],
    }),
};

/** One file of 1 GiB over a small base: the database inside an image, whose owner an entry point sets. */
const large1g = {
  name: 'large1g',
  sample: 'data/large.bin',
  describe() {
    const stack = new Stack();
    stack.nextLayer();
    for (let i = 0; i < 64; i++) stack.file(`base/${i % 4}/file${i}`, 4096);
    stack.nextLayer();
    stack.file('data/large.bin', 1024 * MiB);
    return stack;
  },
};

export const DEPTHS = [1, 2, 8, 32, 64, 127];

/**
 * The same 8,192 files in 128 directories, dealt out over N layers, so that at 127 layers each directory is made of 64.
 * Only how the tree is layered differs.
 */
function depth(layers) {
  return {
    name: `depth-${layers}`,
    describe() {
      const stack = new Stack();
      for (let layer = 0; layer < layers; layer++) {
        stack.nextLayer();
        for (let d = 0; d < 128; d++) {
          for (let f = 0; f < 64; f++) {
            if ((d + f) % layers === layer) stack.file(`usr/d${d}/f${f}`, 2048, d * 64 + f + 1);
          }
        }
      }
      return stack;
    },
  };
}

const RECIPES = new Map(
  [layers20, app1g, large512, base3, large1g, ...DEPTHS.map(depth)].map((recipe) => [recipe.name, recipe]),
);

/** The image of that name, built if need be; its shape: build.js. */
export function image(work, name) {
  const recipe = RECIPES.get(name);
  if (recipe === undefined) throw new Error(`no image ${name}; there are ${[...RECIPES.keys()].join(', ')}`);
  return buildImage(work, recipe);
}
