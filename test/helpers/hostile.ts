/**
 * What the tests of hostile archives share: ways to bend an archive that is otherwise right, and what every refusal owes (its code,
 * in time, no file left open, a message that cannot drive a terminal).
 */
import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import type { ArchivedImage, ArchiveLimits, SelectOptions } from '../../src/archive/image.js';
import { openArchive } from '../../src/archive/open.js';
import { LaminaError, type ErrorCode } from '../../src/errors.js';
import { readWhole } from '../../src/tar/source.js';
import {
  image,
  json,
  layer,
  LayoutBuilder,
  Scratch,
  type Descriptor,
  type Member,
} from './archive-builder.js';

/** Removed by whoever uses it. */
export const scratch = new Scratch();

export const [A, B] = [layer('a'), layer('b')];
export const PASSWD = '/etc/passwd';

export interface Options {
  select?: SelectOptions;
  limits?: Partial<ArchiveLimits>;
}

export type Case = [name: string, make: () => string, options?: Options];
export type BadCase = [code: ErrorCode, ...Case];

export function select(path: string, { select: options, limits }: Options = {}): ArchivedImage {
  const archive = openArchive(path, limits === undefined ? {} : { limits });
  try {
    const found = archive.select(options);
    for (const { blob } of found.layers) readWhole(blob);
    return found;
  } finally {
    archive.close();
  }
}

export const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** The error, after checking what every refusal owes. */
export function refused(path: string, options?: Options): LaminaError {
  const before = openFiles();
  const startMs = performance.now();
  let error: unknown;
  try {
    select(path, options);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(LaminaError);
  const { message } = error as LaminaError;
  expect(message).toMatch(/^[^\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$/);
  expect(message.length).toBeLessThan(2000);
  expect(openFiles()).toBe(before);
  expect(performance.now() - startMs).toBeLessThan(10_000);
  return error as LaminaError;
}

/** A docker archive with one image of the layers `a` and `b`. `entry` replaces fields of its manifest. */
export function docker(members: readonly Member[], entry: Record<string, unknown> = {}): Member[] {
  const config = image([A, B]);
  return [
    { path: 'config', bytes: config.configBytes },
    { path: 'a', bytes: A.tar },
    { path: 'b', bytes: B.tar },
    ...members,
    {
      path: 'manifest.json',
      bytes: json([{ Config: 'config', RepoTags: ['x:1'], Layers: ['a', 'b'], ...entry }]),
    },
  ];
}

export const dockerTar = (members: readonly Member[], entry?: Record<string, unknown>): (() => string) => {
  return () => scratch.tar(docker(members, entry));
};
export const manifestJson = (bytes: Buffer | string): (() => string) => {
  return () => scratch.tar([...docker([]), { path: 'manifest.json', bytes }]);
};
export const layoutOf = (fill: (l: LayoutBuilder) => void): LayoutBuilder => {
  const layout = new LayoutBuilder();
  fill(layout);
  return layout;
};
/** A tar of a layout that holds what `fill` adds. */
export const oci = (fill: (l: LayoutBuilder) => void): (() => string) => {
  return () => scratch.tar(layoutOf(fill).members());
};
/** A layout of one image, whose manifest has other fields. */
export const manifest = (fields: Record<string, unknown>, layers = [A]): (() => string) =>
  oci((l) => l.manifests.push(l.addImage(image(layers), { manifest: fields })));
export const descriptor = (fields: Record<string, unknown>): (() => string) =>
  oci((l) => l.manifests.push({ ...l.addImage(image([A])), ...fields }));
export const config = (overrides: Record<string, unknown>): (() => string) =>
  oci((l) => l.manifests.push(l.addImage(image([A], overrides))));
/** A blob of the layout, chosen by what it is, replaced by other bytes under the same digest. */
export const damaged = (
  which: 'manifest' | 'config' | 'index',
  change: (bytes: Buffer) => Buffer,
): (() => string) =>
  oci((l) => {
    const built = image([A]);
    const leaf = l.addImage(built);
    const index = l.addIndex([leaf]);
    l.manifests.push(index);
    const digest = { manifest: leaf.digest, config: built.imageId, index: index.digest }[which];
    l.blobs.set(digest, change(l.blobs.get(digest)!));
  });
export const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1]! ^= 1;
  return copy;
};
/** Indexes in each other, `depth` of them, each listing the next one `width` times. */
export const nested = (depth: number, width = 1): (() => string) =>
  oci((l) => {
    let inner: Descriptor = l.addImage(image([A]));
    for (let level = 0; level < depth; level++) inner = l.addIndex(new Array<Descriptor>(width).fill(inner));
    l.manifests.push(inner);
  });
export const chain = (length: number): Member[] => [
  ...Array.from({ length }, (_, n) => ({
    path: `link${n}`,
    symlink: n === length - 1 ? 'a' : `link${n + 1}`,
  })),
];
