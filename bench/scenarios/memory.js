/**
 * Memory of the serving process after every path of a 20-layer image was listed, looked up and read once. Stands for a host
 * that holds hundreds of mounts. Counted: resident pages of all processes started for the mount that serve it, less the
 * pages of a mapped TOC, which are page cache and shared. Does not count what the kernel keeps for the mount.
 */
import { residentLessToc, serversOf } from '../lib/processes.js';

export const memory = {
  name: 'memory',
  metrics: ['memory-server', 'memory-all'],
  images: ['layers20'],
  subjects: (chosen) => chosen.filter((subject) => !['plain-dir', 'overlayfs'].includes(subject.name)),
  measure: (context, subject, image) =>
    context.mounted(subject, image, (directory) => {
      context.load('walk', directory);
      context.load('stat', directory, image.lists.paths);
      context.load('read-all', directory, image.lists.files);
      const sizes = serversOf(directory).map(residentLessToc);
      if (sizes.length === 0)
        throw new Error(
          `no process is seen to serve ${subject.name}: fdinfo of its /dev/fuse names no fuse_connection`,
        );
      const about = { image: image.name, unit: 'KiB' };
      return [
        { ...about, metric: 'memory-server', value: Math.max(...sizes) },
        { ...about, metric: 'memory-all', value: sizes.reduce((sum, size) => sum + size, 0) },
      ];
    }),
};
