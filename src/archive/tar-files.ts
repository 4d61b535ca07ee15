/**
 * The members of a tar, found by one scan over its headers. Names mean what they would after extraction: the last of equal names wins, a
 * hard link is the file that had its target's name when it came, a symbolic link is followed inside the tar only
 * (docker save of 1.10 to 24 and podman link equal layers so).
 */
import type { ByteString } from '../bytes.js';
import { LaminaError } from '../errors.js';
import { scanTar, type TarEntry } from '../tar/scan.js';
import { subSource, type ByteSource } from '../tar/source.js';
import { memberPath, shown, type ArchiveFiles } from './files.js';

/** As many as Linux follows. */
const MAX_LINKS = 40;

type Member =
  | { kind: 'file'; dataOffset: number; sizeBytes: number }
  | { kind: 'sparse' }
  | { kind: 'symlink'; target: ByteString }
  | { kind: 'link'; target: ByteString }
  | { kind: 'other' };

export class TarFiles implements ArchiveFiles {
  readonly name: string;
  readonly #source: ByteSource;
  readonly #members = new Map<ByteString, Member>();
  #close: (() => void) | undefined;

  /** Scans at once. `close` is called once, by close(). Raises EBADTAR, ELIMIT, EIO. */
  constructor(source: ByteSource, maxMembers: number, close: () => void) {
    this.name = source.name;
    this.#source = source;
    this.#close = close;
    for (const entry of scanTar(source, { maxEntries: maxMembers })) this.#add(entry);
  }

  has(path: ByteString): boolean {
    try {
      return this.#resolve(path)?.kind === 'file';
    } catch {
      return false;
    }
  }

  open(path: ByteString): ByteSource | undefined {
    const member = this.#resolve(path);
    if (member?.kind === 'sparse') {
      throw new LaminaError('EBADIMAGE', `${this.name}: ${shown(path)} is stored as a sparse file`, {
        path: this.name,
        hint: 'Extract the archive and pack it again with tar, without --sparse.',
      });
    }
    if (member?.kind !== 'file') return undefined;
    return subSource(this.#source, member.dataOffset, member.sizeBytes, `${this.name}, ${shown(path)}`);
  }

  with<T>(path: ByteString, use: (source: ByteSource) => T): T | undefined {
    const source = this.open(path);
    return source === undefined ? undefined : use(source);
  }

  close(): void {
    this.#close?.();
    this.#close = undefined;
  }

  #add(entry: TarEntry): void {
    const path = cleaned(entry.name);
    // A name that leads out of the archive is the name of nothing that is ever asked for.
    if (path === undefined || path === '') return;
    this.#members.set(path, this.#member(entry));
  }

  #member(entry: TarEntry): Member {
    switch (entry.type) {
      case 'file':
        return entry.extents === undefined
          ? { kind: 'file', dataOffset: entry.dataOffset, sizeBytes: entry.sizeBytes }
          : { kind: 'sparse' };
      case 'symlink':
        return { kind: 'symlink', target: entry.linkName };
      case 'link': {
        const target = cleaned(entry.linkName);
        const existing = target === undefined ? undefined : this.#members.get(target);
        // A target that comes later is looked up when it is needed.
        return existing ?? { kind: 'link', target: entry.linkName };
      }
      default:
        return { kind: 'other' };
    }
  }

  #resolve(start: ByteString): Member | undefined {
    let path = start;
    for (let hops = 0; hops <= MAX_LINKS; hops++) {
      const member = this.#members.get(path);
      if (member?.kind === 'link') path = memberPath(member.target, this.#what(path, 'hard'));
      else if (member?.kind === 'symlink') {
        const isAbsolute = member.target.startsWith('/');
        const parent = isAbsolute ? '' : path.slice(0, path.lastIndexOf('/') + 1);
        path = memberPath(parent + member.target, this.#what(path, 'symbolic'));
      } else return member;
    }
    throw new LaminaError('ELOOP', `${this.name}: ${shown(start)} runs through a loop of links`, {
      path: this.name,
      hint: 'The archive is malformed; save the image again.',
    });
  }

  #what(path: ByteString, kind: string): string {
    return `${this.name}: the ${kind} link ${shown(path)}`;
  }
}

function cleaned(name: ByteString): ByteString | undefined {
  try {
    return memberPath(name, '');
  } catch {
    return undefined;
  }
}
