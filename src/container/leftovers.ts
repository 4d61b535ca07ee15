/** What servers that were killed left in a work directory (FORMAT.md, "The upper directory"). */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer } from '../bytes.js';
import { isWhiteoutDevice } from '../layer/upper.js';
import type { DiskEntry, OverlayPrefix } from '../layer/upper.js';
import { scanDirectory } from './scan.js';

export interface Leftover {
  /** Below the directory of the container's layer. */
  path: ByteString;
  what: string;
  /** What a repair removes; undefined where the next mount knows better. */
  file: Buffer | undefined;
}

/**
 * Objects that were being made, and copied-up files that wait for more of their names.
 * @param root the upper directory, whose origin tells which TOC it belongs to
 * @param inodeCount of that TOC
 */
export async function leftoversIn(
  work: string,
  prefix: OverlayPrefix,
  root: DiskEntry,
  inodeCount: number,
): Promise<Leftover[]> {
  const made = await namesIn(path.join(work, 'work'));
  const kept = await namesIn(path.join(work, 'links'));
  const key = originOf(root.xattrs.find(({ name }) => name === `${prefix}lamina.origin`)?.value)?.key;
  return [
    ...made
      .filter(
        (entry) => !isWhiteoutDevice(entry) && !entry.xattrs.some(({ name }) => name === `${prefix}whiteout`),
      )
      .map(({ name }) => ({
        path: `work/work/${name}`,
        what: 'left by a server that was killed',
        file: fileOf(work, 'work', name),
      })),
    ...kept.map(({ name }) => {
      const origin = originOf(Buffer.from(name, 'latin1'));
      const isOurs =
        origin !== undefined && origin.key === key && origin.ino >= 1 && origin.ino <= inodeCount;
      return {
        path: `work/links/${name}`,
        what: isOurs
          ? 'names of it may be missing, which the next mount gives it'
          : 'kept for names that it will never get, because the image has no such file',
        file: isOurs ? undefined : fileOf(work, 'links', name),
      };
    }),
  ];
}

async function namesIn(directory: string): Promise<DiskEntry[]> {
  const entries = existsSync(directory) ? await scanDirectory(directory, { depth: 1 }) : [];
  return entries.filter(({ depth }) => depth > 0);
}

const fileOf = (work: string, directory: string, name: ByteString): Buffer =>
  Buffer.concat([Buffer.from(`${path.join(work, directory)}/`), bytesToBuffer(name)]);

function originOf(value: Buffer | undefined): { key: string; ino: number } | undefined {
  const [, key, ino] = /^toc:([0-9a-f]+):([0-9a-f]+)$/.exec(value?.toString('latin1') ?? '') ?? [];
  return key === undefined || ino === undefined ? undefined : { key, ino: Number.parseInt(ino, 16) };
}
