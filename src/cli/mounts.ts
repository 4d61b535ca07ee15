/** `lamina mounts` */
import type { Command } from 'commander';
import type { MountEntry } from '../mount/table.js';
import type { ListKind, Row } from './output/list.js';

export function register(program: Command): void {
  program
    .command('mounts')
    .description('List the mounts of this user, with those that failed or whose server died')
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"table TEMPLATE": Print output in table format using the given template\n"json": Print in JSON format\n"TEMPLATE": Print fields, as in "{{.Mountpoint}} {{.Status}}"',
    )
    .option('-q, --quiet', 'Only display mountpoints')
    .action(async (flags: { format?: string; quiet?: boolean }) => {
      const [{ MountTable }, { formatList }, { formatAge }, { formatSize }] = await Promise.all([
        import('../mount/table.js'),
        import('./output/list.js'),
        import('./output/times.js'),
        import('./output/sizes.js'),
      ]);
      const table = new MountTable();
      const rows = await Promise.all(
        (await table.list()).map(async (entry) => {
          const { record } = entry;
          const progress = record.verify === 'pending' ? await table.progress(record.id) : undefined;
          const arrived =
            progress === undefined
              ? undefined
              : `${formatSize(progress.haveBytes)} of ${formatSize(progress.totalBytes)} here`;
          return row(entry, formatAge(Date.parse(record.createdAt)), arrived);
        }),
      );
      const format = flags.quiet === true ? '{{.Mountpoint}}' : flags.format;
      process.stdout.write(formatList(rows, KIND, format));
    });
}

const KIND: ListKind = {
  table: '{{.Mountpoint}}\t{{.Image}}\t{{.Driver}}\t{{.CreatedSince}}\t{{.Status}}\t{{.Verify}}',
  headings: {
    Container: 'CONTAINER',
    CreatedAt: 'CREATED AT',
    CreatedSince: 'CREATED',
    Driver: 'DRIVER',
    ID: 'ID',
    Image: 'IMAGE',
    ImageID: 'IMAGE ID',
    Mountpoint: 'MOUNTPOINT',
    PID: 'PID',
    Platform: 'PLATFORM',
    Status: 'STATUS',
    Verify: 'LAYERS',
  },
  type: '*formatter.mountContext',
};

/** @param arrived of a lazy mount that is not complete */
function row({ record, state }: MountEntry, createdSince: string, arrived: string | undefined): Row {
  return {
    Container: record.container ?? '',
    CreatedAt: record.createdAt,
    CreatedSince: createdSince,
    Driver: record.driver,
    ID: record.id,
    Image: record.image,
    ImageID: record.imageId,
    Mountpoint: record.mountpoint,
    PID: String(record.pid),
    Platform: record.platform,
    Status: state === 'live' ? 'mounted' : state,
    Verify: record.error ?? arrived ?? record.verify,
  };
}
