/**
 * Writes into an OCI layout (image-spec image-layout.md), a new one or one that is there. Blobs are gathered in a directory of their own; they
 * get their places together, then index.json, which alone makes them part of the layout, is replaced. A layout to which nothing
 * could be added is as it was.
 */
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { LaminaError } from '../errors.js';
import { REF_NAME } from '../oci/annotations.js';
import { OCI_INDEX } from '../oci/media-types.js';
import { blobPath } from './files.js';
import { OCI_LAYOUT } from './members.js';
import type { WrittenDescriptor } from './members.js';
import { createFile, replaceFile, sweep, syncDirectory, temporaryName } from './whole-files.js';
import type { Chunks } from './whole-files.js';

export class LayoutWriter {
  readonly #staged = new Map<string, Promise<void>>();

  private constructor(
    readonly directory: string,
    /** Has the shape of a layout. */
    private readonly stage: string,
  ) {}

  /** Raises ENOTARCHIVE where something else is than a layout, and what the system says. `finish` or `abandon` it. */
  static async open(directory: string): Promise<LayoutWriter> {
    await checkLayout(directory);
    const { dir, base } = path.parse(path.resolve(directory));
    await sweep(dir, base);
    await sweep(directory, INSIDE);
    const isThere = existsSync(path.join(directory, 'index.json'));
    const stage = temporaryName(isThere ? path.join(directory, INSIDE) : directory);
    await mkdir(stage, { recursive: true });
    return new LayoutWriter(directory, stage);
  }

  /**
   * `content` is verified by who gives it: its last chunk comes only when all is what the digest promises. What the layout has already
   * is not asked for. Returns whether it was written.
   */
  async write(digest: string, sizeBytes: number, content: () => Chunks): Promise<boolean> {
    const before = this.#staged.get(digest);
    if (before !== undefined) {
      await before;
      return false;
    }
    if (await hasFile(this.directory, digest, sizeBytes)) return false;
    const file = path.join(this.stage, blobPath(digest));
    const writing = mkdir(path.dirname(file), { recursive: true }).then(() => createFile(file, content()));
    this.#staged.set(digest, writing);
    await writing;
    return true;
  }

  /** All of it is on the disk and listed when it resolves. Alone: who writes to the same layout waits. */
  async finish(descriptor: WrittenDescriptor): Promise<void> {
    if (!existsSync(path.join(this.directory, 'index.json'))) {
      await replaceFile(path.join(this.stage, 'oci-layout'), [Buffer.from(OCI_LAYOUT)]);
      await replaceFile(path.join(this.stage, 'index.json'), [await indexWith(this.stage, descriptor)]);
      // An empty directory gives way to it; anything else does not.
      await rename(this.stage, this.directory);
      await syncDirectory(path.dirname(path.resolve(this.directory)));
      return;
    }
    const moved: string[] = [];
    try {
      const directories = new Set<string>();
      for (const digest of this.#staged.keys()) {
        const place = path.join(this.directory, blobPath(digest));
        const isNew = !existsSync(place);
        await mkdir(path.dirname(place), { recursive: true });
        await rename(path.join(this.stage, blobPath(digest)), place);
        if (isNew) moved.push(place);
        directories.add(path.dirname(place));
      }
      for (const directory of directories) await syncDirectory(directory);
      if (!existsSync(path.join(this.directory, 'oci-layout')))
        await replaceFile(path.join(this.directory, 'oci-layout'), [Buffer.from(OCI_LAYOUT)]);
      const index = await indexWith(this.directory, descriptor);
      await replaceFile(path.join(this.directory, 'index.json'), [index]);
    } catch (error) {
      for (const place of moved) await rm(place, { force: true });
      throw error;
    }
    await this.abandon();
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#staged.values());
    await rm(this.stage, { recursive: true, force: true });
  }
}

/** What is being written into a layout that is there lies in it, on the same filesystem. */
const INSIDE = 'incoming';

/** Raises ENOTARCHIVE. */
export async function checkLayout(directory: string): Promise<void> {
  const status = await lstat(directory).catch(() => undefined);
  if (status === undefined) return;
  const isLayout =
    existsSync(path.join(directory, 'oci-layout')) || existsSync(path.join(directory, 'index.json'));
  const isEmpty = !isLayout && ((await readdir(directory).catch(() => undefined)) ?? ['']).length === 0;
  if (!isLayout && !isEmpty)
    throw new LaminaError('ENOTARCHIVE', `${directory} exists and is no OCI layout`, { path: directory });
}

async function hasFile(layout: string, digest: string, sizeBytes: number): Promise<boolean> {
  const status = await lstat(path.join(layout, blobPath(digest))).catch(() => undefined);
  return status?.isFile() === true && status.size === sizeBytes;
}

/** index.json with the image in it; another of the same name loses that name, as a tag moves. */
async function indexWith(layout: string, descriptor: WrittenDescriptor): Promise<Buffer> {
  const file = path.join(layout, 'index.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const index =
    text === undefined
      ? { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] as WrittenDescriptor[] }
      : (JSON.parse(text) as { manifests?: WrittenDescriptor[] | null });
  const name = descriptor.annotations?.[REF_NAME];
  const others = (index.manifests ?? []).filter((other) =>
    name === undefined
      ? other.digest !== descriptor.digest || other.annotations?.[REF_NAME] !== undefined
      : other.annotations?.[REF_NAME] !== name,
  );
  return Buffer.from(JSON.stringify({ ...index, manifests: [...others, descriptor] }));
}
