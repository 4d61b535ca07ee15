/** Layers and merged trees unpacked on the disk, each once for all subjects that need it. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { startHelper } from '../../store/helper.js';
import type { Preparation, Target } from '../subject.js';
import { unpackLayer, unpackMerged } from '../unpack.js';
import type { WorkDirectory } from '../work-directory.js';

export interface UnpackedLayers {
  /** A directory in which the layers have short names, since mount(2) takes one page of options. */
  base: string;
  /** Names in `base`, top to bottom as overlayfs lists them. */
  lowers: string[];
}

export class Unpacked {
  readonly #layers = new Map<string, Promise<Preparation>>();
  readonly #merged = new Map<Target, Promise<Preparation & { directory: string }>>();
  readonly #base: string;

  constructor(
    private readonly work: WorkDirectory,
    private readonly signal: AbortSignal,
  ) {
    this.#base = work.directory('l');
  }

  /** Unpacks what is not there yet. An image that was made deeper shares the layers that both have. */
  async layers(target: Target): Promise<Preparation> {
    let [seconds, bytes] = [0, 0];
    for (const [index, key] of keysOf(target).entries()) {
      let unpacked = this.#layers.get(key);
      if (unpacked === undefined) {
        const directory = this.work.directory('l');
        symlinkSync(directory, join(this.#base, (this.#layers.size + 1).toString(36)));
        unpacked = timed(directory, () => unpackLayer(target.opened, index, directory, this.signal));
        this.#layers.set(key, unpacked);
      }
      const one = await unpacked;
      seconds += one.seconds;
      bytes += one.bytes;
    }
    return { seconds, bytes };
  }

  /** After `layers`. */
  lowersOf(target: Target): UnpackedLayers {
    const known = [...this.#layers.keys()];
    const lowers = keysOf(target).map((key) => (known.indexOf(key) + 1).toString(36));
    return { base: this.#base, lowers: lowers.reverse() };
  }

  merged(target: Target): Promise<Preparation & { directory: string }> {
    let made = this.#merged.get(target);
    if (made === undefined) {
      const directory = this.work.directory('plain');
      made = timed(directory, () => unpackMerged(target.opened, directory, this.signal)).then(
        (preparation) => ({
          ...preparation,
          directory,
        }),
      );
      this.#merged.set(target, made);
    }
    return made;
  }
}

/** Equal layers of one image are directories of their own: overlayfs refuses the same one twice. */
function keysOf(target: Target): string[] {
  const seen = new Map<string, number>();
  return target.opened.archived.layers.map(({ diffId }) => {
    const times = seen.get(diffId) ?? 0;
    seen.set(diffId, times + 1);
    return `${diffId} ${times}`;
  });
}

async function timed(directory: string, make: () => Promise<void>): Promise<Preparation> {
  const start = process.hrtime.bigint();
  await make();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  return { seconds, bytes: await diskBytes(directory) };
}

/** What lies below `directory` takes on the disk (st_blocks; native/scan/format.h has the record). Hard links count once. */
export async function diskBytes(directory: string): Promise<number> {
  const helper = startHelper(['scan', directory]);
  helper.stdin.end();
  const chunks: Buffer[] = [];
  for await (const chunk of helper.stdout) chunks.push(chunk as Buffer);
  await helper.ended;
  const stream = Buffer.concat(chunks);
  const inodes = new Map<bigint, bigint>();
  for (let at = 8; at + 4 <= stream.length;) {
    const length = stream.readUInt32LE(at);
    if (length === 0) break;
    inodes.set(stream.readBigUInt64LE(at + 16), stream.readBigUInt64LE(at + 88));
    at += length;
  }
  return Number([...inodes.values()].reduce((sum, blocks) => sum + blocks, 0n)) * 512;
}
