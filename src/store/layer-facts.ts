/**
 * What is known of a layer once it was looked into, kept beside what else is derived from it (`layers/<diffId>/facts.json`), so that
 * a list of images need not open any layer.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryName } from './files.js';

export interface LayerFacts {
  /** Sum of its files' sizes: what docker calls the size of a layer. */
  contentBytes: number;
  /** Of the tar, inflated. */
  tarBytes: number;
  /** Names in it. */
  entries: number;
}

/** Where everything that is derived from a layer lies. `diffId` is well-formed. */
export function layerDirectory(root: string, diffId: string): string {
  return path.join(root, 'layers', diffId.replace(':', '-'));
}

const known = new Map<string, LayerFacts>();

/** undefined when nobody has looked into the layer, or what was written down is damaged. */
export function readLayerFacts(root: string, diffId: string): LayerFacts | undefined {
  const file = factsFile(root, diffId);
  const existing = known.get(file) ?? readFactsFile(file);
  if (existing !== undefined) known.set(file, existing);
  return existing;
}

export function factsFile(root: string, diffId: string): string {
  return path.join(layerDirectory(root, diffId), 'facts.json');
}

/** As it is on the disk now. */
export function readFactsFile(file: string): LayerFacts | undefined {
  try {
    const facts = JSON.parse(readFileSync(file, 'utf8')) as Partial<LayerFacts>;
    const numbers = [facts.contentBytes, facts.tarBytes, facts.entries];
    if (!numbers.every((value) => Number.isSafeInteger(value) && value! >= 0)) return undefined;
    return facts as LayerFacts;
  } catch {
    return undefined;
  }
}

/** Not synced: what a power cut damages is made again. Raises as the system does. */
export function writeLayerFacts(root: string, diffId: string, facts: LayerFacts): void {
  const directory = layerDirectory(root, diffId);
  const temporary = path.join(root, 'tmp', temporaryName());
  try {
    writeFileSync(temporary, `${JSON.stringify(facts)}\n`, { flag: 'wx', mode: 0o600 });
    for (let tries = 0; ; tries++) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      try {
        renameSync(temporary, factsFile(root, diffId));
        return;
      } catch (error) {
        // The directory goes with the last image that has the layer, which may be at this moment.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 5) throw error;
      }
    }
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
