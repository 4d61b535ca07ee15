/** `lamina fs cp IMAGE SRC DEST`: out of the image to the host, with the places that `docker cp` gives things; `-` is a tar on stdout. */
import { closeSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import type { ByteString } from '../../bytes.js';
import { LaminaError } from '../../errors.js';
import type { Located } from '../../merge/view.js';
import { imageCommand, readImage } from './image.js';
import type { ImageFlags, Reading } from './image.js';

interface CpFlags extends ImageFlags {
  followLink?: boolean;
}

export function register(parent: Command): void {
  imageCommand(
    parent,
    'cp',
    "Copy a file or a directory to the host\n\nUse '-' as the destination to stream a tar archive to STDOUT.\nModes, times, links and, for root, owners are kept; extended attributes only in a tar.",
  )
    .usage('[OPTIONS] IMAGE SRC_PATH DEST_PATH|-')
    .argument('<src>')
    .argument('<dest>')
    .option('-L, --follow-link', 'Always follow symbolic link in SRC_PATH')
    .action(async (image: string, src: string, dest: string, flags: CpFlags) => {
      if (dest === '-' && process.stdout.isTTY) {
        throw new LaminaError('EUSAGE', 'cowardly refusing to write a tar to a terminal. Redirect it');
      }
      await readImage(image, flags, async (reading) => {
        const { argumentBytes } = await import('./output.js');
        const source = argumentBytes(src);
        const start = reading.view.locate(source, { follow: flags.followLink === true, syscall: 'lstat' });
        if (dest === '-') await toTar(reading, start);
        else await toDirectory(reading, start, isContent(source), dest);
      });
    });
}

/** `DIR/.` stands for what is in the directory, and so does the root, which has no name. */
function isContent(source: ByteString): boolean {
  return /(^|\/)\.$|^\/*$/.test(source);
}

async function toTar({ view, out }: Reading, start: Located): Promise<void> {
  const [{ writeMergedTar }, { baseName }] = await Promise.all([
    import('../../image/merged-tar.js'),
    import('../../merge/view.js'),
  ]);
  const name = start.path === '/' ? '.' : baseName(start.path);
  await writeMergedTar(view, start, name, (chunk) => out.write(chunk));
}

async function toDirectory(
  { view }: Reading,
  start: Located,
  isContentOnly: boolean,
  dest: string,
): Promise<void> {
  const [{ copyOut, openDirectory }, { baseName }, { displayBytes, utf8ToBytes }] = await Promise.all([
    import('../../image/copy-out.js'),
    import('../../merge/view.js'),
    import('../../bytes.js'),
  ]);
  const isDirectory = view.toc.inode(start.ino).type === 'dir';
  const existing = statSync(dest, { throwIfNoEntry: false });
  let [directory, name]: [string, ByteString | undefined] = [dest, baseName(start.path)];
  if (existing?.isDirectory() === true) {
    if (isDirectory && isContentOnly) name = undefined;
  } else {
    if (!isDirectory && dest.endsWith('/')) {
      throw new LaminaError('ENOTDIR', `${dest} is not a directory`, { path: dest });
    }
    [directory, name] = [path.dirname(dest), utf8ToBytes(path.basename(dest))];
  }
  const fd = openDirectory(directory);
  try {
    const keepOwner = process.getuid?.() === 0;
    const { xattrs, skipped } = await copyOut(view, start, fd, name, { keepOwner });
    if (xattrs > 0) {
      warn(
        `the extended attributes of ${xattrs} file(s) were not copied; use: lamina fs cp IMAGE SRC - | tar -x --xattrs --xattrs-include='*'`,
      );
    }
    for (const skippedPath of skipped) warn(`not made: ${displayBytes(skippedPath)} is a device or a socket`);
  } finally {
    closeSync(fd);
  }
}

function warn(message: string): void {
  process.stderr.write(`lamina: warning: ${message}\n`);
}
