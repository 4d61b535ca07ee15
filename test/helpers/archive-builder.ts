/**
 * Image archives of every layout, made by hand: docker's from before 1.10 to now, kaniko's, podman's, OCI layouts. Digests come from
 * node:crypto and tars from raw-tar.ts, nothing from src, so that a mistake there cannot hide here. Everything may be bent
 * by the caller, which is how the hostile archives are made.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { rawEntry, rawTar } from './raw-tar.js';

/** A file, or a link to another path. */
export type Member = { path: string } & (
  { bytes: Buffer | string } | { symlink: string } | { hardlink: string } | { dir: true }
);

export interface BuiltLayer {
  tar: Buffer;
  diffId: string;
}

export interface BuiltImage {
  layers: readonly BuiltLayer[];
  configBytes: Buffer;
  imageId: string;
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  [key: string]: unknown;
}

export const OCI = 'application/vnd.oci.image';
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const MANIFEST = `${OCI}.manifest.v1+json`;
export const INDEX = `${OCI}.index.v1+json`;

export function digestOf(bytes: Buffer, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** A tar of members, in order. */
export function tarOf(members: readonly Member[]): Buffer {
  return rawTar(members.map(rawMember));
}

export function rawMember(member: Member): Buffer {
  if ('symlink' in member)
    return rawEntry({ name: member.path, typeflag: '2', linkName: member.symlink, mode: 0o777 });
  if ('hardlink' in member) return rawEntry({ name: member.path, typeflag: '1', linkName: member.hardlink });
  if ('dir' in member) return rawEntry({ name: member.path, typeflag: '5', mode: 0o755 });
  return rawEntry({ name: member.path, typeflag: '0' }, Buffer.from(member.bytes));
}

/** A layer with one file, whose name and content are `text`. */
export function layer(text: string): BuiltLayer {
  const tar = tarOf([{ path: text, bytes: `${text}\n` }]);
  return { tar, diffId: digestOf(tar) };
}

/** `overrides` are merged into the config. */
export function image(layers: readonly BuiltLayer[], overrides: Record<string, unknown> = {}): BuiltImage {
  const configBytes = json({
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created_by: 'test' })),
    ...overrides,
  });
  return { layers, configBytes, imageId: digestOf(configBytes) };
}

interface Tagged {
  image: BuiltImage;
  tags: readonly string[] | null;
}

/** docker 1.10 to 24: `ID.json`, `V1ID/layer.tar`; a layer that comes again is a link to the first. */
export function dockerSave110(images: readonly Tagged[], links: 'symlink' | 'hardlink'): Member[] {
  const members: Member[] = [];
  const first = new Map<string, string>();
  const entries = images.map(({ image: { layers, configBytes, imageId }, tags }) => {
    const paths = layers.map(({ tar, diffId }, index) => {
      const id = hexOf(digestOf(Buffer.from(`${imageId} ${index}`)));
      const path = `${id}/layer.tar`;
      members.push({ path: `${id}/`, dir: true }, { path: `${id}/VERSION`, bytes: '1.0' });
      members.push({ path: `${id}/json`, bytes: json({ id }) });
      const existing = first.get(diffId);
      if (existing === undefined) members.push({ path, bytes: tar });
      else if (links === 'symlink') members.push({ path, symlink: `../${existing}` });
      else members.push({ path, hardlink: existing });
      if (existing === undefined) first.set(diffId, path);
      return path;
    });
    members.push({ path: `${hexOf(imageId)}.json`, bytes: configBytes });
    return { Config: `${hexOf(imageId)}.json`, RepoTags: tags, Layers: paths };
  });
  return [...members, { path: 'manifest.json', bytes: json(entries) }];
}

/** kaniko and crane: `sha256:ID`, `DIGEST.tar.gz`. `pack` compresses a layer. */
export function kaniko({ image, tags }: Tagged, pack: (tar: Buffer) => Buffer): Member[] {
  const blobs = image.layers.map(({ tar }) => pack(tar));
  const paths = blobs.map((blob) => `${hexOf(digestOf(blob))}.tar.gz`);
  return [
    { path: image.imageId, bytes: image.configBytes },
    ...blobs.map((bytes, index) => ({ path: paths[index]!, bytes })),
    { path: 'manifest.json', bytes: json([{ Config: image.imageId, RepoTags: tags, Layers: paths }]) },
  ];
}

/** docker before 1.10: `repositories` and a chain of `ID/json`. Layers bottom to top; returns the ids as well. */
export function dockerV1(
  layers: readonly BuiltLayer[],
  name: string,
  tag: string,
): { members: Member[]; ids: string[] } {
  const ids = layers.map(({ diffId }, index) => hexOf(digestOf(Buffer.from(`v1 ${index} ${diffId}`))));
  const members = layers.flatMap(({ tar }, index): Member[] => {
    const id = ids[index]!;
    const about = { id, parent: ids[index - 1], architecture: 'amd64', os: 'linux', Size: tar.length };
    const run = {
      created: '2014-01-01T00:00:00Z',
      container_config: { Cmd: ['/bin/sh', '-c', `step ${index}`] },
    };
    return [
      { path: `${id}/VERSION`, bytes: '1.0' },
      { path: `${id}/json`, bytes: json({ ...about, ...run, config: { Cmd: ['/bin/sh'] } }) },
      { path: `${id}/layer.tar`, bytes: tar },
    ];
  });
  return {
    members: [...members, { path: 'repositories', bytes: json({ [name]: { [tag]: ids.at(-1) } }) }],
    ids,
  };
}

/** An OCI layout that is filled blob by blob. */
export class LayoutBuilder {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests: Descriptor[] = [];

  add(
    bytes: Buffer,
    mediaType: string,
    extra: Record<string, unknown> = {},
    algorithm = 'sha256',
  ): Descriptor {
    const digest = digestOf(bytes, algorithm);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length, ...extra };
  }

  /** Manifest of an image, its layers stored as `pack` makes them. */
  addImage(
    built: BuiltImage,
    options: {
      extra?: Record<string, unknown>;
      manifest?: Record<string, unknown>;
      algorithm?: string;
      pack?: (tar: Buffer) => Buffer;
      layerType?: string;
    } = {},
  ): Descriptor {
    const { algorithm } = options;
    const pack = options.pack ?? ((tar: Buffer) => tar);
    const manifest = json({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: this.add(built.configBytes, `${OCI}.config.v1+json`, {}, algorithm),
      layers: built.layers.map(({ tar }) =>
        this.add(pack(tar), options.layerType ?? `${OCI}.layer.v1.tar`, {}, algorithm),
      ),
      ...options.manifest,
    });
    return this.add(manifest, MANIFEST, options.extra, algorithm);
  }

  addIndex(
    manifests: readonly Descriptor[],
    extra: Record<string, unknown> = {},
    mediaType = INDEX,
  ): Descriptor {
    return this.add(json({ schemaVersion: 2, mediaType, manifests }), mediaType, extra);
  }

  members(index: Buffer = json({ schemaVersion: 2, manifests: this.manifests })): Member[] {
    return [
      { path: 'oci-layout', bytes: '{"imageLayoutVersion":"1.0.0"}' },
      { path: 'index.json', bytes: index },
      ...[...this.blobs].map(([digest, bytes]) => ({ path: `blobs/${digest.replace(':', '/')}`, bytes })),
    ];
  }
}

export function annotated(name: string): Record<string, unknown> {
  return { annotations: { 'org.opencontainers.image.ref.name': name } };
}

export function forPlatform(text: string): Record<string, unknown> {
  const [os, architecture, variant] = text.split('/');
  return { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } };
}

/** docker 25 and later: an OCI layout that has a manifest.json as well. */
export function dockerSave25(images: readonly Tagged[]): Member[] {
  const layout = new LayoutBuilder();
  const entries = images.map(({ image: built, tags }) => {
    const descriptor = layout.addImage(built);
    for (const tag of tags ?? [])
      layout.manifests.push({
        ...descriptor,
        annotations: {
          'io.containerd.image.name': `docker.io/library/${tag}`,
          'org.opencontainers.image.ref.name': tag.split(':')[1],
        },
      });
    if (tags === null) layout.manifests.push(descriptor);
    return {
      Config: `blobs/sha256/${hexOf(built.imageId)}`,
      RepoTags: tags,
      Layers: built.layers.map(({ diffId }) => `blobs/sha256/${hexOf(diffId)}`),
      LayerSources: {},
    };
  });
  return [...layout.members(), { path: 'manifest.json', bytes: json(entries) }];
}

/** A directory of its own that is removed by `remove`. */
export class Scratch {
  readonly path = mkdtempSync(join(tmpdir(), 'lamina-archives-'));
  #count = 0;

  file(bytes: Buffer): string {
    const path = join(this.path, `${this.#count++}.tar`);
    writeFileSync(path, bytes);
    return path;
  }

  tar(members: readonly Member[]): string {
    return this.file(tarOf(members));
  }

  /** Members as files on the disk. */
  directory(members: readonly Member[]): string {
    const root = join(this.path, String(this.#count++));
    mkdirSync(root);
    for (const member of members) {
      const path = join(root, member.path);
      mkdirSync(dirname(path), { recursive: true });
      if ('bytes' in member) writeFileSync(path, member.bytes);
    }
    return root;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
