/**
 * docker's documentation as test cases: a command line as a page prints it is run by a shell in which `docker` is Lamina, on images made to be what
 * the page shows, and its output is compared with the page's. Images are named by the ID that the page gives them; ages are real, since images can
 * be made at any time. What cannot be the same is normalised, in one place (`normalised`).
 */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, dockerSave25, image, layer, Scratch, tarOf } from './archive-builder.js';
import type { BuiltImage, BuiltLayer } from './archive-builder.js';
import { LAMINA_MAIN, laminaOk } from './lamina.js';
import type { CommandResult } from './lamina.js';
import { parseReference } from '../../src/oci/reference.js';
import { ImageStore } from '../../src/store/image-store.js';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
const UNITS: Readonly<Record<string, number>> = {
  second: SECOND,
  minute: 60 * SECOND,
  hour: HOUR,
  day: DAY,
  week: 7 * DAY,
  month: 30 * DAY,
  year: 365 * DAY,
};

/** `19 hours`, `About a minute` -> milliseconds ago, somewhat inside of what is shown so. */
export function ageMs(text: string): number {
  const [, count, unit] = /^(\d+|About an?) (\w+?)s?$/.exec(text)!;
  const one = UNITS[unit!]!;
  // Hours are rounded, everything else is cut off.
  return (Number.isNaN(Number(count)) ? 1 : Number(count)) * one + (one === HOUR ? 60 * SECOND : one / 60);
}

/** An image as a page shows it. */
export interface DocumentedImage {
  /** The first 12 digits of the ID that the page gives it. */
  id: string;
  tags: readonly string[];
  /** How old it is on the page (`6 days`), or when it was made. */
  age?: string;
  created?: string;
  labels?: Record<string, string>;
  /** Made when there is none: one, of a name of its own. */
  layers?: readonly BuiltLayer[];
  /** What the page calls its topmost layers, top to bottom. */
  chains?: readonly string[];
  /** The page's ID of the image that it was made from, which is loaded before. */
  parent?: string;
  /** `NAME@sha256:...`, as a registry would have given them. */
  digests?: readonly string[];
  /** More of its config. */
  config?: Record<string, unknown>;
}

export function someLayers(name: string, count: number): BuiltLayer[] {
  return Array.from({ length: count }, (_, index) => layer(`${name}-${index}`));
}

/** A layer without a byte of content. */
export function emptyLayer(name: string): BuiltLayer {
  const tar = tarOf([{ path: `${name}/`, dir: true }]);
  return { tar, diffId: digestOf(tar) };
}

/** What docker calls the layers of an image (image-spec config.md, layer ChainID), bottom to top. */
export function chainIdsOf(layers: readonly BuiltLayer[]): string[] {
  const chain: string[] = [];
  for (const { diffId } of layers)
    chain.push(chain.length === 0 ? diffId : digestOf(Buffer.from(`${chain.at(-1)} ${diffId}`)));
  return chain;
}

/** A place of its own to run documented command lines in, with a store that is empty at first. */
export class DocumentedStore {
  readonly scratch = new Scratch();
  /** Where the commands run. */
  readonly directory = join(this.scratch.path, 'work');
  readonly root = join(this.scratch.path, 'store');
  readonly images = new Map<string, BuiltImage>();
  readonly #bin = join(this.scratch.path, 'bin');
  /** What the page's IDs are here: whole, without `sha256:`. */
  readonly #ids = new Map<string, string>();

  constructor() {
    mkdirSync(this.directory);
    mkdirSync(this.#bin);
    const docker = join(this.#bin, 'docker');
    writeFileSync(docker, `#!/bin/sh\nexec "${process.execPath}" "${LAMINA_MAIN}" "$@"\n`);
    chmodSync(docker, 0o755);
  }

  /** Loads images, all at once. */
  async load(...documented: readonly DocumentedImage[]): Promise<void> {
    const nowMs = Date.now();
    const tagged = documented.map(({ id, tags, age, created, labels, layers, config }, index) => {
      // Of one age on the page: the first is the newest.
      const atMs = nowMs - (age === undefined ? 0 : ageMs(age)) - index;
      const createdAt = created ?? new Date(atMs).toISOString();
      const built = image(layers ?? someLayers(id, 1), {
        created: createdAt,
        ...(labels === undefined ? {} : { config: { Labels: labels } }),
        ...config,
      });
      this.means(id, built.imageId);
      this.images.set(id, built);
      return { image: built, tags: tags.length === 0 ? null : tags };
    });
    await this.lamina('load', '-q', '-i', this.scratch.tar(dockerSave25(tagged)));
    for (const { id, chains = [], parent, digests = [] } of documented) {
      const built = this.images.get(id)!;
      const actual = chainIdsOf(built.layers).reverse();
      for (const [index, chain] of chains.entries()) this.means(chain, actual[index]!);
      if (parent !== undefined || digests.length > 0) await this.#annotate(built, parent, digests);
    }
  }

  /** What commit and pull leave in the index. */
  async #annotate(built: BuiltImage, parent: string | undefined, digests: readonly string[]): Promise<void> {
    await new ImageStore(this.root).update((draft) => {
      const { mediaType, digest, sizeBytes } = draft.before.byId(built.imageId)!.descriptor;
      const entries = draft.entries.filter(({ descriptor }) => descriptor.digest === digest);
      const common = { mediaType, digest, sizeBytes, platform: undefined };
      const origin = parent === undefined ? {} : { parent: `sha256:${this.idOf(parent)}` };
      draft.remove((entry) => entries.includes(entry));
      for (const { name } of entries.filter((entry) => entry.name !== undefined || digests.length === 0))
        draft.add({ ...common, ...origin, ...(name === undefined ? {} : { name }) });
      for (const name of digests) draft.add({ ...common, ...origin, name: parseReference(name) });
    });
  }

  /** From now on the page's `id` is this one. */
  means(id: string, actual: string): void {
    this.#ids.set(id.slice(0, 12), actual.replace(/^sha256:/, ''));
  }

  /** Whole, without `sha256:`. */
  idOf(id: string): string {
    return this.#ids.get(id.slice(0, 12)) ?? id;
  }

  lamina(...args: readonly string[]): Promise<string> {
    return laminaOk(args, this.root);
  }

  /** Runs a line of a page; IDs of the page in it become the ones here. Does not throw when the command fails. */
  run(line: string, env: Record<string, string> = {}, input = ''): Promise<CommandResult> {
    const script = this.#translated(line);
    return new Promise((resolve) => {
      const child = execFile(
        'bash',
        ['-c', script],
        {
          cwd: this.directory,
          env: {
            ...process.env,
            PATH: `${this.#bin}:${process.env['PATH']}`,
            LAMINA_ROOT: this.root,
            LAMINA_PULL: 'never',
            LAMINA_RUN: join(this.scratch.path, 'run'),
            TZ: 'UTC',
            ...env,
          },
          maxBuffer: 1 << 27,
        },
        (_, stdout, stderr) => resolve({ exitCode: child.exitCode ?? 128, stdout, stderr }),
      );
      child.stdin!.on('error', () => {});
      child.stdin!.end(input);
    });
  }

  /** What a page prints, with the IDs that are known here. */
  expected(text: string): string {
    return normalised(this.#translated(text));
  }

  /** Every ID of the page that stands for something here, short or whole. */
  #translated(text: string): string {
    return text.replaceAll(/(?<![0-9a-f])[0-9a-f]{12}(?:[0-9a-f]{50,52})?(?![0-9a-f])/g, (id) => {
      const actual = this.#ids.get(id.slice(0, 12));
      return actual === undefined ? id : actual.slice(0, id.length > 12 ? 64 : 12);
    });
  }

  close(): void {
    this.scratch.remove();
  }
}

/**
 * - sizes become `<size>`, but for none (`0B`): docker's older pages write `0 B`, `1.09 MB`;
 * - seconds ago are as many as they are; 9 weeks and more are months today (go-units, HumanDuration), which older pages do not know;
 * - columns are two spaces apart, however wide the page's terminal was; spaces at line ends and empty lines at the beginning and end go.
 * IDs that the store knows are in the text already and are compared as they are.
 */
export function normalised(text: string): string {
  return text
    .replaceAll(/(?<![\w.:])(\d+(?:\.\d+)?) ?([kKMGT]?B)\b/g, (_, number: string) =>
      Number(number) === 0 ? '0B' : '<size>',
    )
    .replaceAll('<size> (virtual <size>)', '<size>')
    .replaceAll(/(?:Less than a second|\d+ seconds?) ago/g, '<seconds> ago')
    .replaceAll(/(\d+) weeks/g, (weeks, count: string) =>
      Number(count) * 7 < 60 ? weeks : `${Math.floor((Number(count) * 7) / 30)} months`,
    )
    .split('\n')
    .map((line) => line.trim().replaceAll(/ {2,}|\t+/g, '  '))
    .join('\n')
    .trim();
}

/** IDs and digests of what a page cannot know: layers, and what a command makes. */
export function withoutDigests(text: string): string {
  return text.replaceAll(/\b[0-9a-f]{62,64}\b/g, '<hex>').replaceAll(/\b[0-9a-f]{12}\b/g, '<id>');
}
