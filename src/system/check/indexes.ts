/** Checkpoint indexes of a layer (registry/lazy/index-files.ts) against the tar that they are of. They can be made again. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { LaminaError } from '../../errors.js';
import { decodeIndex, piecesOf } from '../../layer/lazy/checkpoints.js';
import { readSource } from '../../tar/source.js';
import type { ByteSource } from '../../tar/source.js';
import { namesIn } from '../../store/blobs.js';
import { removing } from './finding.js';
import type { Finding } from './finding.js';

const FILE = /^(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})\.(index|windows)$/;

/** @param name of the layer's directory, below `layers`; @param tar its plain tar, where that is there */
export function checkIndexes(root: string, name: string, tar: ByteSource | undefined): Finding[] {
  const directory = path.join(root, 'layers', name);
  return namesIn(directory).flatMap((file) => {
    const [, blob, kind] = FILE.exec(file) ?? [];
    if (blob === undefined) return [];
    const subject = `layers/${name}/${file}`;
    if (kind === 'windows')
      return existsSync(path.join(directory, `${blob}.index`))
        ? []
        : [removing(root, subject, 'it belongs to no index', 'leftover')];
    const what = wrongWith(path.join(directory, blob), tar);
    return what === undefined ? [] : [removing(root, subject, what)];
  });
}

function wrongWith(file: string, tar: ByteSource | undefined): string | undefined {
  try {
    const index = decodeIndex(readFileSync(`${file}.index`), 'the layer');
    const windows = statSync(`${file}.windows`, { throwIfNoEntry: false });
    if (windows?.size !== index.windowsBytes) return 'its windows are missing, or are those of another';
    if (tar === undefined) return undefined;
    if (tar.sizeBytes !== index.plainBytes) return 'it is of a layer of another size';
    for (const [place, { offset, length }] of piecesOf(index).entries()) {
      const bytes = Buffer.allocUnsafe(length);
      readSource(tar, bytes, offset);
      if (!createHash('sha256').update(bytes).digest().equals(index.spans[place]!.digest))
        return `it does not say what is in the layer from byte ${offset} on`;
    }
    return undefined;
  } catch (error) {
    if (error instanceof LaminaError) return error.message;
    throw error;
  }
}
