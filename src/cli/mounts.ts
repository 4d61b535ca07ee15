/** `lamina mounts` */
import type { Command } from 'commander';
import { LaminaError } from '../errors.js';
import type { MountEntry } from '../mount/table.js';
import { formatAge, formatTable } from './format.js';

export function register(program: Command): void {
  program
    .command('mounts')
    .description('List the mounts of this user, with those that failed or whose server died')
    .option(
      '--format <string>',
      'Format output using a custom template:\n"table": Print output in table format with column headers (default)\n"json": Print in JSON format',
    )
    .option('-q, --quiet', 'Only display mountpoints')
    .action(async (flags: { format?: string; quiet?: boolean }) => {
      const { MountTable } = await import('../mount/table.js');
      const entries = await new MountTable().list();
      if (flags.quiet === true)
        process.stdout.write(entries.map(({ record }) => `${record.mountpoint}\n`).join(''));
      else process.stdout.write(format(entries, flags.format ?? 'table'));
    });
}

function format(entries: readonly MountEntry[], wanted: string): string {
  if (wanted === 'json') return entries.map((entry) => `${JSON.stringify(fields(entry))}\n`).join('');
  if (wanted !== 'table')
    throw new LaminaError('EUSAGE', `unknown format "${wanted}"`, {
      hint: 'The formats are "table" and "json".',
    });
  const rows = entries.map((entry) => {
    const { Mountpoint, Image, Driver, CreatedSince, Status, Verify } = fields(entry);
    return [Mountpoint, Image, Driver, CreatedSince, Status, Verify];
  });
  return formatTable([['MOUNTPOINT', 'IMAGE', 'DRIVER', 'CREATED', 'STATUS', 'LAYERS'], ...rows]);
}

function fields({
  record,
  state,
}: MountEntry): Record<
  | 'Container'
  | 'CreatedAt'
  | 'CreatedSince'
  | 'Driver'
  | 'ID'
  | 'Image'
  | 'ImageID'
  | 'Mountpoint'
  | 'PID'
  | 'Platform'
  | 'Status'
  | 'Verify',
  string
> {
  return {
    Container: record.container ?? '',
    CreatedAt: record.createdAt,
    CreatedSince: formatAge(Date.parse(record.createdAt)),
    Driver: record.driver,
    ID: record.id,
    Image: record.image,
    ImageID: record.imageId,
    Mountpoint: record.mountpoint,
    PID: String(record.pid),
    Platform: record.platform,
    Status: state === 'live' ? 'mounted' : state,
    Verify: record.error ?? record.verify,
  };
}
