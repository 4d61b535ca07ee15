/**
 * From the start of the server program to `ready`: TOC mapped and checked, /dev/fuse opened, mounted, INIT answered. Stands
 * for what a mount costs that the command line does not; the part that a daemon or a container engine would see. Only
 * native servers: fuse-overlayfs is timed until it has put itself into the background.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { timed, unmount } from '../lib/system.js';
import { SERVER } from '../lib/work.js';
import { lamina, withUring } from '../subjects/lamina.js';

/** The merged TOC of the image, made by the command line in a cache of its own. */
function tocOf(image, root, directory) {
  lamina(root, ['mount', '-o', 'verify=none', image.archive, directory], { stdio: 'ignore' });
  lamina(root, ['umount', directory]);
  const [name, ...others] = readdirSync(join(root, 'chains'));
  if (name === undefined || others.length > 0) throw new Error('expected one merged TOC in a new cache');
  return join(root, 'chains', name);
}

/** Seconds until the server says `ready`. */
function serve(tocPath, image, directory, flags) {
  const toc = openSync(tocPath, 'r');
  const data = openSync(image.archive, 'r');
  const sources = image.sources.flatMap(({ offset, sizeBytes }) => ['--source', `5:${offset}:${sizeBytes}`]);
  const args = [
    'serve',
    '--toc-fd',
    '3',
    '--control-fd',
    '4',
    ...sources,
    '--fsname',
    'bench',
    '--options',
    'ro',
  ];
  const start = process.hrtime.bigint();
  const child = spawn(SERVER, [...args, ...flags, directory], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', toc, 'pipe', data],
  });
  for (const fd of [toc, data]) closeSync(fd);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.stdio[4].once('end', () => reject(new Error('the server ended without a word')));
    child.stdio[4].once('data', (line) => {
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      child.unref();
      child.stdio[4].destroy();
      if (String(line).startsWith('ready')) resolve(seconds);
      else reject(new Error(String(line).trim()));
    });
  });
}

export const ready = {
  name: 'ready',
  metrics: ['ready'],
  images: ['layers20'],
  subjects: (chosen) =>
    chosen.filter((subject) => ['lamina', 'lamina-uring', 'fuse-overlayfs'].includes(subject.name)),
  async measure(context, subject, image) {
    const scratch = mkdtempSync(join(context.work, 'ready-'));
    const directory = join(scratch, 'mnt');
    mkdirSync(directory);
    try {
      let value;
      if (subject.name === 'fuse-overlayfs') {
        const lowers = [...image.lowers].reverse().join(':');
        value = timed('fuse-overlayfs', ['-o', `ro,lowerdir=${lowers}`, directory], { stdio: 'ignore' });
      } else {
        const toc = tocOf(image, join(scratch, 'root'), directory);
        const flags = subject.uring ? [] : ['--no-uring'];
        value = await withUring(subject.uring, () => serve(toc, image, directory, flags));
      }
      unmount(directory);
      return [{ metric: 'ready', image: image.name, unit: 's', value }];
    } finally {
      rmSync(scratch, { recursive: true, force: true, maxRetries: 30 });
    }
  },
};
