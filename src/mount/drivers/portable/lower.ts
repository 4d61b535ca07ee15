/** What copying up has to know of the TOC: where an inode lies in it, under all its names. */
import type { ByteString } from '../../../bytes.js';
import type { TreeReader } from '../../../layer/tree.js';
import { ROOT_INO } from '../../../layer/tree.js';

export interface Home {
  parent: number;
  name: ByteString;
}

export class Homes {
  #homes: Map<number, Home[]> | undefined;

  constructor(readonly toc: TreeReader) {}

  /** All names of an inode; none of the root. */
  of(ino: number): readonly Home[] {
    this.#homes ??= this.#all();
    return this.#homes.get(ino) ?? [];
  }

  /** From the root of the TOC, as a redirect names it. */
  pathOf(ino: number): ByteString {
    let path = '';
    for (let at = ino; at !== ROOT_INO;) {
      const [home] = this.of(at);
      path = `/${home!.name}${path}`;
      at = home!.parent;
    }
    return path === '' ? '/' : path;
  }

  /** One pass over the image, when a name is asked for the first time. */
  #all(): Map<number, Home[]> {
    const homes = new Map<number, Home[]>();
    const ahead = [ROOT_INO];
    for (let parent = ahead.pop(); parent !== undefined; parent = ahead.pop()) {
      for (const { name, ino, type } of this.toc.entries(parent)) {
        const known = homes.get(ino);
        if (known === undefined) homes.set(ino, [{ parent, name }]);
        else known.push({ parent, name });
        if (type === 'dir') ahead.push(ino);
      }
    }
    return homes;
  }
}
