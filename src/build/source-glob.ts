/** The names in a source that a path of COPY means: Go's filepath.Match for each part, symbolic links followed inside the source. */
import { posix } from 'node:path';
import type { ByteString } from '../bytes.js';
import { bytesToBuffer, utf8ToBytes } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { pathMatcher } from '../image/path-match.js';
import { ROOT_INO } from '../layer/tree.js';
import type { ImageView } from '../merge/view.js';

export interface Match {
  /** As the pattern names it, from the source's root, without a slash before it; '' is the root. */
  path: ByteString;
  /** What it leads to. */
  ino: number;
}

export function hasWildcard(pattern: string): boolean {
  return /[*?[\\]/.test(pattern);
}

/** In byte order; none when nothing matches. Raises EUSAGE for a malformed pattern. */
export function matchSource(view: ImageView, pattern: string): Match[] {
  const clean = posix.join('/', pattern).slice(1).replace(/\/$/, '');
  if (clean === '') return [{ path: '', ino: ROOT_INO }];
  let found: Match[] = [{ path: '', ino: ROOT_INO }];
  for (const part of clean.split('/')) {
    const next: Match[] = [];
    for (const { path, ino } of found) {
      if (view.toc.inode(ino).type !== 'dir') continue;
      for (const name of namesOf(view, ino, part)) {
        const at = path === '' ? name : `${path}/${name}`;
        const target = follow(view, at);
        if (target !== undefined) next.push({ path: at, ino: target });
      }
    }
    found = next;
  }
  return found;
}

function namesOf(view: ImageView, ino: number, part: string): ByteString[] {
  const exact = utf8ToBytes(part);
  if (view.toc.lookup(ino, exact) !== undefined) return [exact];
  if (!hasWildcard(part)) return [];
  const matches = pathMatcher(part);
  return view.toc
    .entries(ino)
    .map(({ name }) => name)
    .filter((name) => matches(bytesToBuffer(name).toString('utf8')));
}

/** A link that leads nowhere is not there; one that is the last part may be copied as what it leads to only. */
function follow(view: ImageView, path: ByteString): number | undefined {
  try {
    return view.resolve(`/${path}`);
  } catch (error) {
    if (error instanceof LaminaError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return undefined;
    throw error;
  }
}
