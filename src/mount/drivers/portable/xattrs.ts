/**
 * Extended attributes, for which Node has no calls, by the package fs-xattr. It takes paths as UTF-8 and follows links: it is given
 * paths of descriptors, which are ASCII and lead to the object itself.
 */
import type { ByteString } from '../../../bytes.js';
import { bufferToBytes } from '../../../bytes.js';
import { isErrno } from './errno.js';

/** What is used of it, written down here: it is optional, and this must compile without. */
interface FsXattr {
  listAttributesSync(path: string): string[];
  getAttributeSync(path: string, name: string): Buffer;
  setAttributeSync(path: string, name: string, value: Buffer): void;
  removeAttributeSync(path: string, name: string): void;
}

let loaded: FsXattr | undefined;

/** Raises what the loader raises, when the package is not installed or was not built. */
export async function loadXattrs(): Promise<void> {
  const name = 'fs-xattr';
  loaded = (await import(name)) as FsXattr;
}

function calls(): FsXattr {
  if (loaded === undefined) throw new TypeError('fs-xattr was not loaded');
  return loaded;
}

/** Names as text. A filesystem that has no attributes lists none. */
export function listXattrs(path: string): string[] {
  try {
    return calls().listAttributesSync(path);
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOSYS')) return [];
    throw error;
  }
}

/** Raises ENODATA where there is none. */
export function getXattr(path: string, name: string): Buffer {
  return calls().getAttributeSync(path, name);
}

/** undefined where there is none. */
export function findXattr(path: string, name: string): Buffer | undefined {
  try {
    return getXattr(path, name);
  } catch (error) {
    if (isErrno(error, 'ENODATA', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

export function setXattr(path: string, name: string, value: Buffer | ByteString): void {
  calls().setAttributeSync(path, name, typeof value === 'string' ? Buffer.from(value, 'latin1') : value);
}

export function removeXattr(path: string, name: string): void {
  calls().removeAttributeSync(path, name);
}

/** Which attributes are the union's own, and what a user's under the same prefix are called on the disk: overlayfs's format. */
export class XattrNames {
  readonly opaque: string;
  readonly redirect: string;
  readonly metacopy: string;
  readonly whiteout: string;
  /** Ours: the lower object that a copied-up one stands for. */
  readonly origin: string;
  readonly #escape: string;

  constructor(readonly prefix: string) {
    this.#escape = `${prefix}overlay.`;
    this.opaque = `${prefix}opaque`;
    this.redirect = `${prefix}redirect`;
    this.metacopy = `${prefix}metacopy`;
    this.whiteout = `${prefix}whiteout`;
    this.origin = `${prefix}lamina.origin`;
  }

  /** What an attribute that users call `name` is called on the disk. */
  onDisk(name: string): string {
    return name.startsWith(this.prefix) ? this.#escape + name.slice(this.prefix.length) : name;
  }

  /** What users call an attribute of the disk; undefined for what is never shown. */
  shown(name: string): string | undefined {
    if (!name.startsWith(this.prefix)) return name;
    return name.startsWith(this.#escape) ? this.prefix + name.slice(this.#escape.length) : undefined;
  }
}

/** What the attributes of one upper object say of it. */
export interface Marks {
  /** All names on the disk. */
  names: readonly string[];
  opaque: boolean;
  /** The directory holds whiteouts that are files. */
  xattrWhiteouts: boolean;
  metacopy: boolean;
  whiteout: boolean;
  redirect: ByteString | undefined;
  origin: ByteString | undefined;
}

export function readMarks(path: string, xattrs: XattrNames): Marks {
  const names = listXattrs(path);
  const text = (name: string): ByteString | undefined =>
    names.includes(name) ? bufferToBytes(getXattr(path, name)) : undefined;
  const opaque = text(xattrs.opaque);
  return {
    names,
    opaque: opaque === 'y',
    xattrWhiteouts: opaque === 'x',
    metacopy: names.includes(xattrs.metacopy),
    whiteout: names.includes(xattrs.whiteout),
    redirect: text(xattrs.redirect) || undefined,
    origin: text(xattrs.origin),
  };
}
