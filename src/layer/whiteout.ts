/**
 * The names by which a layer hides what lies below it: the only file that knows `.wh.`. Source: image-spec layer.md,
 * Whiteouts; AUFS for the names beginning `.wh..wh.`, of which only the opaque marker still has a meaning.
 */
import type { ByteString } from '../bytes.js';
import { displayBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** Where AUFS kept files that were hard-linked between directories; links in old layers point below it. */
export const AUFS_LINKS = '.wh..wh.plnk';

/** The name that an entry shows or hides, which a filesystem could hold: `.wh.` does not count towards its length. */
export function bareName(name: ByteString): ByteString {
  return name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name;
}

/** The entry's name that hides the lower layers' `name`. */
export function whiteoutName(name: ByteString): ByteString {
  return PREFIX + name;
}

/** The entry's name by which its directory shows nothing of the lower layers. */
export const OPAQUE_NAME: ByteString = OPAQUE;

/** Names that a layer cannot hold, since they would hide something instead. */
export function isReservedName(name: ByteString): boolean {
  return name.startsWith(PREFIX);
}

export type EntryMeaning =
  | { kind: 'plain' }
  /** The directory that holds it shows nothing of the lower layers. */
  | { kind: 'opaque' }
  /** The lower layers' `name` is hidden. */
  | { kind: 'whiteout'; name: ByteString }
  /** AUFS bookkeeping: never shown. */
  | { kind: 'ignored' };

const PLAIN: EntryMeaning = { kind: 'plain' };

/**
 * What the path of a layer entry, split at its slashes, means. The kind of the entry (file, hard link, directory) does
 * not matter: some writers store whiteouts as hard links. Raises EWHITEOUT for a name that hides nothing.
 */
export function entryMeaning(path: readonly ByteString[]): EntryMeaning {
  for (let index = 0; index < path.length; index++) {
    const name = path[index]!;
    if (!name.startsWith(PREFIX)) continue;
    const last = index === path.length - 1;
    if (name === OPAQUE && last) return { kind: 'opaque' };
    if (name.startsWith(PREFIX + PREFIX)) return { kind: 'ignored' };
    const hidden = name.slice(PREFIX.length);
    if (hidden === '' || hidden === '.' || hidden === '..') {
      throw new LaminaError(
        'EWHITEOUT',
        `entry "${displayBytes(path.join('/'))}" is a whiteout that names nothing`,
      );
    }
    if (!last)
      throw new LaminaError('EWHITEOUT', `entry "${displayBytes(path.join('/'))}" lies below a whiteout`);
    return { kind: 'whiteout', name: hidden };
  }
  return PLAIN;
}
