/** `lamina container inspect`: what is known of a container, in docker's names. */
import type { Command } from 'commander';
import type { ContainerRecord } from '../../store/container-record.js';
import type { ContainerStore } from '../../container/store.js';
import { mountpointsOf, openStore } from './containers.js';

export function register(parent: Command): void {
  parent
    .command('inspect')
    .description('Display detailed information on one or more containers')
    .argument('<container...>')
    .option(
      '-f, --format <string>',
      'Format output using a custom template:\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Name}} {{json .State}}"',
    )
    .action(async (names: string[], flags: { format?: string }) => {
      const [store, { inspectAll }] = await Promise.all([openStore(), import('../inspect-all.js')]);
      await inspectAll(names, flags.format, async (name) => containerObject(store, await store.get(name)));
    });
}

/** docker's object, as far as a container here has what docker's has. */
export async function containerObject(store: ContainerStore, record: ContainerRecord): Promise<object> {
  const isMounted = await store.isMounted(record);
  const [command = '', ...args] = record.command;
  return {
    Id: record.id,
    Created: record.createdAt,
    Path: command,
    Args: args,
    State: { Status: isMounted ? 'mounted' : 'created', Mounted: isMounted },
    Image: record.image.imageId,
    Name: `/${record.name}`,
    Platform: record.image.platform,
    GraphDriver: {
      Data: {
        UpperDir: store.upperOf(record),
        WorkDir: store.workOf(record),
        MergedDirs: await mountpointsOf(record),
      },
      Name: 'lamina',
    },
    Config: { Image: record.image.name, Labels: record.labels },
    ImageSource: {
      Path: record.image.path,
      Transport: record.image.transport ?? '',
      Reference: record.image.reference ?? '',
      Layers: record.image.diffIds,
    },
  };
}
