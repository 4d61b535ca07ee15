/** `lamina tag`, `lamina image tag` */
import type { Command } from 'commander';
import { openImages } from './images-store.js';

export function register(parent: Command): void {
  parent
    .command('tag')
    .description('Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE')
    .usage('SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]')
    .argument('<source>')
    .argument('<target>')
    .action(async (source: string, target: string) => {
      const [store, { tagImage }] = await Promise.all([openImages(), import('../../image/tag.js')]);
      await tagImage(store, source, target);
    });
}
