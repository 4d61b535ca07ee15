/**
 * `cp` between a container and the host. Where things go is docker's (docker/cli cli/command/container/cp.go; moby go-archive copy.go,
 * PrepareArchiveCopy). Reading is from the tree of image and upper directory, mounted or not; writing is through a mount, which is made
 * for it where there is none. No link of the container leads out of it, neither reading nor writing.
 */
import { mkdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { ByteString } from '../bytes.js';
import { displayBytes, utf8ToBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { writeMergedTar } from '../image/merged-tar.js';
import { baseName, joinPath, parentPath } from '../merge/view.js';
import type { ImageView, Located } from '../merge/view.js';
import type { TarSink } from '../tar/write.js';
import { Applier } from './apply.js';
import type { CopyItem } from './copy-source.js';
import { fromDisk, fromTar, fromView, spoolTar } from './copy-source.js';
import { openContainer } from './open.js';
import { withMount } from './private-mount.js';
import type { ContainerRecord } from '../store/container-record.js';
import type { ContainerStore } from './store.js';

export interface CopyOptions {
  /** -a: owners as they are at the source; else whoever runs this, or root in a container. */
  archive?: boolean;
  /** -L: a link at the end of the source is followed. */
  followLink?: boolean;
}

export interface Copied {
  /** As docker counts it: of the tar that would hold it. */
  sizeBytes: number;
  /** Extended attributes that the target does not take. */
  lostXattrs: number;
  skippedSockets: ByteString[];
}

/** `CONTAINER:PATH`, or a path of the host: one that begins with `/` or `.`, or holds no colon. */
export function splitArgument(text: string): { container: string | undefined; path: string } {
  const colon = text.indexOf(':');
  if (text.startsWith('/') || text.startsWith('.') || colon < 0) return { container: undefined, path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** Where the copy goes: `name` in `directory`, or what the source directory holds into `directory` itself. */
interface Place {
  directory: ByteString;
  name: ByteString | undefined;
}

interface Source {
  isDirectory: boolean;
  /** It was named with `/.` at its end. */
  isContent: boolean;
  name: ByteString;
}

interface Destination {
  path: ByteString;
  exists: boolean;
  isDirectory: boolean;
}

/** Raises ENOTDIR, ENOENT as docker's errors. */
export function placeOf(source: Source, destination: Destination, shown: string): Place {
  const asked = { directory: parentPath(destination.path), name: baseName(destination.path) };
  if (destination.exists && destination.isDirectory) {
    const isContent = source.isDirectory && source.isContent;
    return { directory: destination.path, name: isContent ? undefined : source.name };
  }
  if (destination.exists && source.isDirectory)
    throw new LaminaError('ENOTDIR', `cannot copy directory: ${shown} is not one`, { path: shown });
  if (/\/\.?$/.test(shown) && !source.isDirectory)
    throw destination.exists
      ? new LaminaError('ENOTDIR', `not a directory: ${shown}`, { path: shown })
      : new LaminaError('ENOENT', `no such directory: ${shown}`, { path: shown });
  return asked;
}

/** Out of the container to a path of the host, or as a tar to `sink` when `destination` is undefined. */
export async function copyFromContainer(
  store: ContainerStore,
  record: ContainerRecord,
  source: ByteString,
  destination: string | undefined,
  options: CopyOptions,
  sink: TarSink,
): Promise<Copied> {
  const opened = await openContainer(store, record);
  try {
    const { view } = opened;
    const asked = absolute(source);
    const start = locateSource(view, asked, options);
    const isContent = isContentPath(asked);
    // A link that is followed keeps its name.
    const name = isContent || asked === '/' ? '.' : baseName(view.locate(asked, { follow: false }).path);
    if (destination === undefined) {
      await writeMergedTar(view, start, name === '' || name === '/' ? '.' : name, sink);
      return { sizeBytes: 0, lostXattrs: 0, skippedSockets: [] };
    }
    const isDirectory = view.toc.inode(start.ino).type === 'dir';
    const to = await hostDestination(destination);
    const place = placeOf({ isDirectory, isContent: isContent || start.path === '/', name }, to, destination);
    const directory = Buffer.from(place.directory, 'latin1').toString('utf8');
    const applier = new Applier(directory, {
      noLinks: true,
      chown: options.archive === true && process.getuid?.() === 0,
    });
    return await copy(applier, fromView(view, start), place.name ?? '', undefined);
  } finally {
    opened.close();
  }
}

/** Into the container, from a path of the host, or from a tar when `source` is a stream. */
export async function copyToContainer(
  store: ContainerStore,
  record: ContainerRecord,
  source: string | Readable,
  destination: ByteString,
  options: CopyOptions,
): Promise<Copied> {
  const opened = await openContainer(store, record);
  let to: Destination;
  try {
    to = containerDestination(opened.view, destination);
  } finally {
    opened.close();
  }
  const shown = displayBytes(destination);
  if (typeof source === 'string') {
    const disk = await fromDisk(source, options.followLink === true);
    try {
      const isContent = /(^|\/)\.$/.test(source) || disk.name === '';
      // A link that is followed keeps its name.
      const name = options.followLink === true ? utf8ToBytes(path.basename(path.resolve(source))) : disk.name;
      const place = placeOf({ isDirectory: disk.isDirectory, isContent, name }, to, shown);
      return await intoMount(store, record, disk.items(), place, options);
    } finally {
      disk.close();
    }
  }
  if (!to.isDirectory)
    throw new LaminaError('ENOTDIR', `destination "${record.name}:${shown}" must be a directory`, {
      path: shown,
    });
  const temporary = path.join(path.dirname(store.directory), 'tmp');
  await mkdir(temporary, { recursive: true, mode: 0o700 });
  const tar = await spoolTar(source, temporary);
  try {
    return await intoMount(store, record, fromTar(tar), { directory: to.path, name: undefined }, options);
  } finally {
    await tar.close();
  }
}

async function intoMount(
  store: ContainerStore,
  record: ContainerRecord,
  items: Iterable<CopyItem>,
  { directory, name }: Place,
  options: CopyOptions,
): Promise<Copied> {
  const isRoot = process.getuid?.() === 0;
  return withMount(store, record, async (mountpoint) => {
    const applier = new Applier(mountpoint, { chown: isRoot });
    const base = directory.replace(/^\/+/, '');
    const target = name === undefined ? base : base === '' ? name : `${base}/${name}`;
    const owner = options.archive === true ? undefined : { uid: 0, gid: 0 };
    return copy(applier, items, target, owner);
  });
}

/** Makes the items below `target`, which the first of them is called. */
async function copy(
  applier: Applier,
  items: Iterable<CopyItem>,
  target: ByteString,
  owner: { uid: number; gid: number } | undefined,
): Promise<Copied> {
  const first = new Map<string, ByteString>();
  const skippedSockets: ByteString[] = [];
  const at = (inside: ByteString): ByteString =>
    inside === '' ? target : target === '' ? inside : `${target}/${inside}`;
  let sizeBytes = 1024;
  try {
    for (const { path: inside, file, identity, linkTo, content } of items) {
      const made = linkTo ?? (identity === undefined ? undefined : first.get(identity));
      if (made !== undefined) await applier.link(at(inside), at(made));
      else if (file.type === 'socket') skippedSockets.push(inside);
      else await applier.put(at(inside), { ...file, ...owner }, content());
      if (identity !== undefined && made === undefined) first.set(identity, inside);
      sizeBytes +=
        512 + (made === undefined && file.type === 'file' ? Math.ceil(file.sizeBytes / 512) * 512 : 0);
    }
    return { sizeBytes, skippedSockets, ...(await applier.finish('cannot copy to')) };
  } catch (error) {
    await applier.abort();
    throw error;
  }
}

function absolute(source: ByteString): ByteString {
  return source.startsWith('/') ? source : `/${source}`;
}

/** `DIR/.` stands for what is in the directory, and so does the root, which has no name. */
function isContentPath(source: ByteString): boolean {
  return /(^|\/)\.$|^\/*$/.test(source);
}

function locateSource(view: ImageView, source: ByteString, options: CopyOptions): Located {
  try {
    return view.locate(source, { follow: options.followLink === true, syscall: 'lstat' });
  } catch (error) {
    if (!(error instanceof LaminaError) || error.code !== 'ENOENT') throw error;
    const shown = displayBytes(source);
    throw new LaminaError('ENOENT', `Could not find the file ${shown} in container`, { path: shown });
  }
}

/** Links are followed inside the container. Where nothing is, its directory must be. Raises ENOENT, ENOTDIR, ELOOP. */
function containerDestination(view: ImageView, given: ByteString): Destination {
  let asked = absolute(given);
  const bare = asked.replace(/\/+\.?$/, '') || '/';
  for (let links = 0; ; links++) {
    const where = links === 0 ? bare : asked;
    try {
      const { ino, path: at } = view.locate(where);
      return { path: at, exists: true, isDirectory: view.toc.inode(ino).type === 'dir' };
    } catch (error) {
      if (!(error instanceof LaminaError) || error.code !== 'ENOENT' || links > 40) throw error;
      // What a dangling link names is what is made, as open(2) would.
      const parent = view.locate(parentPath(where));
      const child = view.toc.lookup(parent.ino, baseName(where));
      if (child === undefined) {
        return { path: joinPath(parent.path, baseName(where)), exists: false, isDirectory: false };
      }
      const { target } = view.toc.inode(child);
      asked = target.startsWith('/') ? target : joinPath(parent.path, target);
    }
  }
}

async function hostDestination(given: string): Promise<Destination> {
  const absolutePath = path.resolve(given);
  const existing = await stat(absolutePath).catch(() => undefined);
  if (existing !== undefined) {
    const real = await realpath(absolutePath);
    return { path: utf8ToBytes(real), exists: true, isDirectory: existing.isDirectory() };
  }
  const parent = await realpath(path.dirname(absolutePath)).catch(() => undefined);
  if (parent === undefined)
    throw new LaminaError(
      'ENOENT',
      `invalid output path: directory "${path.dirname(absolutePath)}" does not exist`,
      {
        path: given,
      },
    );
  return {
    path: utf8ToBytes(path.join(parent, path.basename(absolutePath))),
    exists: false,
    isDirectory: false,
  };
}
