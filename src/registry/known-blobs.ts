/**
 * Which repositories of a registry are known to have a blob, so that a push to another of them need not send it (distribution-spec,
 * Mounting a blob from another repository). Derived data: what it says may be out of date, and it may be gone.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Reference } from '../oci/reference.js';
import { replaceFileSync } from '../store/files.js';

/** By digest, repositories; the last seen last. */
type Known = Record<string, string[]>;

const MAX_DIGESTS = 5000;
const MAX_REPOSITORIES = 5;

export class KnownBlobs {
  readonly #file: string;
  readonly #added: { digest: string; path: string }[] = [];
  #known: Known | undefined;

  constructor(
    private readonly root: string,
    domain: string,
  ) {
    this.#file = path.join(root, 'registries', `${domain.replace(/[^\w.-]/g, '_')}.json`);
  }

  /** Other repositories that had it, the last seen first. */
  repositoriesWith(digest: string, except: Pick<Reference, 'path'>): string[] {
    this.#known ??= this.#read();
    return (this.#known[digest] ?? []).filter((repository) => repository !== except.path).reverse();
  }

  add(digest: string, path: string): void {
    this.#added.push({ digest, path });
  }

  /** Adds what was seen to what the file says now. Only a note for the next time: failing to write it makes nothing wrong. */
  save(): void {
    if (this.#added.length === 0) return;
    const known = new Map(Object.entries(this.#read()));
    for (const { digest, path: repository } of this.#added.splice(0)) {
      const others = (known.get(digest) ?? []).filter((other) => other !== repository);
      known.delete(digest);
      known.set(digest, [...others, repository].slice(-MAX_REPOSITORIES));
    }
    const kept = Object.fromEntries([...known].slice(-MAX_DIGESTS));
    try {
      mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
      replaceFileSync(this.#file, Buffer.from(JSON.stringify(kept)), path.join(this.root, 'tmp'), 0o600);
    } catch {
      return;
    }
  }

  #read(): Known {
    try {
      const json = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, unknown>;
      return Object.fromEntries(
        Object.entries(json).flatMap(([digest, list]) =>
          Array.isArray(list)
            ? [[digest, list.filter((item): item is string => typeof item === 'string')]]
            : [],
        ),
      );
    } catch {
      return {};
    }
  }
}
