/** `lamina diff`, `lamina container diff`: what a container changed, as docker's A, C and D. */
import type { Command } from 'commander';
import { openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('diff')
    .description("Inspect changes to files or directories on a container's filesystem")
    .argument('<container>')
    .action(async (name: string) => {
      const [{ openContainer }, { changesOf, layerEntries }, { Output }] = await Promise.all([
        import('../../container/open.js'),
        import('../../layer/diff.js'),
        import('../fs/output.js'),
      ]);
      const store = await openStore();
      const opened = await openContainer(store, await store.get(name));
      try {
        const out = new Output(process.stdout);
        const entries = layerEntries(opened.tree, opened.lower, { forPeople: true });
        for (const { kind, path } of changesOf(entries)) await out.print(`${kind} ${out.name(`/${path}`)}\n`);
        await out.flush();
      } finally {
        opened.close();
      }
    });
}
