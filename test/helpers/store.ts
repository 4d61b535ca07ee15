/** A store in a directory of its own, filled with small images whose digests node:crypto made. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadArchive } from '../../src/image/load.js';
import { tagImage } from '../../src/image/tag.js';
import { ImageStore } from '../../src/store/image-store.js';
import { dockerSave25, image, layer, Scratch } from './archive-builder.js';
import type { BuiltImage } from './archive-builder.js';

export class TestStore {
  readonly scratch = new Scratch();
  readonly root = join(this.scratch.path, 'store');
  readonly store = new ImageStore(this.root);

  /** An image of the layers that `texts` name; equal texts are equal layers. */
  async load(
    texts: readonly string[],
    tags: readonly string[] | null,
    overrides: Record<string, unknown> = {},
  ): Promise<BuiltImage> {
    const built = image(texts.map(layer), overrides);
    await loadArchive(this.store, this.scratch.tar(dockerSave25([{ image: built, tags }])));
    return built;
  }

  async tag(source: string, target: string): Promise<void> {
    await tagImage(this.store, source, target);
  }

  /** Makes an image, which is there, the child of another. */
  async adopt(child: BuiltImage, parent: BuiltImage): Promise<void> {
    await this.store.update((draft) => {
      const { descriptor } = draft.before.byId(child.imageId)!.entries[0]!;
      const { mediaType, digest, sizeBytes } = descriptor;
      draft.remove((entry) => entry.descriptor.digest === digest);
      draft.add({ mediaType, digest, sizeBytes, platform: undefined, parent: parent.imageId });
    });
  }

  /** Names below a directory of the store; none when it is not there. */
  list(...path: string[]): string[] {
    const directory = join(this.root, ...path);
    return existsSync(directory) ? readdirSync(directory).sort() : [];
  }

  remove(): void {
    this.scratch.remove();
  }
}
