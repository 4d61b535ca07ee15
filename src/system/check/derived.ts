/** Derived data against what it was derived from. All of it can be made again, so that a repair removes what is wrong. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fromSystemError, LaminaError } from '../../errors.js';
import { TocReader } from '../../merge/toc-reader.js';
import { isDigest } from '../../oci/digest.js';
import { isAlive } from '../../store/cache.js';
import type { ImageStore } from '../../store/image-store.js';
import { factsFile, layerDirectory, readFactsFile } from '../../store/layer-facts.js';
import { readSummaries } from '../../store/summaries.js';
import type { Snapshot } from '../../store/snapshot.js';
import type { ByteSource } from '../../tar/source.js';
import { factsOfTar } from './facts.js';
import { checkIndexes } from './indexes.js';
import { hashOf } from './blobs.js';
import { readableNames, removing } from './finding.js';
import type { Checked, Finding } from './finding.js';

export async function checkDerived(
  store: ImageStore,
  snapshot: Snapshot,
  checked: Checked,
): Promise<Finding[]> {
  return [
    ...checkLayers(store, checked),
    ...(await checkChains(store.root, checked)),
    ...checkSummaries(store.root, snapshot),
    ...checkTemporaries(store.root, checked),
    ...(await checkLocks(store.root, checked)),
  ];
}

function checkLayers({ root, blobs }: ImageStore, checked: Checked): Finding[] {
  return readableNames(root, 'layers', checked).flatMap((name) => {
    const diffId = name.replace('-', ':');
    if (!isDigest(diffId)) return [];
    checked.layers++;
    const findings: Finding[] = [];
    const data = openIfThere(path.join(layerDirectory(root, diffId), 'data'));
    const tar = data ?? (blobs.has(diffId) ? blobs.open(diffId) : undefined);
    try {
      if (data !== undefined) {
        checked.bytes += data.sizeBytes;
        if (hashOf(data, diffId.slice(0, diffId.indexOf(':'))) !== diffId)
          return [removing(root, `layers/${name}/data`, 'its content is not what its diffId promises')];
      }
      findings.push(...checkIndexes(root, name, tar));
      const facts = factsFile(root, diffId);
      const said = openIfThere(facts);
      if (said === undefined) return findings;
      closeSync(said.fd);
      const known = readFactsFile(facts);
      const wrong = removing(root, `layers/${name}/facts.json`, 'it does not say what is in the layer');
      if (known === undefined) return [wrong];
      if (tar !== undefined && JSON.stringify(factsOfTar(tar, diffId)) !== JSON.stringify(known))
        findings.push(wrong);
    } catch (error) {
      // A damaged blob is reported by itself.
      if (!(error instanceof LaminaError)) throw error;
    } finally {
      if (tar !== undefined) closeSync(tar.fd);
    }
    return findings;
  });
}

async function checkChains(root: string, checked: Checked): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const key of readableNames(root, 'chains', checked)) {
    const file = path.join(root, 'chains', key);
    checked.chains++;
    try {
      await new TocReader(readFileSync(file), file).verifyChecksums();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      findings.push(removing(root, `chains/${key}`, fromSystemError(error, 'cannot read', file).message));
    }
  }
  return findings;
}

/** Also that it can be read at all: when not, every list reads all manifests. */
function checkSummaries(root: string, { images }: Snapshot): Finding[] {
  const file = path.join(root, 'summaries.json');
  const source = openIfThere(file);
  if (source === undefined) return [];
  closeSync(source.fd);
  const wrong = [removing(root, 'summaries.json', 'it does not say what the images are')];
  try {
    JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return wrong;
  }
  const known = readSummaries(root);
  for (const image of images) {
    const said = image.manifestDigests.flatMap((digest) => known.get(digest) ?? []);
    try {
      const created = Date.parse(image.config.created ?? '0001-01-01T00:00:00Z');
      const labels = JSON.stringify(Object.fromEntries(image.config.config.labels));
      const isRight = said.every(
        (one) =>
          one.imageId === image.manifest.config.digest &&
          one.createdMs === created &&
          JSON.stringify(one.labels) === labels,
      );
      if (!isRight) return wrong;
    } catch (error) {
      if (!(error instanceof LaminaError)) throw error;
    }
  }
  return [];
}

/** What a process that is gone was writing. */
function checkTemporaries(root: string, checked: Checked): Finding[] {
  return ['tmp', 'containers'].flatMap((directory) =>
    readableNames(root, directory, checked).flatMap((name) => {
      const pid = (directory === 'tmp' ? /^(\d+)-/ : /^\.tmp-(\d+)-/).exec(name)?.[1];
      if (pid === undefined || isAlive(Number(pid))) return [];
      return [removing(root, `${directory}/${name}`, 'a process that is gone left it half done', 'leftover')];
    }),
  );
}

/** Sockets on which nobody listens. */
async function checkLocks(root: string, checked: Checked): Promise<Finding[]> {
  const directory = path.join(root, 'locks');
  const findings: Finding[] = [];
  for (const name of readableNames(root, 'locks', checked)) {
    if (!name.endsWith('.lock') || (await isHeld(directory, name))) continue;
    findings.push(removing(root, `locks/${name}`, 'the process that held it is gone', 'leftover'));
  }
  return findings;
}

function isHeld(directory: string, name: string): Promise<boolean> {
  // sun_path holds 108 bytes: the directory is reached through its descriptor.
  const fd = openSync(directory, 'r');
  return new Promise((resolve) => {
    const done = (held: boolean): void => {
      closeSync(fd);
      resolve(held);
    };
    const socket = net.connect(`/proc/self/fd/${fd}/${name}`);
    socket
      .on('connect', () => {
        socket.destroy();
        done(true);
      })
      .on('error', ({ code }: NodeJS.ErrnoException) => done(code !== 'ECONNREFUSED'));
  });
}

function openIfThere(file: string): ByteSource | undefined {
  try {
    const fd = openSync(file, 'r');
    return { fd, offset: 0, sizeBytes: fstatSync(fd).size, name: file };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fromSystemError(error, 'cannot open', file);
  }
}
